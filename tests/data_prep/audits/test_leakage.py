import random

import numpy as np
import pytest

from openrinalmo.data_prep.audits.contained import find_contained
from openrinalmo.data_prep.audits.leakage import (
    Corpus,
    compute_found_from,
    find_neighbours,
    judge,
)
from openrinalmo.data_prep.audits.searching import SearchConfig
from openrinalmo.data_prep.inspection.identity import reverse_complement
from openrinalmo.data_prep.mmseqs import find_mmseqs
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, mutate
from support.tiny_data import write_tiny_data


def make_corpus(folder, sequences):
    """One cluster a record, the last third in validation."""
    clusters = [[(f"r{n}", s, "t")] for n, s in enumerate(sequences)]
    cut = max(1, 2 * len(clusters) // 3)
    write_tiny_data(folder, train=clusters[:cut], validation=clusters[cut:], max_shard_nt=700)
    return Corpus(folder)


def run(tmp_path, corpus, queries, *, is_aligned=True, coverage=0.8):
    config = SearchConfig(threads=1)
    encoded = [query.encode() for query in queries]
    binary = find_mmseqs() if is_aligned else None
    found = find_neighbours(
        encoded, corpus, tmp_path / "out", config=config, coverage=coverage, binary=binary
    )
    return found, judge(encoded, found, kmer_nt=config.kmer_nt, is_aligned=is_aligned)


def reverse(sequence):
    return reverse_complement(sequence.encode()).decode()


@requires_mmseqs
def test_each_planted_kind_is_found_for_what_it_is(tmp_path):
    rng = random.Random(0)
    strangers = [draw_sequence(rng, rng.randint(60, 400)) for _ in range(40)]
    copy, antisense, relative, whole, inside, alone = (draw_sequence(rng, 200) for _ in range(6))
    corpus = make_corpus(
        tmp_path / "data",
        [*strangers, copy, antisense, relative, whole[40:140], strangers[0] + inside],
    )
    queries = [copy, reverse(antisense), mutate(rng, relative, identity=0.85), whole, inside, alone]
    found, statuses = run(tmp_path, corpus, queries)
    assert found.record[:5].tolist() == [40, 41, 42, 43, 44]
    assert found.is_identical.tolist() == [True, True, False, False, False, False]
    assert found.is_reverse[:5].tolist() == [False, True, False, False, False]
    assert found.identity[:5].tolist() == pytest.approx([1, 1, 0.85, 1, 1], abs=0.03)
    assert found.coverage[:5].tolist() == pytest.approx([1, 1, 1, 0.5, 1], abs=0.03)
    assert found.record_coverage[:5].tolist() == pytest.approx(
        [1, 1, 1, 1, 200 / (200 + len(strangers[0]))], abs=0.03
    )
    assert found.nearness[5] < 0.4
    assert statuses == ["found"] * 5 + ["none"]
    assert np.count_nonzero(found.covered_identity >= 0.8) == 4  # not the half


@requires_mmseqs
@pytest.mark.parametrize(("identity", "least"), [(0.9, 30), (0.8, 29), (0.75, 26)])
def test_relatives_are_found_down_to_three_quarters(tmp_path, identity, least):
    rng = random.Random(1)
    originals = [draw_sequence(rng, 120) for _ in range(30)]
    corpus = make_corpus(tmp_path / "data", originals)
    queries = [mutate(rng, original, identity=identity) for original in originals]
    found, _ = run(tmp_path, corpus, queries)
    assert np.count_nonzero(found.record == np.arange(30)) >= least


@requires_mmseqs
@pytest.mark.parametrize(("length", "identity"), [(40, 0.9), (60, 0.85), (120, 0.8), (400, 0.8)])
def test_what_is_no_nearer_than_chance_is_no_neighbour(tmp_path, length, identity):
    rng = random.Random(length)
    records = [draw_sequence(rng, rng.randint(50, 500)) for _ in range(300)]
    originals = [draw_sequence(rng, length) for _ in range(30)]
    strangers = [draw_sequence(rng, length) for _ in range(300)]
    relatives = [mutate(rng, original, identity=identity) for original in originals]
    corpus = make_corpus(tmp_path / "data", records + originals)
    found, statuses = run(tmp_path, corpus, strangers + relatives)
    assert np.count_nonzero(found.record[:300] >= 0) > 200  # alignments that mean nothing
    assert set(statuses[:300]) == {"none"}
    assert statuses[300:].count("found") >= 28


@requires_mmseqs
def test_a_short_sequence_that_chance_could_give_is_not_searchable(tmp_path):
    rng = random.Random(8)
    records = [draw_sequence(rng, 300) for _ in range(30)]
    corpus = make_corpus(tmp_path / "data", records)
    short = records[3][100:122]
    near = short[:11] + {"A": "C", "C": "G", "G": "U", "U": "A"}[short[11]] + short[12:]
    far = records[5][50:61] + draw_sequence(rng, 11)
    _, statuses = run(tmp_path, corpus, [short, near, far])
    assert statuses == ["found", "found", "not_searchable"]


def test_the_bound_falls_with_length_and_lets_every_copy_through():
    bounds = compute_found_from(np.arange(1, 9_000))
    assert (np.diff(bounds) <= 0).all()
    assert (bounds[0], bounds[-1]) == (1, 0.3)
    assert compute_found_from([50, 25, 120]).tolist() == pytest.approx([0.75, 0.9, 0.54])


@requires_mmseqs
def test_the_same_strand_and_the_first_record_win(tmp_path):
    rng = random.Random(2)
    sequence = draw_sequence(rng, 80)
    corpus = make_corpus(tmp_path / "data", [reverse(sequence), draw_sequence(rng, 80), sequence])
    found, _ = run(tmp_path, corpus, [sequence])
    assert (found.record[0], found.is_reverse[0]) == (2, False)


@requires_mmseqs
def test_short_sequences_are_found_in_records_or_not_searchable(tmp_path):
    rng = random.Random(3)
    long = [draw_sequence(rng, 300) for _ in range(12)]
    corpus = make_corpus(tmp_path / "data", long)
    straddling = (long[0] + long[1])[290:312]
    queries = [long[3][100:122], reverse(long[10][5:25]), straddling, "ACGU", "N" * 50, ""]
    found, statuses = run(tmp_path, corpus, queries)
    assert found.record[:2].tolist() == [3, 10]
    assert found.is_reverse[:2].tolist() == [False, True]
    assert found.nearness[:2].tolist() == [1, 1]
    assert not found.is_identical.any()
    assert statuses[:2] == ["found", "found"]
    assert set(statuses[2:]) == {"not_searchable"}


def test_copies_are_not_searched_for(tmp_path):
    rng = random.Random(6)
    sequences = [draw_sequence(rng, nt) for nt in (150, 60, 200)]
    corpus = make_corpus(tmp_path / "data", sequences)
    found = find_neighbours(
        [sequences[0].encode(), reverse(sequences[1]).encode(), sequences[2][30:50].encode()],
        corpus,
        tmp_path / "out",
        config=SearchConfig(threads=1),
        coverage=0.8,
        binary=tmp_path / "a binary that is not there",
    )
    assert found.record.tolist() == [0, 1, 2]
    assert found.covered_identity.tolist() == [1, 1, 1]


def test_without_mmseqs_a_sequence_that_differs_is_not_searchable(tmp_path):
    rng = random.Random(4)
    copy, relative = draw_sequence(rng, 90), draw_sequence(rng, 90)
    corpus = make_corpus(tmp_path / "data", [relative, draw_sequence(rng, 50), copy])
    queries = [reverse(copy), mutate(rng, relative, identity=0.95)]
    found, statuses = run(tmp_path, corpus, queries, is_aligned=False)
    assert found.record.tolist() == [2, -1]
    assert statuses == ["found", "not_searchable"]


@pytest.mark.parametrize("seed", range(3))
def test_contained_as_by_looking_everywhere(seed):
    rng = random.Random(seed)
    records = [draw_sequence(rng, rng.randint(12, 60)) for _ in range(50)]
    queries = ["".join(rng.choices("AC", k=12)), records[3][:16], records[7][-24:], records[9][:11]]
    queries += [reverse(records[20])[:24], records[30][:30]]
    letters = np.frombuffer("".join(records).encode(), np.uint8)
    ends = np.cumsum([len(record) for record in records])
    expected = {
        (q, r, is_reverse)
        for q, query in enumerate(queries)
        for r, record in enumerate(records)
        for is_reverse in (False, True)
        if 12 <= len(query) < 25 and (reverse(query) if is_reverse else query) in record
    }
    assert len(expected) >= 3
    assert set(find_contained([q.encode() for q in queries], letters, ends)) == expected


def test_complement_of_iupac_codes():
    assert reverse_complement(b"ACGURYKMSWBVDHNI") == b"INDHBVWSKMRYACGU"


def test_refuses_impossible_settings():
    with pytest.raises(ValueError, match=r"search.kmer_nt must be in 7..15, got 20"):
        SearchConfig(kmer_nt=20)
    with pytest.raises(ValueError, match=r"search.max_seqs must be at least 1, got 0"):
        SearchConfig(max_seqs=0)
