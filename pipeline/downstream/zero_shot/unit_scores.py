"""From values of single RNAs to rows of a task's table: per family, over families, differences."""

from collections.abc import Mapping, Sequence
from itertools import chain

from ..scores.bootstrap import BootstrapConfig, Estimate, estimate_mean, estimate_mean_of_families
from ..scores.paired import build_family_gain, build_gain
from ..scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES
from ..task_report import PairedGain, Score

ByFamily = Mapping[str, Sequence[float]]
"""One value an RNA, family by family."""


def build_scores(
    values: ByFamily,
    config: BootstrapConfig,
    *,
    system: str,
    regime: str,
    metric: str,
    is_primary: bool = False,
) -> list[Score]:
    """A row for each family, for the mean of families, and for the mean of sequences."""
    every = list(chain(*values.values()))
    parts: list[tuple[str, str, int, Estimate]] = [
        (family, "sequences", len(values[family]), estimate_mean(values[family], config))
        for family in values
    ]
    of_families = estimate_mean_of_families(list(values.values()), config)
    parts.append((MEAN_OF_FAMILIES, "families", len(values), of_families))
    parts.append((MEAN_OF_SEQUENCES, "sequences", len(every), estimate_mean(every, config)))
    return [
        Score(
            system=system,
            regime=regime,
            part=part,
            metric=metric,
            value=estimate.mean,
            low=estimate.low,
            high=estimate.high,
            units=count,
            unit=unit,
            is_primary=is_primary and part == MEAN_OF_FAMILIES,
        )
        for part, unit, count, estimate in parts
    ]


def build_gains(
    own: ByFamily,
    theirs: ByFamily,
    config: BootstrapConfig,
    *,
    system: str,
    baseline: str,
    metric: str,
) -> list[PairedGain]:
    """Differences on the same RNAs: of the mean of families, and of the mean of sequences."""
    if [(family, len(own[family])) for family in own] != [
        (family, len(theirs[family])) for family in theirs
    ]:
        raise ValueError(f"{system} and {baseline} were not scored on the same RNAs")
    own_every, their_every = (list(chain(*each.values())) for each in (own, theirs))
    names = system, baseline
    return [
        build_family_gain(own, theirs, config, names=names, part=MEAN_OF_FAMILIES, metric=metric),
        build_gain(
            own_every, their_every, config, names=names, part=MEAN_OF_SEQUENCES, metric=metric
        ),
    ]
