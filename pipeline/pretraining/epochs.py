"""An epoch's plan, which record is in which pack, and where the packs of the stream lie.

Plans are made when first asked for, by whichever thread asks; two are kept, this epoch's and the
next one's. A plan of 17 M clusters is 136 MB.
"""

import threading
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data_prep.composition import TypeWeights, count_types, plan_sequences, read_weights
from ...data_prep.shards import Split
from .packing import plan_packs
from .sampling import (
    SamplingConfig,
    count_showings,
    count_tokens,
    draw_records,
    find_records,
)

_PLANS_KEPT = 2


class Epoch(NamedTuple):
    """One epoch: its draws in order, and the first of each pack with their number at the end."""

    draws: NDArray[np.int64]
    """Showings of records, numbered as in `sampling`."""
    boundaries: NDArray[np.int64]
    num_records: int
    """Of the split."""

    @property
    def num_packs(self) -> int:
        """Packs of the epoch."""
        return len(self.boundaries) - 1

    @property
    def records(self) -> NDArray[np.int64]:
        """The record of each draw; made anew each time."""
        return find_records(self.draws, self.num_records)

    def draws_of_pack(self, index: int) -> NDArray[np.int64]:
        """The draws of one pack, in order."""
        return self.draws[self.boundaries[index] : self.boundaries[index + 1]]


class EpochPlans:
    """The plans of every epoch of a split; any thread may ask for any epoch."""

    def __init__(
        self, split: Split, *, pack_tokens: int, sampling: SamplingConfig, seed: int
    ) -> None:
        self._split = split
        self._pack_tokens = pack_tokens
        self._sampling = sampling
        self._weights = find_weights(split, sampling)
        self._seed = seed
        self._plans: dict[int, Epoch] = {}
        self._num_packs: dict[int, int] = {}
        self._first_packs = [0]
        self._planning = threading.Lock()
        self._counting = threading.Lock()

    def plan(self, epoch: int) -> Epoch:
        """The plan of one epoch; others can be asked for while a new one is being made."""
        plan = self._plans.get(epoch)
        if plan is None:
            with self._planning:
                plan = self._plans.get(epoch)
                if plan is None:
                    plan = self._build(epoch)
                    self._num_packs[epoch] = plan.num_packs
                    kept = list(self._plans.items())[-(_PLANS_KEPT - 1) :]
                    self._plans = {**dict(kept), epoch: plan}
        return plan

    def is_planned(self, epoch: int) -> bool:
        """Whether asking for this epoch's plan returns at once."""
        return epoch in self._plans

    def num_packs(self, epoch: int) -> int:
        """Packs of one epoch."""
        if epoch not in self._num_packs:
            self.plan(epoch)
        return self._num_packs[epoch]

    def first_pack(self, epoch: int) -> int:
        """Number in the stream of an epoch's first pack."""
        while len(self._first_packs) <= epoch:
            self._count_one_more_epoch()
        return self._first_packs[epoch]

    def locate(self, number: int) -> tuple[int, int]:
        """Epoch and index within it of a pack of the stream; plans the epochs before it, once."""
        if number < 0:
            raise ValueError(f"packs are numbered from 0, there is no pack {number}")
        while number >= self._first_packs[-1]:
            self._count_one_more_epoch()
        epoch = bisect_right(self._first_packs, number) - 1
        return epoch, number - self._first_packs[epoch]

    def _count_one_more_epoch(self) -> None:
        known = len(self._first_packs)
        num_packs = self.num_packs(known - 1)
        with self._counting:
            if len(self._first_packs) == known:
                self._first_packs.append(self._first_packs[-1] + num_packs)

    @cached_property
    def _sequences_by_type(self) -> NDArray[np.int64] | None:
        return find_sequences_by_type(self._split, self._sampling, self._weights)

    def _build(self, epoch: int) -> Epoch:
        showings = None
        if self._sequences_by_type is not None:
            split = self._split
            showings = count_showings(
                split.rna_type_ids[split.cluster_starts[:-1]],
                self._sequences_by_type,
                seed=self._seed,
                epoch=epoch,
            )
        return plan_epoch(
            self._split.cluster_starts,
            self._split.lengths_nt,
            pack_tokens=self._pack_tokens,
            sampling=self._sampling,
            seed=self._seed,
            epoch=epoch,
            showings=showings,
        )


def find_weights(split: Split, sampling: SamplingConfig) -> TypeWeights:
    """The weights of RNA types: those of `sampling`, else of the manifest.

    Validation has none, so that its loss compares over runs of whatever weights.
    """
    is_train = split.split == "train"
    return sampling.choose_weights(read_weights(split.folder)) if is_train else TypeWeights()


def find_sequences_by_type(
    split: Split, sampling: SamplingConfig, weights: TypeWeights
) -> NDArray[np.int64] | None:
    """Sequences of each RNA type in an epoch; None where every cluster is shown once."""
    if weights.are_even:
        return None
    counts = count_types(
        split.cluster_starts,
        split.lengths_nt,
        split.rna_type_ids,
        num_types=len(split.rna_types),
        max_length_nt=sampling.max_length_nt,
    )
    return plan_sequences(counts, split.rna_types, weights)


def plan_epoch(
    cluster_starts: NDArray[np.int64],
    lengths_nt: NDArray[np.int32],
    *,
    pack_tokens: int,
    sampling: SamplingConfig,
    seed: int,
    epoch: int,
    showings: NDArray[np.uint8] | None = None,
) -> Epoch:
    """One epoch's plan; `cluster_starts` and `lengths_nt` as in `Split`, `showings` by cluster."""
    draws = draw_records(cluster_starts, seed=seed, epoch=epoch, showings=showings)
    num_tokens = count_tokens(draws, lengths_nt, sampling, seed=seed, epoch=epoch)
    return Epoch(draws, plan_packs(num_tokens, pack_tokens), len(lengths_nt))
