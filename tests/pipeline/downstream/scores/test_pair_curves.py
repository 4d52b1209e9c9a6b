"""Curves from bins against all pairs at once, and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score, recall_score

from openrinalmo.pipeline.downstream.scores.pair_curves import (
    EDGES,
    PairHistogram,
    build_precision_recall,
    build_reliability,
)
from openrinalmo.pipeline.downstream.structure import build_contact_map
from support.published_decoding import UNDEFINED


def random_rnas(seed, lengths=(1, 5, 20, 47)):
    generator = np.random.default_rng(seed)
    for length in lengths:
        upper = np.triu(generator.random((length, length)) ** 4, 1)
        upper[np.abs(upper - 0.5) < 0.1] = 0.5  # many on an edge
        is_pair = np.triu(generator.random((length, length)) < upper, 1)
        yield upper + upper.T, np.argwhere(is_pair)


def flatten(rnas):
    probabilities, truths = [], []
    for matrix, pairs in rnas:
        upper = np.triu_indices(len(matrix), 1)
        probabilities.append(matrix[upper])
        truths.append(build_contact_map(pairs, len(matrix))[upper])
    return np.concatenate(probabilities), np.concatenate(truths)


def fill(rnas):
    histogram = PairHistogram()
    for matrix, pairs in rnas:
        histogram.add(matrix, pairs)
    return histogram


def test_reliability_equals_means_of_tenths():
    probability, truth = flatten(random_rnas(0))
    curve = build_reliability(fill(random_rnas(0)), system="s", part="p")
    x, y, sizes = [], [], []
    for low in range(10):
        inside = (probability >= low / 10) & (probability < (low + 1) / 10)
        if inside.any():
            x.append(probability[inside].mean())
            y.append(truth[inside].mean())
            sizes.append(inside.sum())
    assert curve.x == pytest.approx(x)
    assert curve.y == pytest.approx(y)
    assert curve.sizes == tuple(sizes)
    assert len(x) > 7


def test_precision_and_recall_equal_scikit_learn_at_every_edge():
    probability, truth = flatten(random_rnas(1))
    curve = build_precision_recall(fill(random_rnas(1)), system="s", part="p")
    expected = []
    for edge in EDGES[-2::-1]:
        guess = probability >= edge
        if not expected or guess.sum() > expected[-1][0]:
            precision = precision_score(truth, guess, zero_division=UNDEFINED)
            expected.append((guess.sum(), recall_score(truth, guess), precision))
    expected = [point for point in expected if point[0]]
    assert curve.x == pytest.approx([recall for _, recall, _ in expected])
    assert curve.y == pytest.approx([precision for _, _, precision in expected])
    assert curve.x[-1] == 1
    assert len(curve.x) > 100


def test_rnas_and_histograms_add_up():
    together = fill([*random_rnas(2), *random_rnas(3)])
    apart = fill(random_rnas(2)) + fill(random_rnas(3))
    np.testing.assert_array_equal(together.num_pairs_K, apart.num_pairs_K)
    np.testing.assert_array_equal(together.num_true_K, apart.num_true_K)
    np.testing.assert_allclose(together.sum_probability_K, apart.sum_probability_K)
    assert together.num_pairs_K.sum() == 2 * sum(n * (n - 1) // 2 for n in (1, 5, 20, 47))


def test_ends_and_tensors():
    probabilities = torch.zeros(3, 3, dtype=torch.bfloat16)
    probabilities[0, 1] = probabilities[1, 0] = 1.0
    histogram = fill([(probabilities, np.array([[0, 1]]))])
    reliability = build_reliability(histogram, system="s", part="p")
    assert (reliability.x, reliability.y, reliability.sizes) == ((0, 1), (0, 1), (2, 1))
    curve = build_precision_recall(histogram, system="s", part="p")
    assert (curve.x, curve.y) == ((1, 1), (1, 1 / 3))


def test_no_pairs_no_points():
    none = np.empty((0, 2), np.int64)
    for matrix in (np.zeros((0, 0)), np.zeros((1, 1)), np.full((4, 4), 0.3)):
        curve = build_precision_recall(fill([(matrix, none)]), system="s", part="p")
        assert curve.x == curve.y == ()
    assert build_reliability(PairHistogram(), system="s", part="p").x == ()


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_no_probabilities_are_refused(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        PairHistogram().add(np.full((3, 3), value), np.empty((0, 2), np.int64))
