"""Gradual unfreezing as published: which blocks of the encoder train from which epoch on."""

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

Schedule = Literal["all", "structure", "ribosome-load"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnfreezingConfig:
    """When what of the encoder begins to train; embedding and LM head never do, as published."""

    schedule: Schedule = "all"
    """`all`: final norm and every block from the first step on (splice sites, families).
    `structure`: the head alone, then every `every_epochs` the next eleventh of the
    blocks, from the top, eight times; the lowest three elevenths never.
    `ribosome-load`: the head alone, at `every_epochs` all but the lowest two elevenths.
    Of 33 blocks these are the published groups: 3 at a time down to block 9, or 6 to 32 at once."""
    every_epochs: int = 3
    """Epochs of the first phase and between groups."""
    lr_ratio: float = 0.1
    """Learning rate of what unfreezes later, as a share of the head's at that time."""

    def __post_init__(self) -> None:
        if self.every_epochs < 1:
            raise ValueError(f"unfreezing.every_epochs must be positive, got {self.every_epochs}")
        if not 0 < self.lr_ratio <= 1:
            raise ValueError(f"unfreezing.lr_ratio must be in (0, 1], got {self.lr_ratio}")

    @property
    def last_epoch(self) -> int:
        """Epoch, from 0, at whose start the last group begins to train."""
        return plan_unfreezing(self, num_blocks=33)[-1].epoch  # the same for any number of blocks


class Stage(NamedTuple):
    """What begins to train at the start of an epoch."""

    epoch: int
    blocks: range
    """0-based; may be empty for an encoder of few blocks."""
    final_norm: bool
    lr_ratio: float


def plan_unfreezing(config: UnfreezingConfig, num_blocks: int) -> tuple[Stage, ...]:
    """Stages in order of epoch; bounds between them are elevenths of the blocks, rounded down."""
    if config.schedule == "all":
        return (Stage(0, range(num_blocks), True, 1.0),)
    if config.schedule == "ribosome-load":
        first = 2 * num_blocks // 11
        return (Stage(config.every_epochs, range(first, num_blocks), True, config.lr_ratio),)
    bounds = [num_blocks * (11 - step) // 11 for step in range(9)]
    return tuple(
        Stage(config.every_epochs * step, range(low, high), step == 1, config.lr_ratio)
        for step, (high, low) in enumerate(itertools.pairwise(bounds), start=1)
    )
