"""Sequences that share a stretch of letters are one group, and so are those that meet through them.

What overlaps in a genome, exons of one gene seen twice or a library's tiles, is found so; relatives
that differ in every stretch are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..tasks.task import Example
from .near_duplicates import encode_together

_FIRST, _LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
"""Odd 64-bit numbers with as many ones as zeros."""


def group_overlapping(
    examples: Sequence[Example], indices: Sequence[int], *, min_shared_nt: int
) -> list[Example]:
    """All examples; of `indices` those with a group or `min_shared_nt` letters in common are one.

    A group of several bears the id of its first member; whoever is alone has none. Letters are A,
    C, G and U of the same strand. Takes time in proportion to the letters, less the sorting.
    """
    chosen = [examples[index] for index in indices]
    first_of: dict[str, int] = {}
    named = [
        (first_of.setdefault(example.group, place), place)
        for place, example in enumerate(chosen)
        if example.group
    ]
    overlaps = _iter_overlaps([example.sequence for example in chosen], min_shared_nt)
    roots = _join(len(chosen), [*named, *overlaps])
    sizes = np.bincount(roots, minlength=len(chosen))
    grouped = list(examples)
    for index, root in zip(indices, roots, strict=True):
        group = chosen[root].id if sizes[root] > 1 else ""
        grouped[index] = replace(examples[index], group=group)
    return grouped


def _iter_overlaps(sequences: Sequence[str], length: int) -> Iterator[tuple[int, int]]:
    """Pairs of sequences, enough of them to connect all that share a stretch of `length`."""
    codes, owners = encode_together(sequences)
    num_starts = len(codes) - length + 1
    if num_starts < 1:
        return
    num_unknown = np.concatenate([[0], np.cumsum(codes > 3)])
    is_whole = num_unknown[length:] == num_unknown[:num_starts]
    hashes, owners = _hash_stretches(codes, length)[is_whole], owners[:num_starts][is_whole]
    order = np.argsort(hashes)
    hashes, owners = hashes[order], owners[order]
    is_same = (hashes[1:] == hashes[:-1]) & (owners[1:] != owners[:-1])
    pairs = np.stack([owners[:-1][is_same], owners[1:][is_same]], axis=1)
    yield from np.unique(pairs, axis=0).tolist()


def _hash_stretches(codes: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """64 bits for each stretch, of its first and its last half; these overlap in an odd length.

    Of 10 million stretches two that differ meet with a chance of 3 in a million.
    """
    if length == 1:
        return codes.astype(np.uint64)
    half = (length + 1) // 2
    hashes = _hash_stretches(codes, half)
    num_starts = len(codes) - length + 1
    mixed = hashes[:num_starts] * _FIRST
    mixed ^= mixed >> np.uint64(32)
    mixed += hashes[length - half :][:num_starts]
    mixed *= _LAST
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _join(num: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The first of all that are connected with each of `num` things."""
    parents = list(range(num))

    def find(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for one, other in pairs:
        first, second = sorted((find(one), find(other)))
        parents[second] = first
    return [find(place) for place in range(num)]
