import random
import tracemalloc

import numpy as np
import pytest

from openrinalmo.data_prep.clusters.alignment import Criteria
from openrinalmo.data_prep.clusters.clustering import cluster_sequences
from openrinalmo.data_prep.clusters.kmers import build_reverse_complements, number_kmers
from openrinalmo.data_prep.clusters.sequence_file import SequenceFile
from openrinalmo.data_prep.clusters.strands import (
    _find_candidates,
    find_antisense,
    find_forward_representatives,
    split_antisense,
)
from openrinalmo.data_prep.mmseqs import ClusterConfig
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, mutate

CRITERIA = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=0)


def reverse_complement(sequence):
    return sequence[::-1].translate(str.maketrans("ACGU", "UGCA"))


def write(tmp_path, sequences):
    return SequenceFile(tmp_path / "in.fasta", (sequence.encode() for sequence in sequences))


def cluster(tmp_path, sequences, **settings):
    config = ClusterConfig(threads=1, **settings)
    return cluster_sequences((s.encode() for s in sequences), tmp_path, config)


def draw_both_strands(rng, families):
    """Draw families of four, and then three antisense relatives of each."""
    sequences = []
    for _ in range(families):
        original = draw_sequence(rng, 200)
        relatives = [mutate(rng, original, identity=0.95) for _ in range(6)]
        sequences += [f"{original}ACGUAC", *relatives[:3]]
        sequences += map(reverse_complement, relatives[3:])
    return sequences


@requires_mmseqs
def test_antisense_copies_cluster_apart(tmp_path):
    sequences = draw_both_strands(random.Random(0), families=20)
    representatives, report = cluster(tmp_path, sequences)
    families = representatives.reshape(20, 7)
    assert (families[:, :4] == families[:, :1]).all()
    assert (families[:, 4:] == families[:, 4:5]).all()
    assert len(set(representatives)) == 40
    assert report["antisense_members"] == 60
    assert report["antisense_clusters"] == 20
    assert report["antisense_joined_others"] == 0


@requires_mmseqs
def test_both_strands_stay_where_that_is_asked_for(tmp_path):
    sequences = draw_both_strands(random.Random(0), families=5)
    representatives, report = cluster(tmp_path, sequences, strand="both")
    assert len(set(representatives)) == 5
    assert "antisense_members" not in report


@pytest.mark.parametrize(
    ("length", "identity"), [(30, 0.9), (30, 1), (80, 0.85), (400, 0.75), (3_000, 0.75), (3_000, 1)]
)
def test_strands_are_told_apart(tmp_path, length, identity):
    rng = random.Random(length)
    heads = [draw_sequence(rng, length) for _ in range(10)]
    forward = [mutate(rng, head, identity=identity) for head in heads]
    reverse = [reverse_complement(mutate(rng, head, identity=identity)) for head in heads]
    file = write(tmp_path, heads + forward + reverse)
    found, _ = find_antisense(file, np.arange(10, 30), np.tile(np.arange(10), 2), CRITERIA)
    assert found.tolist() == [False] * 10 + [True] * 10


def test_what_aligns_on_both_strands_or_neither_stays(tmp_path):
    rng = random.Random(1)
    arm = draw_sequence(rng, 60)
    hairpin = arm + "GAAA" + reverse_complement(arm)
    stranger = draw_sequence(rng, len(hairpin))
    sequences = [hairpin, reverse_complement(hairpin), stranger]
    found, num_aligned = find_antisense(
        write(tmp_path, sequences), np.array([1, 2]), np.array([0, 0]), CRITERIA
    )
    assert found.tolist() == [False, False]
    assert num_aligned == 2


def test_a_part_in_reverse_is_split_off_though_it_covers_too_little(tmp_path):
    rng = random.Random(4)
    head = draw_sequence(rng, 200)
    sequences = [head, reverse_complement(head[:100]), head[:100]]
    found, _ = find_antisense(
        write(tmp_path, sequences), np.array([1, 2]), np.array([0, 0]), CRITERIA
    )
    assert found.tolist() == [True, False]


def test_who_is_known_to_match_forward_is_not_looked_at(tmp_path):
    sequences = draw_both_strands(random.Random(5), families=2)
    representatives = np.repeat([0, 7], 7)
    is_forward = np.arange(14) < 7  # said also of the first family's antisense
    found, report = split_antisense(
        write(tmp_path, sequences),
        representatives,
        CRITERIA,
        lambda numbers: np.full(len(numbers), numbers[0]),
        is_forward,
    )
    assert found.tolist() == [0] * 7 + [7] * 4 + [11] * 3
    assert report["antisense_members"] == 3


def test_many_chunks_change_nothing(tmp_path, monkeypatch):
    rng = random.Random(2)
    sequences = draw_both_strands(rng, families=10)
    file = write(tmp_path, sequences)
    members = np.array(rng.sample(range(70), 70))
    heads = members // 7 * 7
    once, _ = find_antisense(file, members, heads, CRITERIA)
    assert np.array_equal(once, members % 7 > 3)
    monkeypatch.setattr("openrinalmo.data_prep.clusters.strands._CHUNK_PAIRS", 3)
    again, _ = find_antisense(file, members, heads, CRITERIA)
    assert np.array_equal(once, again)


def test_a_lone_sequence_joins_who_it_matches_forward(tmp_path, monkeypatch):
    rng = random.Random(3)
    heads = [draw_sequence(rng, 150) for _ in range(30)]
    lone = [
        mutate(rng, heads[17], identity=0.9),
        reverse_complement(heads[4]),
        draw_sequence(rng, 150),
        heads[3][:100],  # covers too little
        draw_sequence(rng, 1_500),
    ]
    file = write(tmp_path, heads + lone)
    for _ in range(2):
        found = find_forward_representatives(file, np.arange(30, 35), np.arange(30), CRITERIA)
        assert found.tolist() == [17, -1, -1, -1, -1]
        monkeypatch.setattr("openrinalmo.data_prep.clusters.strands._JOIN_LETTERS", 200)


def count_shared(first, second, left_out):
    """Count the pairs of places where both have the same 14 letters."""
    words = [[text[i : i + 14] for i in range(len(text) - 13)] for text in (first, second)]
    return sum(words[1].count(word) for word in words[0] if word not in left_out)


@pytest.mark.parametrize("most_copies", [256, 6])
def test_candidates_are_those_that_share_the_most(tmp_path, monkeypatch, most_copies):
    rng = random.Random(6)
    originals = [draw_sequence(rng, 60) for _ in range(4)]
    relatives = [mutate(rng, rng.choice(originals), identity=0.93) + "A" * 16 for _ in range(60)]
    lone, heads = np.arange(1, 60, 3), np.delete(np.arange(60), np.arange(1, 60, 3))
    file = write(tmp_path, relatives)
    words = [relatives[n][i : i + 14] for n in lone for i in range(len(relatives[n]) - 13)]
    left_out = {word for word in set(words) if words.count(word) > most_copies}
    assert bool(left_out) == (most_copies == 6)
    expected = []
    for place, number in enumerate(lone):
        counts = [count_shared(relatives[number], relatives[head], left_out) for head in heads]
        order = sorted(range(len(heads)), key=lambda head: (-counts[head], head))
        expected += [(place, head) for head in order[:3] if counts[head]]
    monkeypatch.setattr("openrinalmo.data_prep.clusters.strands.JOIN_MAX_COPIES", most_copies)
    for letters, pairs in ((1 << 16, 1 << 20), (200, 1 << 20), (200, 5)):
        monkeypatch.setattr("openrinalmo.data_prep.clusters.strands._JOIN_LETTERS", letters)
        monkeypatch.setattr("openrinalmo.data_prep.clusters.strands._JOIN_PAIRS", pairs)
        found = _find_candidates(file, lone, heads)
        assert list(zip(*(part.tolist() for part in found), strict=True)) == expected


def test_poly_a_tails_make_no_pairs_of_all_with_all(tmp_path):
    rng = random.Random(7)
    sequences = [draw_sequence(rng, 60) + "A" * 20 for _ in range(1_600)]
    sequences[5] = mutate(rng, sequences[1_000], identity=0.95)
    file = write(tmp_path, sequences)
    tracemalloc.start()
    found = find_forward_representatives(file, np.arange(800), np.arange(800, 1_600), CRITERIA)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[5] == 1_000
    assert peak_bytes < 60e6  # with all pairs 840 MB, else 28


@pytest.mark.parametrize("k", [1, 2, 5, 8, 14, 16])
def test_kmers_are_numbers_in_base_four(k):
    text = draw_sequence(random.Random(k), 40) + "\n" + "ACGUNACGU" + "T" * k + "\n"
    codes, is_valid = number_kmers(np.frombuffer(text.encode(), np.uint8), k)
    digits = str.maketrans("ACGUT", "01233")
    for start, (code, valid) in enumerate(zip(codes, is_valid, strict=True)):
        word = text[start : start + k]
        assert valid == (not set(word) & set("N\n"))
        if valid:
            assert code == int(word.translate(digits), 4)
    assert len(codes) == len(text) - k + 1


def test_reverse_complements_of_kmers():
    table = build_reverse_complements(4)
    letters = np.frombuffer(b"ACGGCCGU", np.uint8)
    codes, _ = number_kmers(letters, 4)
    assert table[codes[0]] == codes[4]
    assert np.array_equal(table[table], np.arange(256))


@pytest.mark.parametrize("count", [0, 1, 10, 1_234])
def test_a_sequence_file_gives_back_what_was_written(tmp_path, monkeypatch, count):
    monkeypatch.setattr("openrinalmo.data_prep.clusters.sequence_file._WRITE_BYTES", 500)
    rng = random.Random(count)
    sequences = [draw_sequence(rng, rng.randint(0, 50)) for _ in range(count)]
    file = write(tmp_path, sequences)
    dna = [sequence.replace("U", "T").encode() for sequence in sequences]
    assert file.path.read_bytes() == b"".join(b">%d\n%b\n" % pair for pair in enumerate(dna))
    assert [file.read(number).tobytes() for number in range(count)] == dna
    numbers = np.array(rng.choices(range(count), k=20) if count else [], np.int64)
    letters, ends = file.gather(numbers)
    assert letters.tobytes() == b"".join(dna[number] + b"\n" for number in numbers)
    assert ends.tolist() == np.cumsum([len(dna[number]) + 1 for number in numbers]).tolist()
