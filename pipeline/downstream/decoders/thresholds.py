"""A decoder's threshold, chosen on validation RNAs and kept beside the weights.

Shape suffixes: L nucleotides of one RNA, P predicted pairs, T target pairs, N thresholds.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..scoring import score_pairs
from ..structure import (
    THRESHOLD_GRID,
    DecoderConfig,
    Pairs,
    RankedPairs,
    decode_grid,
    rank_pairs,
    to_numpy,
)

WIDE_GRID = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5, 0.65, 0.8)
"""Thresholds tried for decoders that weigh all pairs; each costs a decoding."""


class TunedThreshold(NamedTuple):
    """The threshold with the best mean F1 on validation RNAs."""

    value: float
    f1: float


class ValidationCase(NamedTuple):
    """One validation RNA with what a head says of it."""

    id: str
    family: str
    sequence: str
    target_P2: Pairs
    probabilities_LL: NDArray[np.floating] | Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingRule:
    """How structures are read off a head's scores, and what that was chosen on."""

    decoder: DecoderConfig
    """With the chosen threshold."""
    metric: str
    """What was best, as a mean over validation RNAs: `F1 relaxed` or `F1 strict`."""
    value: float
    """The metric at the chosen threshold."""
    grid: tuple[float, ...]
    """Thresholds that were tried."""
    families: tuple[str, ...]
    """Families of the validation RNAs."""
    num_validation: int
    tuned_on: str
    """Hash of the sorted ids of the validation RNAs, 16 hex digits."""


def score_thresholds(
    target_pairs: Pairs, ranked: RankedPairs, thresholds: Sequence[float], *, relaxed: bool
) -> NDArray[np.float64]:
    """F1 (N,) of the greedy structure at each threshold: `score_pairs`, but from one ranking.

    A structure is a prefix of the ranking. So hits of predicted pairs are a running sum, and a
    target pair is hit from the rank of the first predicted pair that meets it.
    """
    cut_N = _count_above(ranked.probabilities_P, thresholds)
    target_T2 = np.unique(np.sort(np.asarray(target_pairs, np.int64).reshape(-1, 2)), axis=0)
    predicted_P2 = ranked.pairs_P2
    num_predicted, num_target = len(predicted_P2), len(target_T2)
    if not (num_predicted and num_target):
        return np.zeros(len(thresholds))
    width = int(max(target_T2.max(), predicted_P2.max())) + 3
    predicted_key_P = (predicted_P2 + 1) @ [width, 1]
    target_key_T = (target_T2 + 1) @ [width, 1]
    # One base to either side is one key, or one row of keys, away; borders leave room for it.
    steps = np.array([0, -width, width, -1, 1] if relaxed else [0])

    order = np.argsort(predicted_key_P)
    sorted_key_P = predicted_key_P[order]
    near_T5 = target_key_T[:, None] + steps
    place_T5 = np.minimum(np.searchsorted(sorted_key_P, near_T5), num_predicted - 1)
    is_met_T5 = sorted_key_P[place_T5] == near_T5
    met_rank_T5 = np.where(is_met_T5, order[place_T5], num_predicted)
    first_rank_T = np.sort(met_rank_T5.min(axis=1))
    target_hits_N = np.searchsorted(first_rank_T, cut_N)
    is_hit_P = np.zeros(num_predicted, bool)
    is_hit_P[order[place_T5[is_met_T5]]] = True
    predicted_hits_N = np.concatenate([[0], np.cumsum(is_hit_P)])[cut_N]

    # The same operations in the same order as PairCounts.score: equal to the last digit.
    precision_N = predicted_hits_N / np.maximum(cut_N, 1)
    recall_N = target_hits_N / num_target
    total_N = precision_N + recall_N
    return np.divide(
        2 * precision_N * recall_N, total_N, out=np.zeros_like(total_N), where=total_N > 0
    )


def tune_threshold(
    predictions: Sequence[RankedPairs],
    targets: Sequence[Pairs],
    *,
    thresholds: Sequence[float] = THRESHOLD_GRID,
    relaxed: bool = True,
) -> TunedThreshold:
    """Threshold with the best mean F1 of the greedy decoder, the first among equals; as published.

    `predictions` are ranked down to the lowest threshold, one for each of `targets`.
    """
    if not targets:
        raise ValueError("no validation RNA to tune the threshold on: raise fit.max_fit_length_nt")
    scores = [
        score_thresholds(target, ranked, thresholds, relaxed=relaxed)
        for ranked, target in zip(predictions, targets, strict=True)
    ]
    return _choose(np.array(scores), thresholds)


def tune_decoder(
    cases: Iterable[ValidationCase],
    config: DecoderConfig,
    *,
    thresholds: Sequence[float] | None = None,
    relaxed: bool = True,
) -> DecodingRule:
    """Rule with the threshold of the best mean F1, the first among equals.

    `cases` is read once, one by one. Without `thresholds` they are the published grid for the
    greedy decoder, and `WIDE_GRID` for the others.
    """
    if thresholds is None:
        thresholds = THRESHOLD_GRID if config.name == "greedy" else WIDE_GRID
    scores: list[Sequence[float] | NDArray] = []
    ids: list[str] = []
    families: set[str] = set()
    for case in cases:
        scores.append(_score_case(case, config, thresholds, relaxed=relaxed))
        ids.append(case.id)
        families.add(case.family)
    if not scores:
        raise ValueError("no validation RNA to tune the threshold on: raise fit.max_fit_length_nt")
    tuned = _choose(np.array(scores), thresholds)
    return DecodingRule(
        decoder=replace(config, threshold=tuned.value),
        metric="F1 relaxed" if relaxed else "F1 strict",
        value=tuned.f1,
        grid=tuple(thresholds),
        families=tuple(sorted(families)),
        num_validation=len(ids),
        tuned_on=hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16],
    )


def _score_case(
    case: ValidationCase, config: DecoderConfig, thresholds: Sequence[float], *, relaxed: bool
) -> Sequence[float] | NDArray[np.float64]:
    if config.name == "greedy":
        ranked = rank_pairs(
            to_numpy(case.probabilities_LL),
            case.sequence,
            min(thresholds),
            canonical_only=config.canonical_only,
        )
        return score_thresholds(case.target_P2, ranked, thresholds, relaxed=relaxed)
    structures = decode_grid(case.probabilities_LL, case.sequence, config, thresholds)
    return [score_pairs(case.target_P2, pairs_P2, relaxed).f1 for pairs_P2 in structures]


def _choose(f1: NDArray[np.float64], thresholds: Sequence[float]) -> TunedThreshold:
    """From F1 (RNAs, N)."""
    mean_f1_N = f1.mean(axis=0)
    best = int(mean_f1_N.argmax())
    return TunedThreshold(thresholds[best], float(mean_f1_N[best]))


def _count_above(
    probabilities_P: NDArray[np.floating], thresholds: Sequence[float]
) -> NDArray[np.int64]:
    """How many pairs `RankedPairs.above` keeps: compared in the precision of the probabilities."""
    threshold_N1 = np.asarray(thresholds, probabilities_P.dtype)[:, None]
    return np.count_nonzero(probabilities_P > threshold_N1, axis=1)
