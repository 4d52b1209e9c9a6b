"""16-mers in common, against sets of strings."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.sequence_tasks.near_duplicates import (
    K,
    Leakage,
    compute_containment,
    count_leakage,
    find_holders,
    find_near,
)
from support.sequence_tasks import draw_sequence


def list_kmers(sequence):
    kmers = [sequence[start : start + K] for start in range(len(sequence) - K + 1)]
    return [kmer for kmer in kmers if set(kmer) <= set("ACGU")]


def expect_containment(sequence, others):
    known = {kmer for other in others for kmer in list_kmers(other)}
    kmers = list_kmers(sequence)
    return sum(kmer in known for kmer in kmers) / len(kmers) if kmers else 0.0


def test_shares_equal_those_of_sets():
    generator = np.random.default_rng(0)
    others = [draw_sequence(generator, length) for length in (0, 1, 15, 16, 17, 60, 200)]
    sequences = ["", "A", "N" * 30, others[3], others[-1][50:120]]
    for _ in range(50):
        inner = others[-1][int(generator.integers(100)) :][: int(generator.integers(100))]
        sequence = draw_sequence(generator, 5) + inner + draw_sequence(generator, 20)
        place = int(generator.integers(len(sequence)))
        sequences.append(sequence[:place] + str(generator.choice(["N", "A"])) + sequence[place:])
    expected = [expect_containment(sequence, others) for sequence in sequences]
    np.testing.assert_allclose(compute_containment(sequences, others), expected, atol=0)
    assert 0 < sum(value > 0 for value in expected) < len(sequences)


def test_no_16mer_spans_two_sequences():
    whole = draw_sequence(np.random.default_rng(1), 30)
    assert compute_containment([whole], [whole[:15], whole[15:]]).tolist() == [0]


def test_the_highest_number_is_found():
    assert compute_containment(["U" * 16], ["U" * 16]).tolist() == [1]
    assert compute_containment(["U" * 16], ["A" * 40]).tolist() == [0]


@pytest.mark.parametrize("sequence", ["ACGU", "N" * 20])
def test_what_has_no_16mer_is_near_only_as_a_copy(sequence):
    assert find_near([sequence, sequence + "A"], [sequence]).tolist() == [True, False]


def test_copies_and_halves_are_counted():
    whole = draw_sequence(np.random.default_rng(2), 47)
    # 32 16-mers, of which 16 and 15 are in the two cuts.
    assert count_leakage([whole], [whole[:31]]) == Leakage(0, 1)
    assert count_leakage([whole], [whole[:30]]) == Leakage(0, 0)
    assert count_leakage([whole, whole], [whole]) == Leakage(2, 2)
    assert count_leakage([whole], []) == Leakage(0, 0)
    assert count_leakage([], [whole]) == Leakage(0, 0)


def test_who_holds_half_of_another_holds_it_alone():
    generator = np.random.default_rng(4)
    # 32 16-mers.
    whole = draw_sequence(generator, 47)
    around = draw_sequence(generator, 100)
    sequences = [
        around + whole + around,
        around + whole[:31],
        around + whole[:30],
        whole[16:] + around + whole[16:],
        "ACGU",
        around,
    ]
    expected = [True, True, False, True, True, False]
    assert find_holders(sequences, [whole, "ACGU"]).tolist() == expected
    # Two that hold a third each hold it by half together, none alone.
    thirds = [whole[:26] + around, around + whole[21:]]
    assert find_near([whole], thirds).tolist() == [True]
    assert find_holders(thirds, [whole]).tolist() == [False, False]
    # What a sequence repeats counts once.
    assert find_holders([around + 9 * whole[:17]], [whole]).tolist() == [False]
    assert find_holders([], [whole]).tolist() == []
    assert find_holders([whole], []).tolist() == [False]
