"""Words with gaps, as heavy as can be, of which overlaps with few mismatches surely share one.

Where a word of neighbouring letters lies between the mismatches, one with gaps lies over them: with
one mismatch in 15 letters it has nine letters and not seven, with one in 18 twelve and not nine.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Pattern = tuple[int, ...]
"""Which places of a word count, from 0."""

MAX_LETTERS = 16
"""Of a word, since its number has 32 bits."""
_MAX_GAP = 4
_NO_BASE = 4
_BASES = np.full(256, _NO_BASE, np.uint8)
_BASES[np.frombuffer(b"ACGTU", np.uint8)] = [0, 1, 2, 3, 3]


def choose_pattern(mismatches: Mapping[int, int]) -> Pattern:
    """Return the pattern of most letters that overlaps of each length share at some place.

    `mismatches` are the most that an overlap of each length may have. Tried are runs of one length
    with gaps of one length; with one mismatch none is heavier. Of equal ones the longest is taken,
    of which a sequence has the fewest.
    """
    shortest: dict[int, int] = {}
    for overlap, count in mismatches.items():
        shortest[count] = min(overlap, shortest.get(count, overlap))
    return _choose(tuple(sorted(shortest.items())))


@cache
def _choose(overlaps: tuple[tuple[int, int], ...]) -> Pattern:
    spans = min(length for _, length in overlaps)
    patterns = {
        tuple(place for place in range(span) if place % (run + gap) < run)
        for run in range(1, MAX_LETTERS + 1)
        for gap in range(1, _MAX_GAP + 1)
        for span in range(1, spans + 1)
    }
    for pattern in sorted(patterns, key=lambda p: (len(p), p[-1]), reverse=True):
        if len(pattern) <= MAX_LETTERS and all(
            is_sure(pattern, length, count) for count, length in overlaps
        ):
            return pattern
    raise AssertionError(f"no word is shared by overlaps of {overlaps} mismatches and letters")


def is_sure(pattern: Pattern, overlap: int, mismatches: int) -> bool:
    """Whether the pattern lies beside all mismatches somewhere, wherever they are."""
    letters = sum(1 << place for place in pattern)
    words = [letters << start for start in range(overlap - pattern[-1])]
    return not _can_hit_all(words, mismatches)


def _can_hit_all(words: Sequence[int], places: int) -> bool:
    """Whether so many places can touch all of the words (bits of their letters)."""
    if not words:
        return True
    if not places:
        return False
    return any(
        _can_hit_all([word for word in words if not word >> place & 1], places - 1)
        for place in range(words[0].bit_length())
        if words[0] >> place & 1
    )


def number_words(
    letters: NDArray[np.uint8], pattern: Pattern
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the word that starts at each place of sequences (rows), and which are bases alone."""
    bases = _BASES[letters]
    starts = letters.shape[1] - pattern[-1]
    codes = np.zeros((len(letters), starts), np.uint32)
    is_word = np.ones(codes.shape, bool)
    for place in pattern:
        part = bases[:, place : place + starts]
        codes = codes << np.uint32(2) | part & np.uint8(_NO_BASE - 1)
        is_word &= part < _NO_BASE
    return codes, is_word
