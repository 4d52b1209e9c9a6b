"""Metrics against scikit-learn and SciPy, and what is said where nothing is defined."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from openrinalmo.pipeline.downstream.sequence_tasks.sequence_metrics import (
    score_binary,
    score_classes,
    score_regression,
)

CASES = 300


def draw_cases(seed, draw):
    generator = np.random.default_rng(seed)
    return [draw(generator, int(generator.choice([1, 2, 3, 7, 50]))) for _ in range(CASES)]


def close(ours, theirs):
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def expect_binary(logits, labels):
    called = (logits > 0).astype(int)
    both = len(set(labels.tolist())) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": sk.accuracy_score(labels, called),
            "precision": sk.precision_score(labels, called),
            "recall": sk.recall_score(labels, called),
            "specificity": sk.recall_score(labels, called, pos_label=0),
            "F1": sk.f1_score(labels, called),
            "MCC": sk.matthews_corrcoef(labels, called),
            "AUC": sk.roc_auc_score(labels, logits) if both else math.nan,
        }


def test_binary_equals_scikit_learn():
    def draw(generator, size):
        # Rounded logits tie; some labels and some calls are of one class only.
        logits = np.round(generator.normal(size=size) + generator.choice([-5, 0, 0, 5]), 1)
        return logits, (generator.random(size) < generator.choice([0, 0.5, 0.9, 1])).astype(float)

    for logits, labels in draw_cases(0, draw):
        ours = score_binary(logits, labels)
        assert set(ours) == set(expect_binary(logits, labels))
        close(ours, expect_binary(logits, labels))


def test_logits_within_0_and_1_are_cut_at_0():
    # The published script's metric takes these for probabilities and calls the first one negative.
    ours = score_binary(np.array([0.3, 0.9, -0.1, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert ours["accuracy"] == 1.0


def test_classes_equal_scikit_learn():
    def draw(generator, size):
        num_classes = int(generator.integers(1, 6))
        return generator.integers(num_classes, size=size), generator.integers(
            num_classes, size=size
        )

    for predicted, labels in draw_cases(1, draw):
        # Theirs warns of classes that are never predicted, or never the label, and takes 0.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "accuracy": sk.accuracy_score(labels, predicted),
                "weighted F1": sk.f1_score(labels, predicted, average="weighted"),
                "macro F1": sk.f1_score(labels, predicted, average="macro"),
            }
        ours = score_classes(predicted, labels)
        assert set(ours) == set(expected)
        close(ours, expected)


def test_regression_equals_scikit_learn_and_scipy():
    def draw(generator, size):
        targets = np.round(generator.normal(5, 2, size=size), int(generator.integers(0, 3)))
        return np.round(targets + generator.normal(size=size), 1), targets

    for predicted, targets in draw_cases(2, draw):
        ours = score_regression(predicted, targets)
        varies = np.ptp(predicted) > 0 and np.ptp(targets) > 0
        close(
            ours,
            {
                "R2": sk.r2_score(targets, predicted) if np.ptp(targets) > 0 else math.nan,
                "MSE": sk.mean_squared_error(targets, predicted),
                "MAE": sk.mean_absolute_error(targets, predicted),
                "squared Pearson": np.corrcoef(predicted, targets)[0, 1] ** 2
                if varies
                else math.nan,
                "Spearman": stats.spearmanr(predicted, targets)[0] if varies else math.nan,
            },
        )


def test_r2_sees_a_wrong_scale_and_the_squared_correlation_does_not():
    targets = np.array([1.0, 2.0, 3.0, 4.0])
    ours = score_regression(2 * targets + 3, targets)
    assert ours["squared Pearson"] == pytest.approx(1)
    assert ours["R2"] < 0


def test_float32_numbers_that_are_large():
    targets = np.array([1e6, 1e6 + 1, 1e6 + 3], np.float32)
    ours = score_regression(targets, targets)
    assert ours["R2"] == 1
    assert ours["squared Pearson"] == pytest.approx(1)


@pytest.mark.parametrize("score", [score_binary, score_regression])
def test_nothing_and_nan_are_refused(score):
    with pytest.raises(ValueError, match="empty"):
        score(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="diverged"):
        score(np.array([0.0, math.nan]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="one length"):
        score(np.zeros(2), np.zeros(3))
