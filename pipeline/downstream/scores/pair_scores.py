"""From the counts of RNAs to the scores of a report: over sequences, over families, pooled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scoring import (
    EMPTY_POLICY,
    EmptyPolicy,
    PairCounts,
    PairSource,
    compute_metrics,
    count_candidates,
    count_pairs,
)
from ..task_report import Score
from .bootstrap import BootstrapConfig, Estimate, estimate_mean, estimate_mean_of_families
from .summary import MEAN_OF_FAMILIES, SCORINGS, Scoring

METRICS = ("F1", "precision", "recall", "MCC", "INF")
"""Each strict and relaxed: `F1 relaxed`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredRNA:
    """One tested RNA and what one system predicted of it, counted."""

    id: str
    family: str
    length_nt: int
    strict: PairCounts
    relaxed: PairCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """What decides scores once structures are counted, and how the report names them."""

    system: str
    regime: str
    bootstrap: BootstrapConfig
    empty: EmptyPolicy = EMPTY_POLICY
    primary_metric: str = "F1 relaxed"


def build_scored_rna(
    target: PairSource, predicted: PairSource, *, id: str, family: str, length_nt: int
) -> ScoredRNA:
    """Count one RNA both ways."""
    return ScoredRNA(
        id=id,
        family=family,
        length_nt=length_nt,
        strict=count_pairs(target, predicted, relaxed=False),
        relaxed=count_pairs(target, predicted, relaxed=True),
    )


def score_sequences(
    rnas: Sequence[ScoredRNA], config: ScoreConfig, *, part: str, is_primary: bool = False
) -> list[Score]:
    """Macro over sequences: every RNA weighs the same; intervals resample RNAs."""
    return [
        _build_score(
            config,
            part,
            metric,
            estimate_mean(compute_values(rnas, metric, empty=config.empty), config.bootstrap),
            len(rnas),
            is_primary=is_primary,
        )
        for metric in _iter_metrics()
    ]


def score_families(
    rnas: Sequence[ScoredRNA],
    config: ScoreConfig,
    *,
    part: str = MEAN_OF_FAMILIES,
    is_primary: bool = False,
) -> list[Score]:
    """Macro over families: every family weighs the same.

    Intervals resample families, and within each drawn one its RNAs.
    """
    scores: list[Score] = []
    for metric in _iter_metrics():
        values = group_by_family(rnas, compute_values(rnas, metric, empty=config.empty))
        estimate = estimate_mean_of_families(list(values.values()), config.bootstrap)
        scores.append(
            _build_score(
                config, part, metric, estimate, len(values), unit="families", is_primary=is_primary
            )
        )
    return scores


def score_pooled(rnas: Sequence[ScoredRNA], config: ScoreConfig, *, part: str) -> list[Score]:
    """Micro: every pair weighs the same, so long RNAs weigh more; no interval."""
    num_candidates = sum(count_candidates(rna.length_nt) for rna in rnas)
    scores: list[Score] = []
    for scoring in SCORINGS:
        pooled = sum((_counts_of(rna, scoring) for rna in rnas), PairCounts())
        values = compute_metrics(pooled, num_candidates, config.empty)
        for metric in METRICS:
            scores.append(
                Score(
                    system=config.system,
                    regime=config.regime,
                    part=part,
                    metric=f"{metric} {scoring}",
                    value=values[metric],
                    units=pooled.target,
                    unit="known pairs",
                )
            )
    return scores


def compute_values(
    rnas: Sequence[ScoredRNA], metric: str, *, empty: EmptyPolicy = EMPTY_POLICY
) -> NDArray[np.float64]:
    """The metric (`MCC strict`) of each RNA: units of intervals and of paired tests."""
    name, _, wanted = metric.partition(" ")
    scorings: list[Scoring] = [one for one in SCORINGS if one == wanted]
    if name not in METRICS or not scorings:
        raise ValueError(
            f"no metric {metric!r}: one of {', '.join(METRICS)}, then one of {', '.join(SCORINGS)}"
        )
    values: list[float] = []
    for rna in rnas:
        counts = _counts_of(rna, scorings[0])
        values.append(compute_metrics(counts, count_candidates(rna.length_nt), empty)[name])
    return np.array(values)


def group_by_family(
    rnas: Sequence[ScoredRNA], values: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Values of each family, families in the order of their first RNA."""
    families = np.array([rna.family for rna in rnas])
    return {family: values[families == family] for family in dict.fromkeys(families.tolist())}


def _iter_metrics() -> list[str]:
    return [f"{metric} {scoring}" for scoring in SCORINGS for metric in METRICS]


def _counts_of(rna: ScoredRNA, scoring: Scoring) -> PairCounts:
    return rna.relaxed if scoring == "relaxed" else rna.strict


def _build_score(
    config: ScoreConfig,
    part: str,
    metric: str,
    estimate: Estimate,
    units: int,
    *,
    unit: str = "sequences",
    is_primary: bool,
) -> Score:
    value, low, high = estimate
    return Score(
        system=config.system,
        regime=config.regime,
        part=part,
        metric=metric,
        value=value,
        low=low,
        high=high,
        units=units,
        unit=unit,
        is_primary=is_primary and metric == config.primary_metric,
    )
