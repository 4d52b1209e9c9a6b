"""Pseudoknots against every way to leave pairs out, and length bins."""

from itertools import combinations

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.slices import (
    count_pseudoknot_pairs,
    find_crossing_pairs,
    find_pseudoknot_pairs,
    name_length_bin,
)
from openrinalmo.pipeline.downstream.scoring import PairCounts
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket


def crosses(first, second):
    (i, j), (k, m) = sorted([tuple(first), tuple(second)])
    return i < k < j < m


def fewest_to_leave_out(pairs):
    for size in range(len(pairs) + 1):
        for left_out in combinations(range(len(pairs)), size):
            kept = [pair for number, pair in enumerate(pairs) if number not in left_out]
            if not any(crosses(a, b) for a, b in combinations(kept, 2)):
                return size
    raise AssertionError


def test_equals_trying_all_on_random_structures():
    generator = np.random.default_rng(0)
    sizes = set()
    for number in range(60):
        positions = generator.permutation(30)[: 2 * (number % 8)].reshape(-1, 2)
        pairs = np.array(sorted(sorted(pair) for pair in positions.tolist()), np.int64)
        pairs = pairs.reshape(-1, 2)
        is_crossing = [any(crosses(a, b) for b in pairs.tolist() if a != b) for a in pairs.tolist()]
        assert find_crossing_pairs(pairs).tolist() == is_crossing
        is_knot = find_pseudoknot_pairs(pairs)
        kept = pairs[~is_knot].tolist()
        assert not any(crosses(a, b) for a, b in combinations(kept, 2))
        assert is_knot.sum() == fewest_to_leave_out(pairs.tolist())
        sizes.add(int(is_knot.sum()))
    assert sizes >= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("structure", "knots"),
    [
        ("", []),
        ("....", []),
        ("((..))", []),
        ("((..[[..))..]]", [[4, 13], [5, 12]]),
        ("((..[[[..))..]]]", [[0, 10], [1, 9]]),
        ("(([[))]]((..))", [[2, 7], [3, 6]]),
    ],
)
def test_the_smaller_helix_is_the_knot_and_of_equal_ones_the_second(structure, knots):
    pairs = parse_dot_bracket(structure)
    assert pairs[find_pseudoknot_pairs(pairs)].tolist() == knots


def test_counts_do_not_depend_on_which_helix_is_the_knot():
    known = parse_dot_bracket("((..[[..))..]]......")
    other_is_smaller = parse_dot_bracket("(...[[..)...]]......")
    only_one = parse_dot_bracket("((......))..........")
    assert count_pseudoknot_pairs(known, known, relaxed=False) == PairCounts(
        predicted=2, predicted_hits=2, target=2, target_hits=2
    )
    assert count_pseudoknot_pairs(known, only_one, relaxed=False) == PairCounts(target=2)
    for relaxed in (False, True):
        # (0, 8) is what is left out here, and (0, 9) is known.
        assert count_pseudoknot_pairs(known, other_is_smaller, relaxed=relaxed) == PairCounts(
            predicted=1, predicted_hits=int(relaxed), target=2, target_hits=2
        )


def test_a_base_in_two_pairs_is_refused():
    with pytest.raises(ValueError, match="in two pairs"):
        find_pseudoknot_pairs(np.array([[0, 5], [3, 8], [3, 9]]))


@pytest.mark.parametrize(
    ("length", "name"),
    [
        (0, "1-100 nt"),
        (100, "1-100 nt"),
        (101, "101-200 nt"),
        (2000, "1001-2000 nt"),
        (2001, ">2000 nt"),
    ],
)
def test_length_bins(length, name):
    assert name_length_bin(length) == name
