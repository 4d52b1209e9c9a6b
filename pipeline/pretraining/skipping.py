"""Packs that a run never shows, and the numbers of those that it does."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")


@dataclass(frozen=True, slots=True)
class SkippedPacks:
    """Ranges [first, end) of numbers in the stream: disjoint, ascending, none touching the next.

    Whatever ranges it is made of become that.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", _merge(self.ranges))

    @classmethod
    def parse(cls, text: str) -> "SkippedPacks":
        """From a setting such as `12,40-45`, in which a range holds both its ends."""
        ranges = []
        for part in text.split(",") if text.strip() else ():
            match = _RANGE.fullmatch(part)
            first = int(match[1]) if match else 0
            end = (int(match[2] or first) if match else 0) + 1
            if not match or end <= first:
                raise ValueError(
                    "batches.skip_packs must be numbers and ascending ranges of packs, such as "
                    f"12,40-45; got {part!r}"
                )
            ranges.append((first, end))
        return cls(tuple(ranges))

    @classmethod
    def from_lists(cls, ranges: Iterable[Iterable[int]]) -> "SkippedPacks":
        """From what `as_lists` gave."""
        return cls(tuple((first, end) for first, end in ranges))

    def as_lists(self) -> list[list[int]]:
        """The ranges as JSON holds them: [first, end)."""
        return [[first, end] for first, end in self.ranges]

    def add(self, first: int, end: int) -> "SkippedPacks":
        """These and the packs of [first, end)."""
        return SkippedPacks((*self.ranges, (first, end)))

    def number(self, place: int) -> int:
        """Number in the stream of the pack at this place among those that are shown, from 0."""
        for first, end in self.ranges:
            if place < first:
                break
            place += end - first
        return place

    def join(self, asked: "SkippedPacks", *, next_number: int) -> "SkippedPacks":
        """These and `asked`, for a run that goes on at `next_number`.

        Raises `ValueError` if `asked` has a pack before that which was shown: leaving it out now
        would only move the places of all that follow.
        """
        for first, end in asked.ranges:
            stop = min(end, next_number)
            if self._count_within(first, stop) < stop - first:
                raise ValueError(
                    f"batches.skip_packs names packs before {next_number}, where this run goes "
                    "on: they were shown already; name later ones, or start a new run"
                )
        return SkippedPacks((*self.ranges, *asked.ranges))

    def _count_within(self, first: int, end: int) -> int:
        return sum(max(0, min(b, end) - max(a, first)) for a, b in self.ranges)


def _merge(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if first < 0 or end < first:
            raise ValueError(f"packs {first} to {end} are no range [first, end)")
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        elif end > first:
            merged.append((first, end))
    return tuple(merged)
