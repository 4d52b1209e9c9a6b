"""Percentile bootstrap intervals of means, seeded: over sequences, or over families."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapConfig:
    """How uncertain a mean is said to be."""

    num_resamples: int = 1000
    level: float = 0.95
    """Share of the resampled means inside the interval."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_resamples < 1:
            raise ValueError(f"bootstrap.num_resamples must be positive, got {self.num_resamples}")
        if not 0 < self.level < 1:
            raise ValueError(f"bootstrap.level must be between 0 and 1, got {self.level}")


class Estimate(NamedTuple):
    """A mean and the interval its resamples fall into."""

    mean: float
    low: float
    high: float


def estimate_mean(values: Sequence[float] | NDArray, config: BootstrapConfig) -> Estimate:
    """Mean of independent units (sequences, or families' own means) with its interval.

    One unit gives an interval of no width: there is nothing to resample.
    """
    units = np.asarray(values, np.float64)
    if not units.size:
        raise ValueError("no values to average: no test sequence was scored")
    generator = np.random.default_rng(config.seed)
    drawn = generator.integers(len(units), size=(config.num_resamples, len(units)))
    tail = (1 - config.level) / 2
    low, high = np.quantile(units[drawn].mean(axis=1), [tail, 1 - tail])
    return Estimate(float(units.mean()), float(low), float(high))
