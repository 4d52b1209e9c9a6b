"""Rank correlation of scores with measured effects: per assay, their mean, differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scores.bootstrap import BootstrapConfig, Estimate, estimate_mean, estimate_metric
from ..scores.paired import build_gain
from ..task_report import PairedGain, Score
from .rank_statistics import compute_spearman
from .variant_tables import MIN_VARIANTS, Assay

SPEARMAN, MEAN_OF_ASSAYS = "Spearman", "mean of assays"
MUTATION_COUNT = "mutation count"
"""The row of a system that counts changes and knows no letter."""

ByAssay = Mapping[str, NDArray[np.float64]]
"""A score for each variant of each assay; NaN where there is none."""


def count_mutations(assay: Assay) -> NDArray[np.float64]:
    """Minus the number of changed letters of each variant; NaN after insertions or deletions."""
    return np.array(
        [
            -float(sum(a != b for a, b in zip(assay.wild_type, one.sequence, strict=True)))
            if len(one.sequence) == len(assay.wild_type)
            else np.nan
            for one in assay.variants
        ]
    )


def build_assay_scores(
    assays: Sequence[Assay],
    values: ByAssay,
    config: BootstrapConfig,
    *,
    system: str,
    regime: str,
    is_primary: bool = False,
) -> list[Score]:
    """Spearman of each assay, its variants resampled, and the mean, its assays resampled.

    Variants without a score are left out and `units` says how many were not; an assay with fewer
    than three has no row. Scores that are all equal say nothing: their correlation counts as 0.
    """
    scores: list[Score] = []
    for assay in assays:
        effects, scored = _pair_up(assay, values[assay.name])
        if len(effects) < MIN_VARIANTS:
            continue
        estimate = Estimate(0.0, 0.0, 0.0)
        if np.ptp(effects) and np.ptp(scored):
            estimate = estimate_metric(compute_spearman, [effects, scored], config)
        scores.append(
            Score(
                system=system,
                regime=regime,
                part=assay.name,
                metric=SPEARMAN,
                value=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                units=len(effects),
                unit="variants",
            )
        )
    if scores:
        estimate = estimate_mean([score.value for score in scores], config)
        scores.append(
            Score(
                system=system,
                regime=regime,
                part=MEAN_OF_ASSAYS,
                metric=SPEARMAN,
                value=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                units=len(scores),
                unit="assays",
                is_primary=is_primary,
            )
        )
    return scores


def build_assay_gain(
    own: Sequence[Score],
    theirs: Sequence[Score],
    config: BootstrapConfig,
    *,
    system: str,
    baseline: str,
) -> list[PairedGain]:
    """Difference of the mean Spearman on assays that both have scored alike; none without any."""
    other = {(score.part, score.units): score.value for score in theirs}
    both = [
        (score.value, other[score.part, score.units])
        for score in own
        if score.part != MEAN_OF_ASSAYS and (score.part, score.units) in other
    ]
    if not both:
        return []
    mine, others = zip(*both, strict=True)
    return [
        build_gain(
            mine,
            others,
            config,
            names=(system, baseline),
            part=MEAN_OF_ASSAYS,
            metric=SPEARMAN,
            unit="assays",
        )
    ]


def _pair_up(
    assay: Assay, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    is_scored = ~np.isnan(values)
    effects = np.array([one.effect for one in assay.variants])
    return effects[is_scored], values[is_scored]
