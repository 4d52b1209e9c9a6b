"""What runs again, and what an interrupted run leaves."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openrinalmo.data_prep import prepare as entry
from openrinalmo.data_prep.mmseqs import find_mmseqs
from openrinalmo.data_prep.shards import hash_manifest, open_split, verify_shards
from support.mmseqs import requires_mmseqs
from support.planted import ORIGINALS, PLANTED, prepare, read_records
from support.sequences import format_fasta

STEPS = ["records", "unique", "clusters", "split", "shards"]


@pytest.fixture
def ran(monkeypatch):
    """List the steps that are built."""
    names = []

    def listen(step, build):
        def build_and_tell(folder, **settings):
            names.append(step)
            return build(folder, **settings)

        monkeypatch.setattr(entry, f"build_{step}", build_and_tell)

    for step in STEPS:
        listen(step, getattr(entry, f"build_{step}"))
    return names


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text(format_fasta(PLANTED))
    return path


@requires_mmseqs
def test_second_run_does_nothing(tmp_path, fasta, ran, caplog):
    prepare(tmp_path / "out", fasta)
    assert ran == STEPS
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    caplog.set_level("INFO")
    prepare(tmp_path / "out", fasta)
    assert ran == STEPS
    assert [f"{step}: done before, nothing to do" for step in STEPS] == caplog.messages
    unchanged = {p: t for p, t in files.items() if p.name not in ("inputs.json", ".lock")}
    assert unchanged == {path: path.stat().st_mtime_ns for path in unchanged}


@requires_mmseqs
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--threads=2"], []),
        (["--split-memory-limit=1G"], []),
        (["--check-sample=7"], []),
        (["--max-ambiguous=0.11"], ["records", "shards"]),  # lets no further record in
        (["--max-ambiguous=0.2"], STEPS),
        (["--min-length-nt=17"], STEPS),
        (["--min-seq-id=0.99"], ["clusters", "split", "shards"]),
        (["--cov-mode=1"], ["clusters", "split", "shards"]),
        (["--coverage=0.79"], ["clusters", "shards"]),  # gives the same clusters
        (["--seed=1"], ["split", "shards"]),
        (["--validation-fraction=0.3"], ["split", "shards"]),
        (["--max-shard-nt=1000"], ["shards"]),
    ],
    ids=lambda value: value[0] if value and value[0].startswith("--") else "",
)
def test_a_changed_parameter_reruns_what_depends_on_it(tmp_path, fasta, ran, arguments, expected):
    prepare(tmp_path / "out", fasta)
    ran.clear()
    manifest = prepare(tmp_path / "out", fasta, *arguments)
    assert ran == expected
    fresh = prepare(tmp_path / "fresh", fasta, *arguments)
    assert manifest == fresh, "the same data as if prepared from nothing"


@requires_mmseqs
def test_touched_renamed_and_changed_inputs(tmp_path, fasta, ran):
    prepare(tmp_path / "out", fasta)
    ran.clear()
    os.utime(fasta, (1, 1))
    prepare(tmp_path / "out", fasta)
    assert ran == []
    renamed = fasta.rename(tmp_path / "renamed.fasta")
    prepare(tmp_path / "out", renamed)
    assert ran == ["records", "shards"]
    assert open_split(tmp_path / "out", "train").source(0) == "renamed.fasta"
    ran.clear()
    renamed.write_text(format_fasta([*PLANTED, ("new", "GAUC" * 10)]))
    prepare(tmp_path / "out", renamed)
    assert ran == STEPS


@requires_mmseqs
def test_new_types_leave_the_clusters(tmp_path, fasta, ran):
    prepare(tmp_path / "out", fasta)
    ran.clear()
    (tmp_path / "meta.tsv").write_text("id\ttype\noriginal5\tmiRNA\n")
    prepare(tmp_path / "out", fasta, "--metadata", tmp_path / "meta.tsv")
    assert ran == ["records", "unique", "split", "shards"]
    ran.clear()
    (tmp_path / "meta.tsv").write_text("id\ttype\noriginal5\tpiRNA\n")
    prepare(tmp_path / "out", fasta, "--metadata", tmp_path / "meta.tsv")
    assert "piRNA" in {record[4] for record in read_records(tmp_path / "out")}


@requires_mmseqs
@pytest.mark.parametrize(
    "lost", ["manifest.json", "shards/train-00000.arrow", "shards/merged.arrow"]
)
def test_lost_products_come_back(tmp_path, fasta, ran, lost):
    prepare(tmp_path / "out", fasta)
    before = hash_manifest(tmp_path / "out"), read_records(tmp_path / "out")
    ran.clear()
    (tmp_path / "out" / lost).unlink()
    prepare(tmp_path / "out", fasta)
    assert ran == (["shards"] if lost.startswith("shards") else [])
    assert (hash_manifest(tmp_path / "out"), read_records(tmp_path / "out")) == before


@requires_mmseqs
@pytest.mark.parametrize("damaged", ["manifest.json", "shards/train-00000.arrow"])
def test_damaged_products_are_made_again(tmp_path, fasta, damaged):
    prepare(tmp_path / "out", fasta)
    before = hash_manifest(tmp_path / "out")
    path = tmp_path / "out" / damaged
    whole = path.read_bytes()
    path.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    prepare(tmp_path / "out", fasta)
    assert hash_manifest(tmp_path / "out") == before
    verify_shards(tmp_path / "out")


@requires_mmseqs
@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_publishing_is_completed(tmp_path, fasta, ran, monkeypatch, moment):
    prepare(tmp_path / "out", fasta)
    expected = prepare(tmp_path / "expected", fasta, "--seed=1")
    rename = Path.rename

    def stop(self, target):
        if Path(target) == tmp_path / "out" / "shards":
            if moment == "after":
                rename(self, target)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "out", fasta, "--seed=1")
    with pytest.raises(FileNotFoundError, match="run `make data`"):
        open_split(tmp_path / "out", "train")
    monkeypatch.setattr(Path, "rename", rename)
    ran.clear()
    assert prepare(tmp_path / "out", fasta, "--seed=1") == expected
    assert ran == []
    assert read_records(tmp_path / "out") == read_records(tmp_path / "expected")


def wait_until(condition, *, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@requires_mmseqs
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, fasta, ran, sent):
    shim = tmp_path / "bin" / "mmseqs"
    shim.parent.mkdir()
    pid_file = tmp_path / "pid"
    shim.write_text(
        f"""#!/bin/sh
if [ "$1" = linclust ]; then  # like linclust, it works in a child
    sleep 60 &
    echo $! > {pid_file}.new && mv {pid_file}.new {pid_file}
    wait
    exit 1
fi
exec {find_mmseqs()} "$@"
"""
    )
    shim.chmod(stat.S_IRWXU)
    script = Path(entry.__file__)
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
    try:
        process = subprocess.Popen(
            [sys.executable, script, fasta, "--out", tmp_path / "out", "--threads=1"],
            env={**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"},
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGHUP, inherited)
    wait_until(pid_file.exists)
    stuck = int(pid_file.read_text())
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert ("stopped; run again" in errors) == (sent != signal.SIGKILL)
    wait_until(lambda: not is_running(stuck))
    assert not (tmp_path / "out" / "manifest.json").exists()
    prepare(tmp_path / "out", fasta)
    assert ran == ["clusters", "split", "shards"]
    prepare(tmp_path / "fresh", fasta)
    assert hash_manifest(tmp_path / "out") == hash_manifest(tmp_path / "fresh")
    assert not list((tmp_path / "out").rglob("*.partial"))


@requires_mmseqs
@pytest.mark.parametrize(
    "command",
    [[entry.__file__], ["-m", "openrinalmo.data_prep.prepare"]],
    ids=["script", "module"],
)
def test_runs_from_any_folder(tmp_path, fasta, command):
    done = subprocess.run(
        [sys.executable, *command, fasta.name, "--out", "out", "--threads=1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "unique" in done.stdout
    assert "%|" not in done.stderr, "no progress bars away from a terminal"
    assert len(read_records(tmp_path / "out")) == len(ORIGINALS) + 12
