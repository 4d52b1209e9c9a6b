"""Splits of labelled sequences in which nothing straddles: no group, no copy, no near copy."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..tasks.task import Example, Split
from .near_duplicates import find_holders, find_near


@dataclass(frozen=True, kw_only=True, slots=True)
class NotedSplit(Split):
    """A split, and what a reader has to know of it."""

    notes: tuple[str, ...] = ()


def list_groups(examples: Sequence[Example]) -> tuple[str, ...]:
    """Group of each example."""
    return tuple(example.group for example in examples)


class Apart(NamedTuple):
    """Examples to fit on that share nothing with those held out, and what had to go for it."""

    kept: tuple[int, ...]
    num_grouped: int
    """Left out: their group is held out."""
    num_exact: int
    """Of the others, left out: their sequence is held out."""
    num_near: int
    """Of the others, left out: half their 16-mers are held out, or they hold half of one's."""

    def describe(self, fit: str, held_out: str) -> str:
        """Say in a sentence what was left out."""
        return (
            f"left out of {fit}: {self.num_grouped:,} of a group, {self.num_exact:,} with the "
            f"sequence and {self.num_near:,} that share half the 16-mers, of either side, with "
            f"{held_out}"
        )


def keep_apart(examples: Sequence[Example], fit: Sequence[int], held_out: Sequence[int]) -> Apart:
    """Drop from `fit` what shares a group, the sequence or half the 16-mers with `held_out`.

    Half of its own, wherever they are held out, or half of one that is held out.
    """
    groups = {examples[index].group for index in held_out} - {""}
    ungrouped = [index for index in fit if examples[index].group not in groups]
    known = {examples[index].sequence for index in held_out}
    novel = [index for index in ungrouped if examples[index].sequence not in known]
    fitted = [examples[index].sequence for index in novel]
    tested = [examples[index].sequence for index in held_out]
    is_near = find_near(fitted, tested) | find_holders(fitted, tested)
    kept = tuple(index for index, near in zip(novel, is_near, strict=True) if not near)
    return Apart(
        kept=kept,
        num_grouped=len(fit) - len(ungrouped),
        num_exact=len(ungrouped) - len(novel),
        num_near=len(novel) - len(kept),
    )


def draw_groups(
    examples: Sequence[Example],
    indices: Iterable[int],
    fraction: float,
    *,
    seed: int,
    by_target: bool,
) -> tuple[int, ...]:
    """About `fraction` of the examples, in whole groups, as `seed` draws them.

    Where `by_target`, it is that share of every target, to which a group belongs by its first
    example. Of two groups or more at least one is drawn and at least one is not.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        # A number of its own for what has no group; no group's name starts with a zero byte.
        members[examples[index].group or f"\0{index}"].append(index)
    strata: dict[float, list[list[int]]] = defaultdict(list)
    for group in members.values():
        strata[examples[group[0]].target if by_target else 0.0].append(group)
    generator = np.random.default_rng(seed)
    drawn: list[int] = []
    for stratum in sorted(strata):
        groups = strata[stratum]
        wanted = fraction * sum(map(len, groups))
        taken = 0
        for number in generator.permutation(len(groups))[: len(groups) - 1].tolist():
            if taken and taken + len(groups[number]) / 2 > wanted:
                break
            drawn += groups[number]
            taken += len(groups[number])
    return tuple(sorted(drawn))


def draw_limited(
    examples: Sequence[Example], indices: Sequence[int], limit: int, *, seed: int, by_target: bool
) -> tuple[int, ...]:
    """At most `limit` of `indices` (0: all), evenly over the targets where `by_target`.

    A lower limit draws a part of what a higher one does.
    """
    if not limit or len(indices) <= limit:
        return tuple(indices)
    shuffled = np.random.default_rng(seed).permutation(np.asarray(indices)).tolist()
    if not by_target:
        return tuple(sorted(shuffled[:limit]))
    seen: dict[float, int] = defaultdict(int)
    rounds = []
    for position, index in enumerate(shuffled):
        target = examples[index].target
        rounds.append((seen[target], position, index))
        seen[target] += 1
    return tuple(sorted(index for *_, index in sorted(rounds)[:limit]))
