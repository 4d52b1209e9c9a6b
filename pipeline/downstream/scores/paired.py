"""Two systems on the same units: the gain, its bootstrap interval, and a sign-flip p-value."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..task_report import PairedGain
from .bootstrap import BootstrapConfig, estimate_mean, estimate_mean_of_families, estimate_metric

MAX_EXACT_UNITS = 12
"""Up to here every assignment of signs is tried (4,096); above, a seeded draw of them."""
NUM_SIGN_DRAWS = 10_000


def build_gain(
    system: Sequence[float] | NDArray,
    baseline: Sequence[float] | NDArray,
    config: BootstrapConfig,
    *,
    names: tuple[str, str],
    part: str,
    metric: str,
    unit: str = "sequences",
) -> PairedGain:
    """Mean score of one system less that of the other, unit by unit."""
    differences = _subtract(system, baseline, names, unit)
    gain = estimate_mean(differences, config)
    return PairedGain(
        system=names[0],
        baseline=names[1],
        part=part,
        metric=metric,
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        p_value=compute_sign_flip_p(differences, seed=config.seed),
        unit=unit,
    )


def build_family_gain(
    system: Mapping[str, Sequence[float] | NDArray],
    baseline: Mapping[str, Sequence[float] | NDArray],
    config: BootstrapConfig,
    *,
    names: tuple[str, str],
    part: str,
    metric: str,
) -> PairedGain:
    """Mean of families of one system less that of the other; values of sequences by family.

    The interval is that of a mean of families: they are resampled, then the sequences of each drawn
    one. The null flips signs of whole families.
    """
    if list(system) != list(baseline):
        raise ValueError(
            f"{names[0]} has the families {', '.join(system)} and {names[1]} "
            f"{', '.join(baseline)}: a paired comparison needs the same ones in the same order"
        )
    differences = [
        _subtract(system[family], baseline[family], names, f"sequences of {family}")
        for family in system
    ]
    gain = estimate_mean_of_families(differences, config)
    return PairedGain(
        system=names[0],
        baseline=names[1],
        part=part,
        metric=metric,
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        p_value=compute_sign_flip_p([one.mean() for one in differences], seed=config.seed),
        unit="families",
    )


def build_metric_gain(
    compute: Callable[[NDArray, NDArray], float],
    predictions: tuple[NDArray, NDArray],
    targets: NDArray,
    config: BootstrapConfig,
    *,
    names: tuple[str, str],
    part: str,
    metric: str,
    groups_N: NDArray[np.int64] | None = None,
    unit: str = "sequences",
) -> PairedGain:
    """The same for a metric that is no mean over units (R2, AUC): `compute(predictions, targets)`.

    The null is that the systems are exchangeable: their predictions of one unit change places where
    means would change sign. With `groups_N`, each unit's group by number from 0, whole groups are
    resampled and change places.
    """
    first, second = predictions

    def compute_gain(first: NDArray, second: NDArray, targets: NDArray) -> float:
        return compute(first, targets) - compute(second, targets)

    gain = estimate_metric(compute_gain, [first, second, targets], config, groups_N)
    places = np.arange(len(targets)) if groups_N is None else groups_N
    # A swap for each sign; the first, which swaps nothing, is the gain itself.
    swaps = (
        (row[places] < 0).reshape(-1, *(1,) * (first.ndim - 1))
        for signs in _iter_signs(int(places.max()) + 1, config.seed, num_draws=config.num_resamples)
        for row in signs
    )
    null = np.array(
        [
            compute_gain(np.where(swap, second, first), np.where(swap, first, second), targets)
            for swap in swaps
        ]
    )
    return PairedGain(
        system=names[0],
        baseline=names[1],
        part=part,
        metric=metric,
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        p_value=_share_as_extreme(null[~np.isnan(null)], gain.mean),
        unit=unit,
    )


def compute_sign_flip_p(differences: Sequence[float] | NDArray, *, seed: int = 0) -> float:
    """Two-sided p-value of a mean difference of zero, every difference as likely of either sign.

    Exact up to `MAX_EXACT_UNITS` units. Above, of `NUM_SIGN_DRAWS` draws with the observed signs
    among them, so it is never 0.
    """
    units = np.asarray(differences, np.float64)
    if not units.size:
        raise ValueError("no differences to test: no unit was scored by both systems")
    drawn = _iter_signs(len(units), seed, num_draws=NUM_SIGN_DRAWS)
    null = np.concatenate([signs @ units for signs in drawn])
    return _share_as_extreme(null, float(units.sum()))


def _subtract(
    system: Sequence[float] | NDArray,
    baseline: Sequence[float] | NDArray,
    names: tuple[str, str],
    unit: str,
) -> NDArray[np.float64]:
    if len(system) != len(baseline):
        raise ValueError(
            f"{names[0]} has {len(system)} {unit} and {names[1]} {len(baseline)}: a paired "
            "comparison needs the same ones in the same order"
        )
    return np.asarray(system, np.float64) - np.asarray(baseline, np.float64)


def _share_as_extreme(null: NDArray[np.float64], observed: float) -> float:
    # Sums that are equal but for their order of addition count as equal.
    tolerance = 1e-9 * max(float(np.abs(null).max()), abs(observed))
    return float(np.mean(np.abs(null) >= abs(observed) - tolerance))


def _iter_signs(num_units: int, seed: int, *, num_draws: int) -> Iterator[NDArray[np.float64]]:
    """Blocks of rows of +1 and -1, the first row all +1; blocks, for units may be thousands."""
    if num_units <= MAX_EXACT_UNITS:
        yield np.array(list(product((1, -1), repeat=num_units)), np.float64)
        return
    yield np.ones((1, num_units))
    generator = np.random.default_rng(seed)
    for start in range(0, num_draws, 1000):
        size = (min(1000, num_draws - start), num_units)
        yield generator.integers(2, size=size, dtype=np.int8).astype(np.float64) * 2 - 1
