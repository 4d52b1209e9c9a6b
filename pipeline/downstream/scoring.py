"""How well predicted base pairs meet known ones: strict and relaxed, per RNA and pooled.

Relaxed means that (i, j) also meets (i-1, j), (i+1, j), (i, j-1) and (i, j+1). As published, it
widens the target for precision and the prediction for recall.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .structure import read_contact_map

PairSource = Iterable[Sequence[int]] | NDArray | Tensor
"""Pairs (i, j) in any order, or a contact map (L, L) whose strict upper triangle counts."""

EMPTY_POLICY = "zero"
"""A score whose denominator is zero is 0, as published: also where both structures are empty."""


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

    def score(self) -> PairScore:
        """Precision, recall and F1, each 0 where it is not defined."""
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
