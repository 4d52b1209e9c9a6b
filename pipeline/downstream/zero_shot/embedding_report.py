"""From how RNAs group by family to a report's rows, gains and the table of RNAs.

Shape suffixes: N RNAs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scores.bootstrap import BootstrapConfig
from ..task_report import PairedGain, Score
from .family_members import FamilyMember
from .masked_models import PRETRAINED
from .neighbours import compute_adjusted_rand, compute_normalised_information, estimate_agreement
from .rna_vectors import KMER
from .unit_scores import ByFamily, build_gains, build_scores

ACCURACY, SILHOUETTE, RAND, INFORMATION = "kNN accuracy", "silhouette", "ARI", "NMI"
CLUSTER = "cluster"
ALL_FAMILIES = "all families"

Values = Mapping[str, ByFamily]
"""Values of single RNAs, by metric and family."""


def group_values(
    measured: Mapping[str, Sequence[float]], members: Sequence[FamilyMember]
) -> dict[str, dict[str, list[float]]]:
    """What was measured of each RNA, of metrics that single RNAs have."""
    values: dict[str, dict[str, list[float]]] = {}
    for metric in (ACCURACY, SILHOUETTE):
        by_family: dict[str, list[float]] = defaultdict(list)
        for member, value in zip(members, measured[metric], strict=True):
            by_family[member.family].append(value)
        values[metric] = by_family
    return values


def build_family_scores(values: Values, config: BootstrapConfig, *, system: str) -> list[Score]:
    """Rows of a system by metrics that single RNAs have."""
    rows: list[Score] = []
    for metric, by_family in values.items():
        rows += build_scores(
            by_family,
            config,
            system=system,
            regime=name_regime(system),
            metric=metric,
            is_primary=metric == ACCURACY,
        )
    return rows


def build_agreement_scores(
    labels_N: NDArray[np.int64],
    clusters_N: NDArray[np.int64],
    config: BootstrapConfig,
    *,
    system: str,
) -> Iterator[Score]:
    """Rows of a system by how far its clusters are the families."""
    for metric, compute in (
        (RAND, compute_adjusted_rand),
        (INFORMATION, compute_normalised_information),
    ):
        estimate = estimate_agreement(compute, labels_N, clusters_N, config)
        yield Score(
            system=system,
            regime=name_regime(system),
            part=ALL_FAMILIES,
            metric=metric,
            value=estimate.mean,
            low=estimate.low,
            high=estimate.high,
            units=len(labels_N),
        )


def build_embedding_gains(
    by_system: Mapping[str, Values], config: BootstrapConfig
) -> Iterator[PairedGain]:
    """The pretrained model less each other system."""
    for baseline in by_system:
        if baseline == PRETRAINED or PRETRAINED not in by_system:
            continue
        for metric, own in by_system[PRETRAINED].items():
            yield from build_gains(
                own,
                by_system[baseline][metric],
                config,
                system=PRETRAINED,
                baseline=baseline,
                metric=metric,
            )


def iter_member_rows(
    by_system: Mapping[str, Values], members: Sequence[FamilyMember]
) -> Iterator[dict[str, object]]:
    """Values of single RNAs; an RNA is named by its sequence, for its table may give no other."""
    places: dict[str, list[FamilyMember]] = defaultdict(list)
    for member in members:
        places[member.family].append(member)
    for system, values in by_system.items():
        for family, some in places.items():
            for place, member in enumerate(some):
                yield {
                    "system": system,
                    "regime": name_regime(system),
                    "part": family,
                    "id": member.sequence,
                    **{metric: by_family[family][place] for metric, by_family in values.items()},
                }


def name_regime(system: str) -> str:
    """How a system's vectors come about, as the table names it."""
    return "none" if system == KMER else "zero-shot"
