"""Ranks, Spearman and AUC against SciPy and scikit-learn, with ties and without values."""

import math

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.zero_shot.rank_statistics import (
    compute_auc_of_groups,
    compute_spearman,
    rank_with_ties,
)


def draw_cases(seed=0, count=100):
    """Pairs of vectors of 2 to 40 values: continuous, of few levels (ties), huge and tiny."""
    generator = np.random.default_rng(seed)
    for case in range(count):
        size = int(generator.integers(2, 41))
        left, right = generator.normal(size=(2, size)) * 10.0 ** generator.integers(-8, 9)
        if case % 2:
            left, right = generator.integers(0, 3, (2, size)).astype(float)
        yield left, right


def test_ranks_match_scipy():
    stats = pytest.importorskip("scipy.stats")
    for left, _ in draw_cases():
        np.testing.assert_array_equal(rank_with_ties(left), stats.rankdata(left))
    assert rank_with_ties([]).tolist() == []


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_spearman_matches_scipy():
    stats = pytest.importorskip("scipy.stats")
    defined = 0
    for left, right in draw_cases():
        ours, theirs = compute_spearman(left, right), stats.spearmanr(left, right).statistic
        assert math.isnan(ours) == math.isnan(theirs)
        if not math.isnan(ours):
            defined += 1
            assert ours == pytest.approx(theirs, abs=1e-12)
    assert defined > 80


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 3], [10, 200, 3000], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2, 2], [1, 2, 1, 2], 0.0),
        ([1, 1, 1], [1, 2, 3], math.nan),
        ([1], [2], math.nan),
        ([], [], math.nan),
    ],
    ids=str,
)
def test_spearman_by_hand(left, right, expected):
    assert compute_spearman(left, right) == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_spearman_needs_equal_lengths():
    with pytest.raises(ValueError, match="got 2, 3"):
        compute_spearman([1, 2], [1, 2, 3])


def test_auc_matches_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for higher, others in draw_cases(seed=1):
        lower = others[: max(1, len(others) // 3)]
        labels = [1] * len(higher) + [0] * len(lower)
        expected = metrics.roc_auc_score(labels, np.concatenate([higher, lower]))
        assert compute_auc_of_groups(higher, lower) == pytest.approx(expected, abs=1e-12)


def test_auc_of_empty_and_level_groups():
    assert math.isnan(compute_auc_of_groups([], [1.0]))
    assert math.isnan(compute_auc_of_groups([1.0], []))
    assert compute_auc_of_groups([2.0], [1.0]) == 1
    assert compute_auc_of_groups([1.0, 1.0], [1.0]) == 0.5
