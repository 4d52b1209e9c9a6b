"""Which sequences an epoch shows, in which order, cut where: one member of every cluster.

Pure functions of (seed, epoch). C is the number of clusters; a plan's arrays are in sample order.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .counter_rng import derive_key, uniform

_SHUFFLE, _MEMBER, _CROP = 1, 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How sequences become samples."""

    max_length_nt: int = 1022
    """Longer sequences are cut to a random window of this length, a new one every epoch."""

    def __post_init__(self) -> None:
        if self.max_length_nt < 16:
            raise ValueError(f"sampling.max_length_nt must be 16 or more, got {self.max_length_nt}")


class Samples(NamedTuple):
    """An epoch's samples in order: record, window, and how many tokens it makes."""

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

    def take(self, chosen: slice) -> "Samples":
        """These samples of the epoch only."""
        return Samples(
            self.records[chosen],
            self.starts_nt[chosen],
            self.lengths_nt[chosen],
            self.has_cls[chosen],
            self.has_eos[chosen],
        )


def draw_samples(
    cluster_starts: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    config: SamplingConfig,
    *,
    seed: int,
    epoch: int,
) -> Samples:
    """One member of every cluster, shuffled and cropped, for this epoch.

    `cluster_starts` (C+1) indexes records; `lengths_nt` has one entry a record.
    """
    key = derive_key(seed, epoch)
    clusters = np.arange(len(cluster_starts) - 1)
    sizes = np.diff(cluster_starts)
    member = (uniform(derive_key(key, _MEMBER), clusters) * sizes).astype(np.int64)
    records = cluster_starts[:-1] + member
    # Sorting by a hash, not `permutation`: the order survives every NumPy version.
    order = np.argsort(derive_key(derive_key(key, _SHUFFLE), clusters), kind="stable")
    records = records[order]

    full = lengths_nt[records].astype(np.int64)
    kept = np.minimum(full, config.max_length_nt)
    offsets = uniform(derive_key(key, _CROP), records) * (full - kept + 1)
    starts = offsets.astype(np.int64)
    return Samples(
        records=records,
        starts_nt=starts.astype(np.int32),
        lengths_nt=kept.astype(np.int32),
        has_cls=starts == 0,
        has_eos=starts + kept == full,
    )
