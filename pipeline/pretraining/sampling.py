"""Which sequences an epoch shows, in which order, cut where: one member of every cluster.

Weights by RNA type make that none or several. Pure functions of (seed, epoch). C is the number of
clusters; samples are in the epoch's order. A draw numbers a showing of a record within an epoch:
record + n * number of records for the n-th showing of its cluster, from 0. Windows and masks are
keyed by it, so that no two showings are alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data_prep.composition import SHOWN_NT, TypeWeights
from .counter_rng import derive_key, derive_purpose_key, uniform

_SHUFFLE, _MEMBER, _CROP, _ROTATION = 1, 2, 3, 6  # 4 and 5 are batches.py's
_CHUNK = 1 << 18
"""Clusters that are drawn at once: what fits a core's cache, and no array of 17 M in between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How sequences become samples."""

    max_length_nt: int = SHOWN_NT
    """Longer sequences are cut to a random window of this length, a new one every epoch."""
    type_temperature: float | None = None
    """1 shows every cluster once an epoch, 0 every RNA type equally often; none: as the data's
    manifest says, else 1. Validation shows every cluster once whatever stands here."""
    type_caps: str | None = None
    """Highest shares of an epoch's nucleotides, as in `rRNA=0.2,lncRNA=0.3`; none: as the data's
    manifest says, else no caps."""
    max_repeats: int | None = None
    """Times that an epoch shows a cluster at most; none: as the data's manifest says, else 4."""

    def __post_init__(self) -> None:
        if self.max_length_nt < 16:
            raise ValueError(f"sampling.max_length_nt must be 16 or more, got {self.max_length_nt}")
        try:
            self.choose_weights(TypeWeights())
        except ValueError as error:
            raise ValueError(f"sampling.{error}") from None

    def choose_weights(self, recommended: TypeWeights) -> TypeWeights:
        """The weights that are set here, and those `recommended` where none is."""
        names = ("type_temperature", "type_caps", "max_repeats")
        chosen = {name: getattr(self, name) for name in names}
        return replace(recommended, **{k: v for k, v in chosen.items() if v is not None})


class Samples(NamedTuple):
    """Samples of an epoch in order: record, window, and how many tokens it makes."""

    records: NDArray[np.int64]
    starts_nt: NDArray[np.int32]
    lengths_nt: NDArray[np.int32]
    has_cls: NDArray[np.bool_]
    """False where the window begins inside: a fragment carries no `<cls>`, as in ESM-2."""
    has_eos: NDArray[np.bool_]

    @property
    def num_tokens(self) -> NDArray[np.int32]:
        """Letters plus the special tokens the window keeps."""
        return self.lengths_nt + self.has_cls + self.has_eos


def count_showings(
    type_of_cluster: NDArray[np.int32],
    sequences_by_type: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
) -> NDArray[np.uint8]:
    """How often this epoch shows each cluster, so that a type's sum to its number of sequences.

    Clusters of a type stand in a ring, ordered by a hash; an epoch goes on where the one before it
    ended. So within an epoch, and over any number of them, showings differ by one at most.
    """
    ring_sizes = np.bincount(type_of_cluster, minlength=len(sequences_by_type))
    rounds, rest = np.divmod(sequences_by_type, np.maximum(ring_sizes, 1))
    showings = rounds.astype(np.uint8)[type_of_cluster]
    for ring, rna_type in _iter_rings(type_of_cluster, rest > 0, seed=seed):
        start = epoch * int(sequences_by_type[rna_type]) % len(ring)
        end = start + int(rest[rna_type])
        showings[ring[start:end]] += 1
        showings[ring[: max(0, end - len(ring))]] += 1
    return showings


def _iter_rings(
    type_of_cluster: NDArray[np.int32], is_wanted: NDArray[np.bool_], *, seed: int
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The clusters of each type that is wanted, in the order of a hash, and the type.

    One sort for all: a word's high bits are the type, then the hash, its low bits the cluster.
    """
    key = derive_purpose_key(seed, 0, _ROTATION)  # of no epoch: they share the rings
    words = np.flatnonzero(is_wanted[type_of_cluster]).view(np.uint64)
    type_bits = np.uint64(max(1, (len(is_wanted) - 1).bit_length()))
    number_bits = _count_bits(len(type_of_cluster))
    for first in range(0, len(words), _CHUNK):
        clusters = words[first : first + _CHUNK].copy()
        types = type_of_cluster[clusters.view(np.int64)].astype(np.uint64)
        hashes = (derive_key(key, clusters) >> type_bits) & ~number_bits
        words[first : first + _CHUNK] = types << (np.uint64(64) - type_bits) | hashes | clusters
    words.sort()
    ends = np.cumsum(np.bincount(type_of_cluster, minlength=len(is_wanted)) * is_wanted)
    words &= number_bits
    for rna_type in np.flatnonzero(is_wanted).tolist():
        start = ends[rna_type - 1] if rna_type else 0
        yield words[start : ends[rna_type]].view(np.int64), rna_type


def draw_records(
    cluster_starts: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    showings: NDArray[np.uint8] | None = None,
) -> NDArray[np.int64]:
    """The draws of this epoch, in its order: for each showing of a cluster one of its members.

    `cluster_starts` (C+1) indexes records. Without `showings` (C) every cluster is shown once, and
    draws are records. Repeated, a cluster shows another member until all were shown.
    """
    member_key = derive_purpose_key(seed, epoch, _MEMBER)
    shuffle_key = derive_purpose_key(seed, epoch, _SHUFFLE)
    num_clusters, num_records = len(cluster_starts) - 1, int(cluster_starts[-1])
    num_draws = num_clusters if showings is None else int(showings.sum(dtype=np.int64))
    # Sorted by a hash, not permuted: the order survives every NumPy version. The hash's low bits
    # make way for the draw's place, so that words are sorted, at six times an argsort's speed.
    place_bits = _count_bits(num_draws)
    draws = np.empty(num_draws, np.int64)
    order = np.empty(num_draws, np.uint64)
    filled = 0
    for first in range(0, num_clusters, _CHUNK):
        clusters = np.arange(first, min(first + _CHUNK, num_clusters), dtype=np.uint64)
        starts = cluster_starts[first : first + len(clusters) + 1]
        sizes = np.diff(starts)
        members = (uniform(member_key, clusters) * sizes).astype(np.int64)
        if showings is None:
            drawn = starts[:-1] + members
        else:
            counts = showings[first : first + len(clusters)].astype(np.int64)
            row = np.repeat(np.arange(len(counts)), counts)
            nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            drawn = starts[row] + (members[row] + nth) % sizes[row] + nth * num_records
        chunk = slice(filled, filled + len(drawn))
        places = np.arange(chunk.start, chunk.stop, dtype=np.uint64)
        draws[chunk] = drawn
        order[chunk] = (derive_key(shuffle_key, places) & ~place_bits) | places
        filled = chunk.stop
    order.sort()
    order &= place_bits
    return draws[order.view(np.int64)]


def _count_bits(count: int) -> np.uint64:
    """The low bits of a word that hold the numbers below `count`, as ones."""
    return np.uint64((1 << (count - 1).bit_length()) - 1)


def cut_windows(
    draws: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    config: SamplingConfig,
    *,
    seed: int,
    epoch: int,
) -> Samples:
    """What these draws show in this epoch: whole records, or random windows of what is too long.

    `lengths_nt` has one entry for every record there is.
    """
    crop_key = derive_purpose_key(seed, epoch, _CROP)
    records = find_records(draws, len(lengths_nt))
    full = lengths_nt[records].astype(np.int64)
    kept = np.minimum(full, config.max_length_nt)
    starts = (uniform(crop_key, draws) * (full - kept + 1)).astype(np.int64)
    return Samples(
        records=records,
        starts_nt=starts.astype(np.int32),
        lengths_nt=kept.astype(np.int32),
        has_cls=starts == 0,
        has_eos=starts + kept == full,
    )


def find_records(draws: NDArray[np.int64], num_records: int) -> NDArray[np.int64]:
    """The records that are drawn."""
    return draws % num_records


def count_tokens(
    draws: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    config: SamplingConfig,
    *,
    seed: int,
    epoch: int,
) -> NDArray[np.int32]:
    """Tokens of each draw's window, without keeping the windows."""
    num_tokens = np.empty(len(draws), np.int32)
    for first in range(0, len(draws), _CHUNK):
        some = draws[first : first + _CHUNK]
        windows = cut_windows(some, lengths_nt, config, seed=seed, epoch=epoch)
        num_tokens[first : first + _CHUNK] = windows.num_tokens
    return num_tokens
