"""Clusters of RNAs too short for MMseqs2's 17-mers: ungapped overlaps with few mismatches.

Greedy by length, then by position: a sequence joins the first representative that it matches, else
becomes one. Any two that match share a word with gaps where their mismatches are (`spaced_words`),
so that words find all pairs, and the result is the one that comparing everything would give.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alignment import Criteria
from .spaced_words import Pattern, choose_pattern, number_words

_MAX_HITS = 1 << 22
_MAX_NT = 63
_BASES = (b"A", b"C", b"G", b"TU")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortConfig:
    """Which sequences go past MMseqs2, and what they may differ in."""

    max_nt: int = 25
    """Sequences shorter than this are clustered here; 0 or 1 leaves all to MMseqs2."""
    max_mismatches: int = 1
    """Most mismatches of an overlap, beside `min_seq_id`: at 22 nt, 70 % identity is chance."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_nt <= 40:
            raise ValueError(f"cluster.short.max_nt must be in 0..40, got {self.max_nt}")
        if not 0 <= self.max_mismatches <= 3:
            raise ValueError(
                f"cluster.short.max_mismatches must be in 0..3, got {self.max_mismatches}"
            )

    def compute_host_nt(self, coverage: float) -> int:
        """Return the length of the longest representative that a short sequence may join."""
        return min(_MAX_NT, int((self.max_nt - 1) / coverage + 1e-9))


def cluster_short(
    sequences: Sequence[bytes],
    is_given: NDArray[np.bool_],
    config: ShortConfig,
    criteria: Criteria,
) -> NDArray[np.int64]:
    """Return each sequence's representative by index; the `is_given` are representatives already.

    Of equal lengths, the given come first, then the lower index. An ambiguous letter matches
    nothing.
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    order = np.lexsort((np.arange(len(sequences)), ~is_given, -lengths))
    search = _Search([sequences[i] for i in order], ~is_given[order], config, criteria)
    found = np.empty(len(order), np.int64)
    found[order] = order[search.run()]
    return found


class _Search:
    """Sequences in order; `heads` fills up with the place of each one's representative."""

    def __init__(
        self,
        sequences: Sequence[bytes],
        is_free: NDArray[np.bool_],
        config: ShortConfig,
        criteria: Criteria,
    ) -> None:
        self.config, self.criteria = config, criteria
        self.is_free = is_free
        """Neither given nor joined: may still join."""
        self.heads = np.arange(len(sequences))
        self.lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        self._letters = np.frombuffer(b"\n".join([*sequences, b""]), np.uint8)
        self._starts = np.cumsum(self.lengths + 1) - self.lengths - 1
        self._masks = self._build_masks()

    def run(self) -> NDArray[np.int64]:
        """Let every length, from the longest, take members of its own length and of shorter."""
        classes = {
            int(length): np.flatnonzero(self.lengths == length)
            for length in np.unique(self.lengths)[::-1]
        }
        for head_length, heads in classes.items():
            for length, members in classes.items():
                if length <= head_length and (overlaps := self._list_overlaps(head_length, length)):
                    self._join(heads, members, choose_pattern(overlaps))
        return self.heads

    def _list_overlaps(self, head_length: int, length: int) -> dict[int, int]:
        """Return the overlaps of a head and a member that cover enough, and their mismatches."""
        least = self.criteria.coverage * length - 1e-9
        return {
            overlap: int(self._allow(np.array(overlap)))
            for overlap in range(1, length + 1)
            if overlap >= least and self.criteria.are_covered(overlap, overlap, head_length, length)
        }

    def _allow(self, overlap: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the most mismatches that an overlap may have."""
        by_identity = np.floor((1 - self.criteria.min_seq_id) * overlap + 1e-9).astype(np.int64)
        return np.minimum(by_identity, self.config.max_mismatches)

    def _join(self, heads: NDArray[np.int64], members: NDArray[np.int64], word: Pattern) -> None:
        """Join free members to the first head that they match; a joined head takes none."""
        waiting = heads
        while len(waiting):
            members = members[self.is_free[members]]
            waiting = waiting[self.heads[waiting] == waiting]
            if not len(members) or not len(waiting):
                return
            codes, owners, places = self._index(members, word)
            done = 0
            for block, pairs in self._iter_pairs(waiting, codes, owners, places, word):
                self._take(*pairs)
                done = block
                if 2 * np.count_nonzero(self.is_free[members]) < len(members):
                    break  # most of the index has joined: a new one is shorter
            waiting = waiting[done:]

    def _iter_pairs(
        self,
        heads: NDArray[np.int64],
        codes: NDArray[np.uint32],
        owners: NDArray[np.int64],
        places: NDArray[np.int64],
        word: Pattern,
    ) -> Iterator[tuple[int, tuple[NDArray[np.int64], NDArray[np.int64]]]]:
        """Yield matching heads and members, some heads at a time, and how many heads are done."""
        head_codes, head_owners, head_places = self._index(heads, word, in_order=True)
        low, hits = _find_runs(codes, head_codes, len(word))
        rows = np.searchsorted(heads, head_owners)  # heads are places, in order
        total = np.cumsum(np.bincount(rows, hits, minlength=len(heads)))
        start = 0
        while start < len(heads):
            before = total[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(total, before + _MAX_HITS, side="right")))
            words = slice(*np.searchsorted(rows, [start, stop]))
            words = words.start + np.flatnonzero(hits[words])
            is_head = self.heads[head_owners[words]] == head_owners[words]
            counts = np.where(is_head, hits[words], 0)
            steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            places_hit = np.repeat(low[words], counts) + steps
            head = np.repeat(head_owners[words], counts)
            member = owners[places_hit]
            shift = np.repeat(head_places[words], counts) - places[places_hit]
            is_new = (member > head) & self.is_free[member]
            head, member, shift = head[is_new], member[is_new], shift[is_new]
            is_match = self._compare(head, member, shift)
            yield stop, (head[is_match], member[is_match])
            start = stop

    def _compare(
        self, head: NDArray[np.int64], member: NDArray[np.int64], shift: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which members match when their first letter lies under the head's `shift`."""
        right = np.maximum(shift, 0).astype(np.uint64)[:, None]
        left = np.maximum(-shift, 0).astype(np.uint64)[:, None]
        same = self._masks[head] & (self._masks[member] << right >> left)
        matches = np.bitwise_count(np.bitwise_or.reduce(same, axis=1)).astype(np.int64)
        sizes, others = self.lengths[head], self.lengths[member]
        overlap = np.minimum(sizes, shift + others) - np.maximum(shift, 0)
        covered = self.criteria.are_covered(overlap, overlap, sizes, others)
        covered &= overlap >= self.criteria.coverage * others - 1e-9
        return covered & (overlap - matches <= self._allow(overlap))

    def _take(self, head: NDArray[np.int64], member: NDArray[np.int64]) -> None:
        """Let heads take their members in order: who has been taken is no head."""
        order = np.lexsort((member, head))
        head, member = head[order], member[order]
        firsts, starts = np.unique(head, return_index=True)
        stops = np.append(starts, len(head))[1:]
        for place, start, stop in zip(firsts, starts, stops, strict=True):
            if self.heads[place] == place:
                taken = member[start:stop]
                taken = taken[self.is_free[taken]]
                self.heads[taken] = place
                self.is_free[taken] = False

    def _index(
        self, places: NDArray[np.int64], word: Pattern, *, in_order: bool = False
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
        """Return the words of sequences of one length, whose they are and where they start."""
        length = int(self.lengths[places[0]])
        letters = self._letters[self._starts[places, None] + np.arange(length)]
        codes, is_word = number_words(letters, word)
        rows, starts = np.nonzero(is_word)
        codes = codes[rows, starts]
        if not in_order:
            order = np.argsort(codes, kind="stable")
            codes, rows, starts = codes[order], rows[order], starts[order]
        return codes, places[rows], starts

    def _build_masks(self) -> NDArray[np.uint64]:
        """Return bits of the places of A, C, G and U: sequences, 4."""
        masks = np.zeros((len(self.lengths), 4), np.uint64)
        for length in np.unique(self.lengths):
            rows = np.flatnonzero(self.lengths == length)
            letters = self._letters[self._starts[rows, None] + np.arange(length)]
            bits = np.uint64(1) << np.arange(length, dtype=np.uint64)
            for column, names in enumerate(_BASES):
                is_base = np.isin(letters, np.frombuffer(names, np.uint8))
                masks[rows, column] = (is_base * bits).sum(axis=1, dtype=np.uint64)
        return masks


def _find_runs(
    codes: NDArray[np.uint32], wanted: NDArray[np.uint32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each wanted word's run begins among the sorted codes, and how long it is."""
    if 4**k > 16 * len(wanted):
        low = np.searchsorted(codes, wanted)
        sizes = np.zeros(len(wanted), np.int64)
        there = np.flatnonzero(np.append(codes, 0)[low] == wanted)
        sizes[there] = np.searchsorted(codes, wanted[there], side="right") - low[there]
        return low, sizes
    # For many words a table of all is read faster than the codes are searched.
    sizes = np.bincount(codes, minlength=4**k)
    return (np.cumsum(sizes) - sizes)[wanted], sizes[wanted]
