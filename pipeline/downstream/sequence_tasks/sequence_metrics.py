"""Metrics of tasks on whole sequences: two classes, many classes, one number.

A ratio with nothing to divide by is 0. What has no value at all (the AUC of one class, a
correlation with a constant) is nan, which a report leaves out and says so.

Shape suffixes: N sequences, C classes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..zero_shot.rank_statistics import compute_auc_of_groups, compute_spearman

Metrics = dict[str, float]


def score_binary(logits_N: NDArray[np.floating], labels_N: NDArray[np.floating]) -> Metrics:
    """Metrics of two classes. A sequence is called positive where its logit is above 0, always.

    The published script hands logits to a metric that takes values within [0, 1] for
    probabilities, and so cuts some batches at a logit of 0.5.
    """
    _check(logits_N, labels_N)
    is_called, is_positive = logits_N > 0, labels_N > 0.5
    tp = int((is_called & is_positive).sum())
    fp = int((is_called & ~is_positive).sum())
    fn = int((~is_called & is_positive).sum())
    tn = len(labels_N) - tp - fp - fn
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": _divide(tp + tn, len(labels_N)),
        "precision": _divide(tp, tp + fp),
        "recall": _divide(tp, tp + fn),
        "specificity": _divide(tn, tn + fp),
        "F1": _divide(2 * tp, 2 * tp + fp + fn),
        "MCC": _divide(tp * tn - fp * fn, math.sqrt(product)),
        "AUC": compute_auc_of_groups(logits_N[is_positive], logits_N[~is_positive]),
    }


def score_classes(predicted_N: NDArray[np.integer], labels_N: NDArray[np.integer]) -> Metrics:
    """Metrics of many classes, of which a sequence has one.

    F1 is of each class that occurs among the labels or the predictions; `weighted F1` weighs it
    by how often the class is the label, `macro F1` by nothing.
    """
    _check(predicted_N, labels_N)
    num_classes = int(max(predicted_N.max(), labels_N.max())) + 1
    hits_C = np.bincount(labels_N[predicted_N == labels_N], minlength=num_classes)
    support_C = np.bincount(labels_N, minlength=num_classes)
    total_C = support_C + np.bincount(predicted_N, minlength=num_classes)
    f1_C = 2 * hits_C / np.maximum(total_C, 1)
    return {
        "accuracy": float(hits_C.sum() / len(labels_N)),
        "weighted F1": float((f1_C * support_C).sum() / len(labels_N)),
        "macro F1": float(f1_C[total_C > 0].mean()),
    }


def score_regression(predicted_N: NDArray[np.floating], targets_N: NDArray[np.floating]) -> Metrics:
    """Metrics of one number.

    `R2` is the coefficient of determination, which falls with a wrong scale or offset and may be
    negative; some papers call the squared Pearson correlation R2, which forgives both.
    """
    _check(predicted_N, targets_N)
    predicted_N, targets_N = predicted_N.astype(np.float64), targets_N.astype(np.float64)
    error_N = predicted_N - targets_N
    spread = float(((targets_N - targets_N.mean()) ** 2).sum())
    return {
        "R2": 1 - float((error_N**2).sum()) / spread if spread else math.nan,
        "squared Pearson": compute_correlation(predicted_N, targets_N) ** 2,
        "Spearman": compute_spearman(predicted_N, targets_N),
        "MSE": float((error_N**2).mean()),
        "MAE": float(np.abs(error_N).mean()),
    }


def compute_correlation(a_N: NDArray[np.floating], b_N: NDArray[np.floating]) -> float:
    """Pearson's correlation; nan where one of the two is constant."""
    if np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return math.nan
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    # Each is brought to length 1 first: a product of two sums of squares may overflow.
    return float(np.clip((a_N / np.linalg.norm(a_N)) @ (b_N / np.linalg.norm(b_N)), -1, 1))


def _divide(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _check(predicted_N: NDArray, targets_N: NDArray) -> None:
    if predicted_N.ndim != 1 or predicted_N.shape != targets_N.shape:
        raise ValueError(
            f"a metric compares two rows of one length, got {predicted_N.shape} and "
            f"{targets_N.shape}"
        )
    if not len(targets_N):
        raise ValueError("no sequences to score: the test set is empty")
    if not np.isfinite(predicted_N).all():
        raise ValueError(
            "predictions hold nan or infinity: the fit has diverged; lower its learning rate"
        )
