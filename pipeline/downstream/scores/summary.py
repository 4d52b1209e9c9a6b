"""From fold results to the numbers of the table: per family, over families, over sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..scoring import PairCounts, pool_counts
from ..structure_folds.fold_results import FoldResult
from .bootstrap import BootstrapConfig, Estimate, estimate_mean, estimate_mean_of_families

Scoring = Literal["relaxed", "strict"]
SCORINGS: tuple[Scoring, ...] = ("relaxed", "strict")

MEAN_OF_FAMILIES = "mean of families"
"""Every family weighs the same; the interval resamples families, then the RNAs of each."""
MEAN_OF_SEQUENCES = "mean of sequences"
"""Every RNA weighs the same; the interval resamples RNAs."""
POOLED_PAIRS = "pooled pairs"
"""Every pair weighs the same (micro); no interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One system on one family, or on all of them in one of three ways."""

    system: str
    scope: str
    """A family, or one of the three ways to put them together."""
    scoring: Scoring
    num_sequences: int
    precision: float
    recall: float
    f1: float
    f1_low: float | None
    f1_high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Relaxed F1 of one system less that of another on the same RNAs, resampled in pairs."""

    system: str
    baseline: str
    over_sequences: Estimate
    over_families: Estimate


def summarise(results: Sequence[FoldResult], config: BootstrapConfig) -> list[Cell]:
    """Cells of every system and scoring: its families in order, then the three summaries."""
    cells: list[Cell] = []
    for system in dict.fromkeys(result.system for result in results):
        mine = [result for result in results if result.system == system]
        for scoring in SCORINGS:
            cells += _summarise_system(mine, scoring, config)
    return cells


def compare_systems(
    results: Sequence[FoldResult], system: str, config: BootstrapConfig
) -> list[Gain]:
    """What `system` has over each other one."""
    gains: list[Gain] = []
    own = [_build_scores(result, "relaxed")[:, 2] for result in results if result.system == system]
    for baseline in dict.fromkeys(result.system for result in results):
        if baseline == system or not own:
            continue
        theirs = [result for result in results if result.system == baseline]
        differences = [
            mine - _build_scores(other, "relaxed")[:, 2]
            for mine, other in zip(own, theirs, strict=True)
        ]
        gains.append(
            Gain(
                system=system,
                baseline=baseline,
                over_sequences=estimate_mean(np.concatenate(differences), config),
                over_families=estimate_mean_of_families(differences, config),
            )
        )
    return gains


def _summarise_system(
    results: Sequence[FoldResult], scoring: Scoring, config: BootstrapConfig
) -> list[Cell]:
    system = results[0].system
    scores = [_build_scores(result, scoring) for result in results]
    total = sum(map(len, scores))

    def build_cell(scope: str, means: np.ndarray, f1: Estimate, num_sequences: int) -> Cell:
        precision, recall, _ = means.tolist()
        return Cell(
            system=system,
            scope=scope,
            scoring=scoring,
            num_sequences=num_sequences,
            precision=precision,
            recall=recall,
            f1=f1.mean,
            f1_low=f1.low,
            f1_high=f1.high,
        )

    cells: list[Cell] = []
    for result, one in zip(results, scores, strict=True):
        f1 = estimate_mean(one[:, 2], config)
        cells.append(build_cell(result.part, one.mean(axis=0), f1, len(one)))
    means = np.mean([one.mean(axis=0) for one in scores], axis=0)
    f1 = estimate_mean_of_families([one[:, 2] for one in scores], config)
    cells.append(build_cell(MEAN_OF_FAMILIES, means, f1, total))
    every = np.concatenate(scores)
    f1 = estimate_mean(every[:, 2], config)
    cells.append(build_cell(MEAN_OF_SEQUENCES, every.mean(axis=0), f1, total))
    pooled = pool_counts(one for result in results for one in _counts_of(result, scoring))
    cells.append(
        Cell(
            system=system,
            scope=POOLED_PAIRS,
            scoring=scoring,
            num_sequences=total,
            **pooled._asdict(),
            f1_low=None,
            f1_high=None,
        )
    )
    return cells


def _build_scores(result: FoldResult, scoring: Scoring) -> np.ndarray:
    """(sequences, 3): precision, recall, F1 of each."""
    return np.array([counts.score() for counts in _counts_of(result, scoring)])


def _counts_of(result: FoldResult, scoring: Scoring) -> list[PairCounts]:
    return [one.strict if scoring == "strict" else one.relaxed for one in result.sequences]
