"""In which steps and packs a fit sees its examples: a pure function of seed and epoch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SPECIALS = 2
"""`<cls>` and `<eos>`: tokens of a sequence beside its nucleotides."""


class Step(NamedTuple):
    """One optimizer update."""

    number: int
    """From 0, over all epochs."""
    epoch: int
    batch: tuple[int, ...]
    """Examples whose mean loss it follows."""
    ends_epoch: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """Every example once an epoch, in a new order; a batch ends where it would pass a limit.

    0 is no limit. An example of more than `max_tokens` is a batch of its own.
    """

    train: Sequence[int]
    lengths: Mapping[int, int]
    """Nucleotides of each."""
    max_sequences: int
    max_tokens: int
    epochs: int
    seed: int

    def build_batches(self, epoch: int) -> list[tuple[int, ...]]:
        """Batches of an epoch."""
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(np.asarray(self.train)).tolist()
        return list(_cut(shuffled, self.lengths, self.max_sequences, self.max_tokens))

    def iter_steps(self, start: int = 0) -> Iterator[Step]:
        """Steps from number `start` on."""
        number = 0
        for epoch in range(self.epochs):
            batches = self.build_batches(epoch)
            for place, batch in enumerate(batches, start=1):
                if number >= start:
                    yield Step(number, epoch, batch, place == len(batches))
                number += 1

    def count_steps(self) -> int:
        """Steps of all epochs; limits by tokens make epochs differ."""
        if not self.max_tokens:
            return self.epochs * -(-len(self.train) // (self.max_sequences or len(self.train)))
        return sum(len(self.build_batches(epoch)) for epoch in range(self.epochs))


def split_packs(
    batch: Sequence[int], lengths: Mapping[int, int], *, max_tokens: int
) -> list[tuple[int, ...]]:
    """`batch` in its order, cut into packs of at most `max_tokens`, or of one longer sequence."""
    return list(_cut(batch, lengths, 0, max_tokens))


def _cut(
    indices: Sequence[int], lengths: Mapping[int, int], max_sequences: int, max_tokens: int
) -> Iterator[tuple[int, ...]]:
    part: list[int] = []
    num_tokens = 0
    for index in indices:
        size = lengths[index] + SPECIALS
        is_full = bool(max_sequences) and len(part) == max_sequences
        if part and (is_full or (max_tokens and num_tokens + size > max_tokens)):
            yield tuple(part)
            part, num_tokens = [], 0
        part.append(index)
        num_tokens += size
    if part:
        yield tuple(part)
