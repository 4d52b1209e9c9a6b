"""Train and validation: clusters drawn by the hash of their founder, RNA type by type."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CLUSTERS = 3
"""Clusters that a type sends to validation where a quarter of its clusters allows it."""
NEW, TRAIN, VALIDATION = -1, 0, 1
"""The side of a cluster in earlier data; new ones have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """Which clusters are held back for validation."""

    validation_fraction: float = 0.05
    """Share of each RNA type's clusters; small types give up to three."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"split.validation_fraction must be between 0 and 1, got {self.validation_fraction}"
            )


def choose_validation(
    names: NDArray[np.uint8],
    rna_type_ids: NDArray[np.integer],
    config: SplitConfig,
    *,
    old_sides: NDArray[np.int8] | None = None,
) -> NDArray[np.bool_]:
    """Return which clusters are for validation, one per row of `names` (clusters, 16).

    A cluster's rank within its RNA type is a function of the seed and its name alone: neither order
    nor labels matter, and clusters added later move few others. Clusters with a side in `old_sides`
    stay there; of new ones those that rank first fill up what their type still owes.
    """
    if len(names) < 2:
        raise ValueError(
            "all sequences fall into one cluster, so that none is left for validation: give more "
            "sequences, or raise --min-seq-id"
        )
    sides = np.full(len(names), NEW, np.int8) if old_sides is None else old_sides
    keys = _mix(names.view(">u8").astype(np.uint64).reshape(-1, 2)[:, 0], config.seed)
    # Old validation clusters count first, so that new ones fill up the rest; then new ones.
    order = np.lexsort((keys, sides == TRAIN, sides != VALIDATION, rna_type_ids))
    _, starts, counts = np.unique(rna_type_ids[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    quota = np.maximum(
        np.rint(config.validation_fraction * counts), np.minimum(MIN_CLUSTERS, counts // 4)
    )
    quota = np.minimum(quota, counts - 1)  # every type keeps a cluster for training
    is_validation = np.zeros(len(order), bool)
    is_validation[order] = rank < np.repeat(quota, counts)
    is_validation = np.where(sides == NEW, is_validation, sides == VALIDATION)
    if not is_validation.any():  # few clusters of many types: one of them all the same
        is_validation[np.lexsort((keys, sides != NEW))[0]] = True
    return is_validation


def _mix(values: np.ndarray, seed: int) -> np.ndarray:
    """Return SplitMix64's finaliser of the values, offset by the seed (Steele et al., 2014)."""
    offset = (seed + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = values + np.uint64(offset)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
