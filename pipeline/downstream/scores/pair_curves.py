"""What pair probabilities are worth before decoding: reliability, and precision against recall.

Every pair of the strict upper triangle counts. Pairs are gathered in bins of probability, so any
number of RNAs takes a few hundred numbers.

Shape suffixes: L nucleotides of one RNA, K bins.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..structure import Pairs, build_contact_map, to_numpy
from ..task_report import Curve

NUM_RELIABILITY_BINS = 10
_LOG_ODDS = np.arange(-9.0, 9.01, 0.125)
EDGES = np.unique(np.concatenate([np.linspace(0, 1, 101), 1 / (1 + np.exp(-_LOG_ODDS))]))
"""Ends of the bins: hundredths, and eighths of log-odds, for most pairs lie close to 0."""


@dataclass(slots=True, eq=False)
class PairHistogram:
    """Candidate pairs by predicted probability; bin k is from EDGES[k] up to below EDGES[k + 1]."""

    num_pairs_K: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(EDGES) - 1, np.int64)
    )
    num_true_K: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(EDGES) - 1, np.int64)
    )
    sum_probability_K: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EDGES) - 1))

    def add(self, probabilities_LL: NDArray[np.floating] | Tensor, target_pairs: Pairs) -> None:
        """Count every pair of one RNA."""
        p_LL = to_numpy(probabilities_LL)
        upper = np.triu_indices(len(p_LL), 1)
        probability = p_LL[upper].astype(np.float64)
        if not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError("pair probabilities must be between 0 and 1, and no NaN")
        is_true = build_contact_map(target_pairs, len(p_LL))[upper] != 0
        bins = np.minimum(np.searchsorted(EDGES, probability, "right") - 1, len(EDGES) - 2)
        self.num_pairs_K += np.bincount(bins, minlength=len(EDGES) - 1)
        self.num_true_K += np.bincount(bins[is_true], minlength=len(EDGES) - 1)
        self.sum_probability_K += np.bincount(bins, probability, minlength=len(EDGES) - 1)

    def __add__(self, other: "PairHistogram") -> "PairHistogram":
        return PairHistogram(
            self.num_pairs_K + other.num_pairs_K,
            self.num_true_K + other.num_true_K,
            self.sum_probability_K + other.sum_probability_K,
        )


def build_reliability(histogram: PairHistogram, *, system: str, part: str) -> Curve:
    """Share of true pairs against mean predicted probability, in tenths; empty ones are absent."""
    tenth_K = (EDGES[:-1] * NUM_RELIABILITY_BINS + 1e-9).astype(int)
    sums = [
        np.bincount(tenth_K, weights, minlength=NUM_RELIABILITY_BINS)
        for weights in (histogram.num_pairs_K, histogram.num_true_K, histogram.sum_probability_K)
    ]
    num_pairs, num_true, sum_probability = (one[sums[0] > 0] for one in sums)
    return Curve(
        kind="reliability",
        system=system,
        part=part,
        x=tuple((sum_probability / num_pairs).tolist()),
        y=tuple((num_true / num_pairs).tolist()),
        sizes=tuple(num_pairs.tolist()),
    )


def build_precision_recall(histogram: PairHistogram, *, system: str, part: str) -> Curve:
    """Precision (y) against recall (x) of the pairs at or above each edge, the highest edge first.

    Not of structures: no pair is left out for sharing a base. An edge with no pair above it that
    the one before had is absent; no known pair at all gives no points.
    """
    predicted_K = np.cumsum(histogram.num_pairs_K[::-1])
    hits_K = np.cumsum(histogram.num_true_K[::-1])
    is_new_K = np.diff(predicted_K, prepend=0) > 0
    if not hits_K[-1]:
        is_new_K[:] = False
    return Curve(
        kind="precision-recall",
        system=system,
        part=part,
        x=tuple((hits_K[is_new_K] / max(hits_K[-1], 1)).tolist()),
        y=tuple((hits_K[is_new_K] / predicted_K[is_new_K]).tolist()),
    )
