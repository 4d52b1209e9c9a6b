"""Percentile bootstrap intervals, seeded: over sequences, over families, or over both."""

from collections.abc import Callable, Iterator, Sequence
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
        if self.seed < 0:
            raise ValueError(f"bootstrap.seed must not be negative, got {self.seed}")
        if not 0 < self.level < 1:
            raise ValueError(f"bootstrap.level must be between 0 and 1, got {self.level}")


class Estimate(NamedTuple):
    """A mean, or another metric, and the interval its resamples fall into."""

    mean: float
    low: float | None
    high: float | None
    """None where there is nothing to resample: a single unit says nothing of how others vary."""


def estimate_mean(values: Sequence[float] | NDArray, config: BootstrapConfig) -> Estimate:
    """Mean of independent units with its interval."""
    units = np.asarray(values, np.float64)
    _refuse_none(len(units))
    if len(units) == 1:
        return Estimate(float(units[0]), None, None)
    generator = np.random.default_rng(config.seed)
    drawn = generator.integers(len(units), size=(config.num_resamples, len(units)))
    return _build_estimate(float(units.mean()), units[drawn].mean(axis=1), config)


def iter_resamples(
    size: int, config: BootstrapConfig, groups_N: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Places of the units of each resample; of groups, numbered from 0, whole ones are drawn."""
    generator = np.random.default_rng(config.seed)
    if groups_N is None:
        for _ in range(config.num_resamples):
            yield generator.integers(size, size=size)
        return
    members = np.split(np.argsort(groups_N, kind="stable"), np.cumsum(np.bincount(groups_N))[:-1])
    for _ in range(config.num_resamples):
        drawn = generator.integers(len(members), size=len(members))
        yield np.concatenate([members[group] for group in drawn])


def estimate_metric(
    compute: Callable[..., float],
    arrays: Sequence[NDArray],
    config: BootstrapConfig,
    groups_N: NDArray[np.int64] | None = None,
) -> Estimate:
    """Any metric of aligned arrays, `compute(*arrays)`, resampled over their shared first axis.

    With `groups_N`, each one's group by number from 0, groups are resampled whole.
    A resample on which the metric is not defined (NaN: one class only, no variance) is left out of
    the interval; undefined on all units, it is an error.
    """
    sizes = {len(array) for array in arrays}
    if len(sizes) != 1:
        raise ValueError(f"arrays must be as long as each other, got {sorted(sizes)}")
    (size,) = sizes
    _refuse_none(size)
    value = float(compute(*arrays))
    if np.isnan(value):
        raise ValueError(f"the metric is not defined on these {size} units: it is NaN")
    if (size if groups_N is None else groups_N.max() + 1) == 1:
        return Estimate(value, None, None)
    resampled = np.array(
        [
            compute(*(array[drawn] for array in arrays))
            for drawn in iter_resamples(size, config, groups_N)
        ]
    )
    return _build_estimate(value, resampled[~np.isnan(resampled)], config)


def estimate_mean_of_families(
    values_by_family: Sequence[Sequence[float] | NDArray], config: BootstrapConfig
) -> Estimate:
    """Mean of the families' means; families are resampled, then the sequences of each drawn one.

    Wider than over families alone where families are small: it holds both kinds of chance.
    """
    families = [np.asarray(values, np.float64) for values in values_by_family]
    _refuse_none(len(families))
    for values in families:
        _refuse_none(len(values))
    if sum(map(len, families)) == 1:
        return Estimate(float(families[0][0]), None, None)
    generator = np.random.default_rng(config.seed)
    drawn = generator.integers(len(families), size=(config.num_resamples, len(families)))
    means = np.empty(drawn.shape)
    for family, values in enumerate(families):
        # Each time the family is drawn its sequences are drawn anew.
        places = drawn == family
        means[places] = [
            values[generator.integers(len(values), size=len(values))].mean()
            for _ in range(np.count_nonzero(places))
        ]
    mean = float(np.mean([values.mean() for values in families]))
    return _build_estimate(mean, means.mean(axis=1), config)


def _build_estimate(value: float, resampled: NDArray, config: BootstrapConfig) -> Estimate:
    if not resampled.size:
        raise ValueError(
            f"the metric is not defined on any of {config.num_resamples} resamples: too few units"
        )
    tail = (1 - config.level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _refuse_none(size: int) -> None:
    if not size:
        raise ValueError("no values to average: no test sequence was scored")
