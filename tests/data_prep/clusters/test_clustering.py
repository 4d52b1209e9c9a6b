import logging
import random

import numpy as np
import pytest

from openrinalmo.data_prep.clusters import clustering
from openrinalmo.data_prep.clusters.clustering import cluster_sequences
from openrinalmo.data_prep.mmseqs import ClusterConfig
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
    assert [command.split()[1] for command in report["commands"]] == [
        *["createdb", "kmermatcher", "linclust", "createtsv"]
    ]
    assert str(tmp_path) not in " ".join(report["commands"])
    assert [path.name for path in tmp_path.iterdir()] == ["mmseqs.log"]
    assert report["checked"]["members"] == report["checked"]["meet_both"] == 20
    assert report["antisense_members"] == 0


@requires_mmseqs
def test_coverage_keeps_fragments_apart(tmp_path):
    sequence = draw_sequence(random.Random(1), 400)
    representatives, _ = cluster(tmp_path, [sequence, sequence[:200]])
    assert representatives.tolist() == [0, 1]


@requires_mmseqs
@pytest.mark.parametrize("count", [1, 3])
def test_unrelated_short_sequences_stand_alone(tmp_path, count):
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
def test_hairpins_that_chance_signs_cluster_alike(tmp_path):
    """Three quarters of the runs of MMseqs2 alone differ on these: their strands are drawn."""
    rng = random.Random(10)
    sequences = []
    for _ in range(150):
        arm = draw_sequence(rng, rng.randint(40, 70))
        hairpin = arm + arm[::-1].translate(str.maketrans("ACGU", "UGCA"))
        sequences += [mutate(rng, hairpin, identity=rng.uniform(0.8, 1)) for _ in range(6)]
    results = []
    for run, (threads, limit) in enumerate([(1, "1G"), (2, "1G"), (1, "300K"), (2, "200K")]):
        (tmp_path / str(run)).mkdir()
        settings = {"threads": threads, "split_memory_limit": limit}
        representatives, report = cluster(tmp_path / str(run), sequences, **settings)
        results.append(representatives)
        log = (tmp_path / str(run) / "mmseqs.log").read_text()
        assert ("Process file into" in log) == (run > 1)
        assert report["strands_settled"] > 100
    for other in results[1:]:
        assert np.array_equal(results[0], other)
    assert 100 < len(set(results[0])) < 900


def test_a_sequence_that_mmseqs_drops_stands_alone(tmp_path):
    table = tmp_path / "tsv"
    table.write_text("3\t3\n3\t0\n2\t2\n")
    representatives, missing = clustering.read_representatives(table, 5)
    assert representatives.tolist() == [3, 1, 2, 3, 4]
    assert missing == 2


@requires_mmseqs
@pytest.mark.parametrize(
    "settings", [{"method": "cluster", "k": 12}, {"cluster_mode": 2}, {"kmer_per_seq": 60}], ids=str
)
def test_settings_reach_mmseqs(tmp_path, settings):
    rng = random.Random(5)
    original = draw_sequence(rng, 200)
    sequences = [original, mutate(rng, original, identity=0.9), draw_sequence(rng, 200)]
    representatives, report = cluster(tmp_path, sequences, **settings)
    assert representatives[0] == representatives[1] != representatives[2]
    (name, value), *_ = settings.items()
    said = {"method": f"mmseqs {value}", "cluster_mode": "--cluster-mode 2"}
    assert said.get(name, "--kmer-per-seq 60") in report["commands"][-2]


@requires_mmseqs
def test_short_sequences_meet_each_other_and_longer_ones(tmp_path):
    rng = random.Random(6)
    core = draw_sequence(rng, 40)
    host, fragment, isoform = core[:28], core[2:26], core[3:26]
    far = draw_sequence(rng, 22)
    sequences = [core, fragment, isoform, far, far[1:], host]
    representatives, report = cluster(tmp_path, sequences)
    assert representatives.tolist() == [0, 5, 5, 3, 3, 5]
    assert report["short_sequences"] == 4
    assert report["short_joined_longer"] == 2
    assert report["short_joined_short"] == 1


@requires_mmseqs
@pytest.mark.parametrize("length", [20, 30])
def test_one_kind_alone(tmp_path, length):
    sequence = draw_sequence(random.Random(7), length)
    representatives, report = cluster(tmp_path, [sequence, sequence[1:]])
    assert representatives[0] == representatives[1]
    assert report["left_out_by_mmseqs"] == 0


def test_a_sample_that_misses_is_counted(tmp_path):
    rng = random.Random(8)
    head = draw_sequence(rng, 100)
    members = [mutate(rng, head, identity=0.9), head[:50], draw_sequence(rng, 100), "A" * 5000]
    file = clustering.SequenceFile(tmp_path / "fasta", (s.encode() for s in [head, *members]))
    config = ClusterConfig()
    found = clustering.check_sample(file, np.zeros(5, np.int64), config.criteria, 10)
    assert found["members"] == 3
    assert found["too_long"] == 1
    assert found["meet_coverage"] == found["meet_both"] == 1
    assert found["meet_identity"] >= 2
    fewer = clustering.check_sample(file, np.zeros(5, np.int64), config.criteria, 2)
    assert fewer["members"] + fewer["too_long"] == 2


def test_clusters_of_strangers_are_warned_of(tmp_path, caplog):
    rng = random.Random(7)
    relatives = [draw_sequence(rng, 60).encode()] * 61
    strangers = [draw_sequence(rng, 60).encode() for _ in range(61)]
    for sequences, expected in ((relatives, []), (strangers, ["WARNING"])):
        file = clustering.SequenceFile(tmp_path / "in.fasta", iter(sequences))
        clustering.check_sample(file, np.zeros(61, np.int64), ClusterConfig().criteria, 1000)
        assert [r.levelname for r in caplog.records if r.levelno > logging.INFO] == expected
    assert "of 60 random members, 0.0 % meet identity and coverage" in caplog.text
