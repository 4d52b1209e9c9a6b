"""How often an epoch shows the clusters of each RNA type: the law, and what it makes of a corpus.

The sampler and the report both ask `plan_sequences`, so that what is stated is what is trained on.
A cluster's type is its representative's. Numbers of types are worked out in decimal arithmetic,
which, unlike a processor's `pow`, gives the same last digit on every machine.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Context, Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .shards import Split, read_manifest

SHOWN_NT = 1022
"""Letters of a sequence that training shows at once unless it is told otherwise."""
HIGHEST_REPEATS = 255
_CHUNK = 1 << 18  # clusters that are measured at once
_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeWeights:
    """How much of an epoch each RNA type gets."""

    type_temperature: float = 1.0
    """A type with a share p of the clusters is shown in proportion to p ** type_temperature: 1
    shows every cluster once an epoch, 0 every type equally often."""
    type_caps: str = ""
    """Highest shares of an epoch's nucleotides, as in `rRNA=0.2,lncRNA=0.3`."""
    max_repeats: int = 4
    """A cluster is shown at most so often in an epoch, however small its type: four epochs of the
    same data are nearly worth new data (Muennighoff et al. 2023)."""

    def __post_init__(self) -> None:
        if not 0 <= self.type_temperature <= 1:
            raise ValueError(f"type_temperature must be 0 to 1, got {self.type_temperature}")
        if not 1 <= self.max_repeats <= HIGHEST_REPEATS:
            raise ValueError(f"max_repeats must be 1 to {HIGHEST_REPEATS}, got {self.max_repeats}")
        _ = self.caps

    @property
    def are_even(self) -> bool:
        """Whether every cluster of every corpus is shown once an epoch."""
        return self.type_temperature == 1 and not self.caps

    @property
    def caps(self) -> dict[str, Decimal]:
        """The caps by RNA type."""
        caps: dict[str, Decimal] = {}
        for part in self.type_caps.split(",") if self.type_caps.strip() else ():
            name, equals, text = (word.strip() for word in part.rpartition("="))
            if not name or not equals or name in caps:
                raise ValueError(
                    "type_caps must name each RNA type once with a share, as in "
                    f"rRNA=0.2,lncRNA=0.3; got {part!r} in {self.type_caps!r}"
                )
            try:
                caps[name] = Decimal(text)
            except InvalidOperation:
                raise ValueError(f"type_caps: the share of {name} is {text!r}, no number") from None
            if not caps[name].is_finite() or not 0 < caps[name] <= 1:
                raise ValueError(
                    f"type_caps: the share of {name} must be above 0 and at most 1, got {text}; to "
                    "be rid of a type, leave its records out of the data"
                )
        return caps


class TypeCounts(NamedTuple):
    """What a split holds of each RNA type."""

    clusters: NDArray[np.int64]
    nt: NDArray[np.float64]
    """Letters shown when each of its clusters shows one member: the mean over the draw."""


def count_types(
    cluster_starts: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    rna_type_ids: NDArray[np.int32],
    *,
    num_types: int,
    max_length_nt: int,
) -> TypeCounts:
    """Count clusters and shown letters by type; arrays as in `Split`, windows of `max_length_nt`.

    Clusters are taken some at a time: no array as long as the corpus is made.
    """
    clusters, nt = np.zeros(num_types, np.int64), np.zeros(num_types)
    for first in range(0, len(cluster_starts) - 1, _CHUNK):
        starts = cluster_starts[first : first + _CHUNK + 1]
        types = rna_type_ids[starts[:-1]]
        shown = np.minimum(lengths_nt[starts[0] : starts[-1]], max_length_nt).astype(np.int64)
        means = np.add.reduceat(shown, starts[:-1] - starts[0]) / np.diff(starts)
        clusters += np.bincount(types, minlength=num_types)
        nt += np.bincount(types, weights=means, minlength=num_types)
    return TypeCounts(clusters, nt)


def plan_sequences(
    counts: TypeCounts, rna_types: Sequence[str], weights: TypeWeights
) -> NDArray[np.int64]:
    """Return how many sequences of each type an epoch shows: int64, one per type.

    Temperature shares out as many sequences as there are clusters. Limits then take away, and
    give to nobody: the epoch becomes shorter. A type that is there is shown, once at least.
    """
    caps = find_caps(weights, rna_types)
    present = [i for i, clusters in enumerate(counts.clusters.tolist()) if clusters]
    clusters = {i: int(counts.clusters[i]) for i in present}
    planned = np.zeros(len(rna_types), np.int64)
    with localcontext(Context(prec=28)):
        powers = {i: Decimal(clusters[i]) ** Decimal(weights.type_temperature) for i in present}
        scale = sum(clusters.values()) / sum(powers.values(), Decimal(0))
        shown = {
            i: min(scale * powers[i], Decimal(weights.max_repeats * clusters[i])) for i in present
        }
        nt_each = {i: Decimal(float(counts.nt[i])) / clusters[i] for i in present}
        for i, nt in _cap_nt({i: shown[i] * nt_each[i] for i in present}, caps, rna_types).items():
            shown[i] = nt / nt_each[i]
        for i in present:
            planned[i] = max(1, int(shown[i].to_integral_value()))
    return planned


def read_weights(folder: Path) -> TypeWeights:
    """Read the weights that prepared data is recommended with; even ones where it states none."""
    return TypeWeights(**read_manifest(folder).get("composition", {}).get("weights", {}))


def describe_composition(
    split: Split, weights: TypeWeights, *, max_length_nt: int = SHOWN_NT
) -> dict[str, Any]:
    """Return the weights, an epoch's size under them, and each type's shares before and after.

    Three stages: the `corpus` record by record, its `clusters` shown once each, and an `epoch`
    under the weights. Letters are those shown, at most `max_length_nt` a sequence.
    """
    size, starts = len(split.rna_types), split.cluster_starts
    counts = count_types(
        starts, split.lengths_nt, split.rna_type_ids, num_types=size, max_length_nt=max_length_nt
    )
    singles = count_types(
        np.arange(split.num_records + 1),
        split.lengths_nt,
        split.rna_type_ids,
        num_types=size,
        max_length_nt=max_length_nt,
    )
    planned = plan_sequences(counts, split.rna_types, weights)
    repeats = planned / np.maximum(counts.clusters, 1)
    stages = {
        "corpus": (singles.clusters, singles.nt),
        "clusters": (counts.clusters, counts.nt),
        "epoch": (planned, counts.nt * repeats),
    }
    return {
        "weights": asdict(weights),
        "max_length_nt": max_length_nt,
        "epoch": {"sequences": int(planned.sum()), "nt": round(float(stages["epoch"][1].sum()))},
        "types": {
            name: {
                "clusters": int(counts.clusters[i]),
                "sequences_an_epoch": int(planned[i]),
                "showings_a_cluster": round(float(repeats[i]), _DIGITS),
                **{
                    f"{stage}_{unit}_share": round(_share(values, i), _DIGITS)
                    for stage, pair in stages.items()
                    for unit, values in zip(("sequence", "nt"), pair, strict=True)
                },
            }
            for i, name in enumerate(split.rna_types)
        },
    }


def find_caps(weights: TypeWeights, rna_types: Sequence[str]) -> dict[int, Decimal]:
    """Return the caps by number of type; refuse one of a type that is not there."""
    for name in weights.caps:
        if name not in rna_types:
            lower = {known.lower(): known for known in rna_types}
            close = difflib.get_close_matches(name.lower(), list(lower), n=1)
            hint = f"did you mean {lower[close[0]]!r}?" if close else f"it has {_list(rna_types)}"
            raise ValueError(f"type_caps: the data has no RNA type {name!r}; {hint}")
    return {list(rna_types).index(name): cap for name, cap in weights.caps.items()}


def check_caps(weights: TypeWeights, rna_types: Sequence[str]) -> None:
    """Refuse caps that data of these types cannot keep to: of no such type, or of all and too low.

    `plan_sequences` refuses them too; this asks before there is anything to plan.
    """
    find_caps(weights, rna_types)
    _check_total(weights.caps, rna_types)


def _check_total(caps: Mapping[str, Decimal], rna_types: Sequence[str]) -> None:
    total = sum(caps.values())
    if len(caps) == len(rna_types) and total < 1:
        raise ValueError(
            f"type_caps: the shares of {_list(list(caps))} sum to {total}, and the data has no "
            "other type: raise one to fill the epoch, or leave one out"
        )


def _cap_nt(
    nt: dict[int, Decimal], caps: dict[int, Decimal], rna_types: Sequence[str]
) -> dict[int, Decimal]:
    """What the capped types that are over their share keep; capping one raises the others'.

    The type furthest over its cap is over it whatever becomes of the others, then the next.
    """
    caps = {i: caps[i] for i in caps if i in nt}
    _check_total({rna_types[i]: cap for i, cap in caps.items()}, [rna_types[i] for i in nt])
    over: list[int] = []
    free_nt, free_share = sum(nt.values(), Decimal(0)), Decimal(1)
    for i in sorted(caps, key=lambda i: (-nt[i] / caps[i], i)):
        if nt[i] * free_share <= caps[i] * free_nt:
            break
        over.append(i)
        free_nt = sum((amount for j, amount in nt.items() if j not in over), Decimal(0))
        free_share -= caps[i]
    return {i: caps[i] * free_nt / free_share for i in over}


def _share(values: NDArray, i: int) -> float:
    return float(values[i] / values.sum())


def _list(names: Sequence[str], limit: int = 10) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
