"""Statistics of order: average ranks, Spearman's correlation, AUC."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = Sequence[float] | NDArray[np.floating]


def rank_with_ties(values: Numbers) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def compute_spearman(left: Numbers, right: Numbers) -> float:
    """Correlation of ranks; NaN where one side never varies, or for fewer than two values."""
    if len(left) != len(right):
        raise ValueError(f"Spearman needs as many values as values, got {len(left)}, {len(right)}")
    if len(left) < 2:
        return math.nan
    left_ranks, right_ranks = rank_with_ties(left), rank_with_ties(right)
    left_ranks -= left_ranks.mean()
    right_ranks -= right_ranks.mean()
    scale = math.sqrt((left_ranks @ left_ranks) * (right_ranks @ right_ranks))
    return float(left_ranks @ right_ranks) / scale if scale > 0 else math.nan


def compute_auc_of_groups(higher: Numbers, lower: Numbers) -> float:
    """Chance that a value of `higher` exceeds one of `lower`; ties count half. NaN if one is empty.

    The Mann-Whitney U over the number of comparisons.
    """
    if not len(higher) or not len(lower):
        return math.nan
    ranks = rank_with_ties(np.concatenate([higher, lower]))[: len(higher)]
    wins = ranks.sum() - len(higher) * (len(higher) + 1) / 2
    return float(wins / (len(higher) * len(lower)))
