"""The strand of pairs of sequences on a diagonal that is given, by their letters."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .sequence_file import SequenceFile

_CHUNK_ITEMS = 1 << 17
_DIAGONAL_RANGE = 1 << 16
"""Diagonals are written as 16 bits, so that longer sequences' stand for several."""
# MMseqs2 takes an ambiguous letter for one base; N and the rest equal nothing, not even each other.
_BASE = np.full(256, 4, np.uint8)
_COMPLEMENT = np.full(256, 5, np.uint8)
for _letters, _code in ((b"A", 0), (b"CMYH", 1), (b"GKBDVRS", 2), (b"TUW", 3)):
    _BASE[list(_letters)], _COMPLEMENT[list(_letters)] = _code, 3 - _code
_OTHER_BASE = np.where(_BASE == 4, 5, _BASE)
_AMBIGUOUS = bytes(letter in b"MYHKBDVRSW" for letter in range(256))


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of sequences by number: position i of the head lies on i - `diagonals` of the member.

    Where `is_reverse`, positions of the head are counted along its reverse complement.
    """

    heads: NDArray[np.int64]
    members: NDArray[np.int64]
    diagonals: NDArray[np.int64]
    is_reverse: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.heads)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Pairs":
        """Return some of them."""
        return Pairs(
            heads=self.heads[places],
            members=self.members[places],
            diagonals=self.diagonals[places],
            is_reverse=self.is_reverse[places],
        )


def settle_strands(
    file: SequenceFile, pairs: Pairs, is_ambiguous: NDArray[np.bool_], k: int, pool: Executor
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pairs are reverse, whatever chance said, and which were in doubt."""
    lengths = file.lengths[pairs.members]
    chunks = list(_iter_chunks(lengths // _choose_word(k)[1] + 1))
    found = pool.map(lambda part: _find_both_strands(file, pairs.take(part), k), chunks)
    doubtful = np.concatenate([np.empty(0, bool), *found])
    doubtful |= is_ambiguous[pairs.heads] | is_ambiguous[pairs.members]
    doubtful |= np.maximum(file.lengths[pairs.heads], lengths) >= _DIAGONAL_RANGE // 2
    places = np.flatnonzero(doubtful)
    some = pairs.take(places)
    nearer = pool.map(
        lambda part: _is_nearer_reverse(file, some.take(part)), _iter_chunks(lengths[places])
    )
    is_reverse = pairs.is_reverse.copy()
    is_reverse[places] = np.concatenate([np.empty(0, bool), *nearer])
    return is_reverse, doubtful


def find_ambiguous(file: SequenceFile) -> NDArray[np.bool_]:
    """Return which sequences hold letters that MMseqs2 takes for another base."""
    found = np.zeros(len(file), bool)
    for start in range(0, len(file.letters), _CHUNK_ITEMS):
        letters = file.letters[start : start + _CHUNK_ITEMS].tobytes()
        here = np.flatnonzero(np.frombuffer(letters.translate(_AMBIGUOUS), bool))
        found[np.searchsorted(file.starts, start + here, side="right") - 1] = True
    return found


def _choose_word(k: int) -> tuple[int, int]:
    """Return a word's letters, and the step at which words meet any k equal letters in a row."""
    assert k >= 8
    word = 8 if k >= 12 else 4
    return word, k - word + 1


def _find_both_strands(file: SequenceFile, pairs: Pairs, k: int) -> NDArray[np.bool_]:
    """Return which pairs may share a k-mer on their diagonal of the strand they do not name.

    Words of the letters as they stand are compared: N equals N, which only adds doubts.
    """
    found = np.zeros(len(pairs), bool)
    for reverse in (True, False):
        some = np.flatnonzero(pairs.is_reverse != reverse)
        found[some] = _share_word(file, pairs.take(some), k, reverse=reverse)
    return found


def _share_word(file: SequenceFile, pairs: Pairs, k: int, *, reverse: bool) -> NDArray[np.bool_]:
    word, step = _choose_word(k)
    words = np.ndarray(
        (max(0, len(file.letters) - word + 1),), f"u{word}", file.letters, strides=(1,)
    )
    lengths = file.lengths[pairs.heads].astype(np.int64)
    first = -(np.minimum(pairs.diagonals, 0) // step) * step
    last = np.minimum(file.lengths[pairs.members], lengths - pairs.diagonals) - word
    counts = np.maximum((last - first) // step + 1, 0)
    ends = np.cumsum(counts)
    steps = np.arange(counts.sum()) * step
    done = (ends - counts) * step
    theirs = words[np.repeat(file.starts[pairs.members] + first - done, counts) + steps]
    place = first + pairs.diagonals
    if reverse:
        place, steps, done = lengths - word - place, -steps, -done
        theirs = _reverse_words(theirs)
    mine = words[np.repeat(file.starts[pairs.heads] + place - done, counts) + steps]
    found = np.zeros(len(pairs), bool)
    found[np.searchsorted(ends, np.flatnonzero(mine == theirs), side="right")] = True
    return found


def _reverse_words(words: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Return the reverse complements of words of A, C, G and T; of other letters, anything.

    A and T differ in the bits 0x15, C and G in 0x04; the bit 0x02 tells the two kinds apart.
    """
    kind = words.dtype.type
    ones = kind(int.from_bytes(b"\1" * words.dtype.itemsize, "little"))
    is_strong = words >> kind(1) & ones
    return (words ^ ones * kind(0x15) ^ is_strong * kind(0x11)).byteswap()


def _is_nearer_reverse(file: SequenceFile, pairs: Pairs) -> NDArray[np.bool_]:
    forward = _count_equal(file, pairs, reverse=False)
    return _count_equal(file, pairs, reverse=True) > forward


def _count_equal(file: SequenceFile, pairs: Pairs, *, reverse: bool) -> NDArray[np.int64]:
    """Count the bases that are equal on the pairs' diagonal of one strand."""
    counts = _count_equal_once(file, pairs, reverse=reverse)
    longest = np.maximum(file.lengths[pairs.heads], file.lengths[pairs.members])
    long = np.flatnonzero(longest >= _DIAGONAL_RANGE // 2)
    for wrap in (-_DIAGONAL_RANGE, _DIAGONAL_RANGE) if len(long) else ():
        part = pairs.take(long)
        part = replace(part, diagonals=part.diagonals + wrap)
        counts[long] += _count_equal_once(file, part, reverse=reverse)
    return counts


def _count_equal_once(file: SequenceFile, pairs: Pairs, *, reverse: bool) -> NDArray[np.int64]:
    lengths = file.lengths[pairs.heads].astype(np.int64)
    first = np.maximum(-pairs.diagonals, 0)
    stop = np.minimum(file.lengths[pairs.members], lengths - pairs.diagonals)
    counts = np.maximum(stop - first, 0)
    ends = np.cumsum(counts)
    steps, done = np.arange(counts.sum()), ends - counts
    theirs = file.letters[np.repeat(file.starts[pairs.members] + first - done, counts) + steps]
    place = first + pairs.diagonals
    if reverse:
        place, steps, done = lengths - 1 - place, -steps, -done
    mine = file.letters[np.repeat(file.starts[pairs.heads] + place - done, counts) + steps]
    mine = _COMPLEMENT[mine] if reverse else _OTHER_BASE[mine]
    equal = np.cumsum(np.append(False, mine == _BASE[theirs]))
    return equal[ends] - equal[ends - counts]


def _iter_chunks(sizes: NDArray[np.integer]) -> Iterator[slice]:
    """Cut rows into parts of bounded size; a row that is too large stands alone."""
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _CHUNK_ITEMS, side="right"))
        yield slice(start, max(stop, start + 1))
        start = max(stop, start + 1)
