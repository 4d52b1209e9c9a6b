"""Nested pairs of greatest weight, against every nested structure of a few bases."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.decoders.nussinov import nest_pairs
from support.all_structures import iter_nested


def total(weights, pairs):
    return sum(weights[i, j] for i, j in pairs)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 9])
def test_equals_the_best_of_all_nested_structures(length, levels):
    generator = np.random.default_rng(length)
    for _ in range(8):
        weights = generator.normal(-0.2, 0.6, (length, length))
        if levels:
            weights = np.round(weights * levels) / levels
        candidates = [tuple(pair) for pair in np.argwhere(np.triu(weights > 0, 1)).tolist()]
        best = max(total(weights, pairs) for pairs in iter_nested(candidates))
        pairs = [tuple(pair) for pair in nest_pairs(weights).tolist()]
        assert pairs in [sorted(structure) for structure in iter_nested(candidates)]
        assert total(weights, pairs) == pytest.approx(best, abs=1e-12)


def test_the_lower_triangle_and_what_is_not_positive_are_no_candidates():
    weights = np.array([[9.0, 0, -1], [9, 9, 0], [9, 9, 9]])
    assert nest_pairs(weights).shape == (0, 2)
    assert nest_pairs(np.zeros((0, 0))).shape == (0, 2)


def test_a_long_hairpin_and_multiloops():
    length = 400
    weights = np.zeros((length, length))
    truth = [(i, length - 1 - i) for i in range(50)]
    truth += [(60 + i, 150 - i) for i in range(40)] + [(200 + i, 280 - i) for i in range(30)]
    weights[tuple(np.transpose(truth))] = 0.1
    weights[0, 399] = 0.05
    assert nest_pairs(weights).tolist() == sorted([list(pair) for pair in truth])


def test_two_helices_that_cross_give_the_heavier_one():
    weights = np.zeros((12, 12))
    weights[0, 7] = weights[1, 6] = 1
    weights[3, 11] = weights[4, 10] = 1.1
    assert nest_pairs(weights).tolist() == [[3, 11], [4, 10]]
    assert nest_pairs(np.where(weights == 1.1, 0.9, weights)).tolist() == [[0, 7], [1, 6]]


def test_among_equals_a_base_stays_unpaired_and_takes_its_first_partner():
    weights = np.ones((3, 3))
    assert nest_pairs(weights).tolist() == [[1, 2]]
    weights[1, 2] = 0
    assert nest_pairs(weights).tolist() == [[0, 1]]
