import random

import numpy as np
import pytest

from openrinalmo.data_prep.clusters.alignment import Criteria
from openrinalmo.data_prep.clusters.short_rnas import ShortConfig, _Search, cluster_short
from support.sequences import draw_sequence, mutate


def covers(overlap, head, member, coverage, cov_mode):
    shares = {
        0: min(overlap / head, overlap / member),
        1: overlap / member,
        2: overlap / head,
        3: member / head,
        4: head / member,
        5: min(member / head, head / member),
    }
    return shares[cov_mode] >= coverage - 1e-9 and overlap / member >= coverage - 1e-9


def matches(head, member, max_mismatches, criteria):
    """Lay the member under the head in every way and count."""
    for shift in range(-len(member) + 1, len(head)):
        pairs = [
            (head[place], member[place - shift])
            for place in range(max(shift, 0), min(len(head), shift + len(member)))
        ]
        wrong = sum(a != b or a not in "ACGU" for a, b in pairs)
        identical = 1 - wrong / len(pairs) >= criteria.min_seq_id - 1e-9
        sizes = len(pairs), len(head), len(member)
        covered = covers(*sizes, criteria.coverage, criteria.cov_mode)
        if wrong <= max_mismatches and identical and covered:
            return True
    return False


def cluster_slowly(sequences, is_given, max_mismatches, criteria):
    """Compare everything: the longest first, the given before others of their length."""
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), not is_given[i], i))
    heads, found = [], np.arange(len(sequences))
    for index in order:
        if not is_given[index]:
            member = sequences[index]
            hits = (h for h in heads if matches(sequences[h], member, max_mismatches, criteria))
            found[index] = next(hits, index)
        if found[index] == index:
            heads.append(index)
    return found


def draw_short_rnas(rng, families):
    """Draw relatives: cut at the ends, lengthened, mutated, some with an ambiguous letter."""
    sequences = []
    for _ in range(families):
        core = draw_sequence(rng, 30)
        for _ in range(rng.randint(1, 6)):
            start, stop = rng.randint(0, 6), rng.randint(22, 30)
            relative = mutate(rng, core, identity=rng.choice([1, 1, 0.97, 0.93, 0.8]))[start:stop]
            if rng.random() < 0.1:
                relative = relative[:5] + "N" + relative[6:]
            sequences.append(relative)
    sequences += ["A" * length for length in (16, 17, 20, 24)] + ["N" * 20, "N" * 19, "AC" * 10]
    return list(dict.fromkeys(sequences))


@pytest.mark.parametrize("cov_mode", range(6))
@pytest.mark.parametrize("max_mismatches", [0, 1, 3])
@pytest.mark.parametrize(("min_seq_id", "coverage"), [(0.7, 0.8), (0.95, 0.9), (0.9, 0.5)])
def test_equals_comparing_everything(cov_mode, max_mismatches, min_seq_id, coverage):
    rng = random.Random(cov_mode)
    sequences = draw_short_rnas(rng, families=14)
    is_given = np.array([rng.random() < 0.1 for _ in sequences])
    criteria = Criteria(min_seq_id=min_seq_id, coverage=coverage, cov_mode=cov_mode)
    expected = cluster_slowly(sequences, is_given, max_mismatches, criteria)
    found = cluster_short(
        [sequence.encode() for sequence in sequences],
        is_given,
        ShortConfig(max_mismatches=max_mismatches),
        criteria,
    )
    assert found.tolist() == expected.tolist()
    assert 0 < np.count_nonzero(found != np.arange(len(found))) < len(found)
    assert not is_given[found != np.arange(len(found))].any()


def test_few_pairs_are_compared_of_many_strangers(monkeypatch):
    rng = random.Random(3)
    sequences = [draw_sequence(rng, rng.randint(18, 24)).encode() for _ in range(10_000)]
    compared = []
    compare = _Search._compare

    def count(self, head, member, shift):
        compared.append(len(head))
        return compare(self, head, member, shift)

    monkeypatch.setattr(_Search, "_compare", count)
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=0)
    cluster_short(sequences, np.zeros(len(sequences), bool), ShortConfig(), criteria)
    assert sum(compared) < len(sequences)


def test_small_blocks_change_nothing(monkeypatch):
    sequences = [s.encode() for s in draw_short_rnas(random.Random(9), families=60)]
    is_given = np.zeros(len(sequences), bool)
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=0)
    once = cluster_short(sequences, is_given, ShortConfig(), criteria)
    monkeypatch.setattr("openrinalmo.data_prep.clusters.short_rnas._MAX_HITS", 3)
    assert np.array_equal(cluster_short(sequences, is_given, ShortConfig(), criteria), once)


@pytest.mark.parametrize("sequences", [[], [b"ACGU"], [b"NNNN", b"NNNN"]])
def test_nothing_to_join(sequences):
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=0)
    found = cluster_short(sequences, np.zeros(len(sequences), bool), ShortConfig(), criteria)
    assert found.tolist() == list(range(len(sequences)))


def test_dna_and_rna_letters_are_one():
    criteria = Criteria(min_seq_id=1, coverage=1, cov_mode=0)
    sequences = [b"ACGUUGCAAGCUAGCUUACG", b"ACGTTGCAAGCTAGCTTACG"]
    found = cluster_short(sequences, np.zeros(2, bool), ShortConfig(), criteria)
    assert found.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_nt": 41}, r"short.max_nt must be in 0\.\.40, got 41"),
        ({"max_mismatches": 4}, r"short.max_mismatches must be in 0\.\.3, got 4"),
    ],
)
def test_refuses_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ShortConfig(**settings)
