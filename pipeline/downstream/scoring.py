"""How well predicted base pairs meet known ones: strict and relaxed, per RNA and pooled.

Relaxed means that (i, j) also meets (i-1, j), (i+1, j), (i, j-1) and (i, j+1). As published, it
widens the target for precision and the prediction for recall.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .structure import Pairs, find_allowed_pairs, read_contact_map

PairSource = Iterable[Sequence[int]] | NDArray | Tensor
"""Pairs (i, j) in any order, or a contact map (L, L) whose strict upper triangle counts."""

EmptyPolicy = Literal["zero", "one"]
EMPTY_POLICY: EmptyPolicy = "zero"
"""A score whose denominator is zero is 0, as published: also where both structures are empty.

With `one`, as sinc-lab scores, an RNA without known and without predicted pairs scores 1."""

TruthPolicy = Literal["all pairs", "canonical only"]
TRUTH_POLICY: TruthPolicy = "all pairs"
"""Known pairs are taken as they are, as published: recall has a ceiling below 1.

With `canonical only`, known pairs that no decoder may predict are dropped first: all but AU, GC and
GU, and those of bases less than four apart."""


class PairScore(NamedTuple):
    """Precision, recall and their harmonic mean."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCounts:
    """What the scores of one RNA, or of several pooled, are made of."""

    predicted: int = 0
    predicted_hits: int = 0
    """Predicted pairs that meet a target pair."""
    target: int = 0
    target_hits: int = 0
    """Target pairs that are met by a predicted pair."""

    def __add__(self, other: "PairCounts") -> "PairCounts":
        return PairCounts(
            predicted=self.predicted + other.predicted,
            predicted_hits=self.predicted_hits + other.predicted_hits,
            target=self.target + other.target,
            target_hits=self.target_hits + other.target_hits,
        )

    def score(self, empty: EmptyPolicy = EMPTY_POLICY) -> PairScore:
        """Precision, recall and F1; `empty` says what they are where they are not defined."""
        if empty == "one" and not (self.predicted or self.target):
            return PairScore(1.0, 1.0, 1.0)
        precision = self.predicted_hits / self.predicted if self.predicted else 0.0
        recall = self.target_hits / self.target if self.target else 0.0
        total = precision + recall
        return PairScore(precision, recall, 2 * precision * recall / total if total else 0.0)


def score_pairs(target_pairs: PairSource, predicted_pairs: PairSource, relaxed: bool) -> PairScore:
    """Score one RNA. Each structure is pairs or an (L, L) contact map; duplicates count once."""
    return count_pairs(target_pairs, predicted_pairs, relaxed=relaxed).score()


def count_pairs(
    target_pairs: PairSource, predicted_pairs: PairSource, *, relaxed: bool
) -> PairCounts:
    """Count the pairs of one RNA and those that meet."""
    target, predicted = _to_set(target_pairs), _to_set(predicted_pairs)
    near_target, near_predicted = target, predicted
    if relaxed:
        near_target, near_predicted = _widen(target), _widen(predicted)
    return PairCounts(
        predicted=len(predicted),
        predicted_hits=len(predicted & near_target),
        target=len(target),
        target_hits=len(target & near_predicted),
    )


def pool_counts(counts: Iterable[PairCounts]) -> PairScore:
    """Micro score: every pair weighs the same, so long RNAs weigh more."""
    return sum(counts, PairCounts()).score()


def count_candidates(length_nt: int) -> int:
    """Pairs that could be: the strict upper triangle, whatever the bases."""
    return length_nt * (length_nt - 1) // 2


def compute_mcc(
    counts: PairCounts, num_candidates: int, empty: EmptyPolicy = EMPTY_POLICY
) -> float:
    """Matthews correlation over the `num_candidates` pairs of one upper triangle, or of several.

    From rates, sqrt(PPV TPR TNR NPV) - sqrt((1 - PPV)(1 - TPR)(1 - TNR)(1 - NPV)): strict, it is
    the usual one. Relaxed, hits differ for precision and recall, and true negatives are what
    errors and the mean of both hits leave.
    """
    if empty == "one" and not (counts.predicted or counts.target):
        return 1.0
    false_positives = counts.predicted - counts.predicted_hits
    false_negatives = counts.target - counts.target_hits
    hits = (counts.predicted_hits + counts.target_hits) / 2
    true_negatives = num_candidates - false_positives - false_negatives - hits
    if true_negatives < 0:
        raise ValueError(f"{counts} does not fit {num_candidates} candidate pairs")
    if not (counts.predicted and counts.target):
        return 0.0
    if counts.predicted == num_candidates or counts.target == num_candidates:
        return 0.0
    ppv, tpr, _ = counts.score()
    tnr = true_negatives / (true_negatives + false_positives) if true_negatives else 0.0
    npv = true_negatives / (true_negatives + false_negatives) if true_negatives else 0.0
    right = math.sqrt(ppv * tpr * tnr * npv)
    return right - math.sqrt((1 - ppv) * (1 - tpr) * (1 - tnr) * (1 - npv))


def compute_inf(score: PairScore) -> float:
    """Interaction network fidelity, the geometric mean of precision and recall."""
    return math.sqrt(score.precision * score.recall)


def compute_metrics(
    counts: PairCounts, num_candidates: int, empty: EmptyPolicy = EMPTY_POLICY
) -> dict[str, float]:
    """Every score by its name in the tables, less the word strict or relaxed."""
    score = counts.score(empty)
    return {
        "precision": score.precision,
        "recall": score.recall,
        "F1": score.f1,
        "MCC": compute_mcc(counts, num_candidates, empty),
        "INF": compute_inf(score),
    }


def select_truth(pairs_P2: Pairs, sequence: str, policy: TruthPolicy) -> Pairs:
    """Known pairs that count under a policy."""
    if policy == "all pairs":
        return pairs_P2
    return pairs_P2[find_allowed_pairs(sequence)[pairs_P2[:, 0], pairs_P2[:, 1]]]


def _to_set(source: PairSource) -> set[tuple[int, int]]:
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray):
        if source.ndim == 2 and source.shape[0] == source.shape[1] > 2:
            source = read_contact_map(source)
        elif source.size and (source.ndim != 2 or source.shape[1] != 2):
            raise ValueError(f"pairs must be (pairs, 2) or a map (L, L), got {source.shape}")
        source = source.reshape(-1, 2).tolist()
    pairs: set[tuple[int, int]] = set()
    for pair in source:
        i, j = (int(position) for position in pair)
        if i == j:
            raise ValueError(f"base {i} cannot pair with itself")
        pairs.add((min(i, j), max(i, j)))
    return pairs


def _widen(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    steps = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    return {(i + di, j + dj) for i, j in pairs for di, dj in steps}
