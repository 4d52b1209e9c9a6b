"""Maximum-weight matching against every matching of a few bases."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.decoders.matching import match_pairs
from support.all_structures import iter_matchings


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 8])
def test_equals_the_best_of_all_matchings(length, levels):
    generator = np.random.default_rng(length)
    for _ in range(8):
        weights = generator.normal(0, 0.6, (length, length))
        if levels:
            weights = np.round(weights * levels) / levels
        candidates = [tuple(pair) for pair in np.argwhere(np.triu(weights > 0, 1)).tolist()]
        totals = {
            tuple(sorted(pairs)): sum(weights[i, j] for i, j in pairs)
            for pairs in iter_matchings(candidates)
        }
        pairs = tuple(tuple(pair) for pair in match_pairs(weights).tolist())
        assert totals[pairs] == pytest.approx(max(totals.values()), abs=1e-10)


def test_two_good_pairs_beat_the_best_one():
    weights = np.zeros((4, 4))
    weights[1, 2], weights[0, 1], weights[2, 3] = 0.6, 0.5, 0.5
    assert match_pairs(weights).tolist() == [[0, 1], [2, 3]]


def test_pairs_may_cross():
    weights = np.zeros((4, 4))
    weights[0, 2] = weights[1, 3] = 0.3
    assert match_pairs(weights).tolist() == [[0, 2], [1, 3]]


def test_ties_are_broken_the_same_way_each_time():
    weights = np.random.default_rng(0).integers(0, 3, (40, 40)) / 2
    first = match_pairs(weights)
    for _ in range(5):
        np.testing.assert_array_equal(match_pairs(weights), first)


def test_no_candidates_and_no_bases():
    assert match_pairs(np.zeros((0, 0))).shape == (0, 2)
    assert match_pairs(-np.ones((5, 5))).shape == (0, 2)
    assert match_pairs(np.tril(np.ones((5, 5)))).shape == (0, 2)


def test_weights_of_half_precision_and_tiny_ones():
    weights = np.zeros((6, 6), np.float16)
    weights[0, 5], weights[1, 4] = 1e-6, 0.3
    assert match_pairs(weights).tolist() == [[0, 5], [1, 4]]
