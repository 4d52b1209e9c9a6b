"""Which sequences an epoch shows, in which order, cut where: one member of every cluster.

Pure functions of (seed, epoch). C is the number of clusters; samples are in the epoch's order.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .counter_rng import derive_key, derive_purpose_key, uniform

_SHUFFLE, _MEMBER, _CROP = 1, 2, 3
_CHUNK = 1 << 18
"""Clusters that are drawn at once: what fits a core's cache, and no array of 17 M in between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How sequences become samples."""

    max_length_nt: int = 1022
    """Longer sequences are cut to a random window of this length, a new one every epoch."""

    def __post_init__(self) -> None:
        if self.max_length_nt < 16:
            raise ValueError(f"sampling.max_length_nt must be 16 or more, got {self.max_length_nt}")


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


def draw_records(cluster_starts: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The record that stands for each cluster in this epoch, in the epoch's order.

    `cluster_starts` (C+1) indexes records.
    """
    member_key = derive_purpose_key(seed, epoch, _MEMBER)
    shuffle_key = derive_purpose_key(seed, epoch, _SHUFFLE)
    num_clusters = len(cluster_starts) - 1
    # Sorted by a hash, not permuted: the order survives every NumPy version. The hash's low bits
    # make way for the cluster's number, so that words are sorted, at six times an argsort's speed.
    number_bits = np.uint64((1 << (num_clusters - 1).bit_length()) - 1)
    records = np.empty(num_clusters, np.int64)
    order = np.empty(num_clusters, np.uint64)
    for first in range(0, num_clusters, _CHUNK):
        clusters = np.arange(first, min(first + _CHUNK, num_clusters), dtype=np.uint64)
        chunk = slice(first, first + len(clusters))
        starts = cluster_starts[first : first + len(clusters) + 1]
        members = uniform(member_key, clusters) * np.diff(starts)
        records[chunk] = starts[:-1] + members.astype(np.int64)
        order[chunk] = (derive_key(shuffle_key, clusters) & ~number_bits) | clusters
    order.sort()
    order &= number_bits
    return records[order.view(np.int64)]


def cut_windows(
    records: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    config: SamplingConfig,
    *,
    seed: int,
    epoch: int,
) -> Samples:
    """What these records show in this epoch: whole, or a random window of what is too long.

    `lengths_nt` has one entry for every record there is.
    """
    crop_key = derive_purpose_key(seed, epoch, _CROP)
    full = lengths_nt[records].astype(np.int64)
    kept = np.minimum(full, config.max_length_nt)
    starts = (uniform(crop_key, records) * (full - kept + 1)).astype(np.int64)
    return Samples(
        records=records,
        starts_nt=starts.astype(np.int32),
        lengths_nt=kept.astype(np.int32),
        has_cls=starts == 0,
        has_eos=starts + kept == full,
    )


def count_tokens(
    records: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    config: SamplingConfig,
    *,
    seed: int,
    epoch: int,
) -> NDArray[np.int32]:
    """Tokens of each record's window, without keeping the windows."""
    num_tokens = np.empty(len(records), np.int32)
    for first in range(0, len(records), _CHUNK):
        some = records[first : first + _CHUNK]
        windows = cut_windows(some, lengths_nt, config, seed=seed, epoch=epoch)
        num_tokens[first : first + _CHUNK] = windows.num_tokens
    return num_tokens
