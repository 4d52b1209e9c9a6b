"""Local alignments of many pairs at once in NumPy: identity and coverage, without MMseqs2.

Smith-Waterman with affine gaps and MMseqs2's nucleotide scores, one anti-diagonal of all pairs at a
time. Of alignments of one score it is the one that ends last in the query, then in the target, and
that, walked back from its end, prefers a pair of letters to a gap, then the shorter gap, then the
one in the query; where its score is 0 it begins, or goes on with a mismatch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sequence_file import SequenceFile

MATCH, MISMATCH, GAP_OPEN, GAP_EXTEND = 2, -3, 5, 2
MAX_ALIGNED_NT = 4_095
"""Scores fit 16 bits, and the scores of one pair 70 MB."""
_ROUNDING = 1e-6
_BATCH_CELLS = 1 << 15
_BATCH_SCORES = 1 << 25
_COMPLEMENT = bytes.maketrans(b"ACGTURYKMBDHV", b"TGCAAYRMKVHDB")
# Any two that are not equal differ by more than a match and a mismatch do.
_QUERY_CODES, _TARGET_CODES = (np.full(256, other, np.int16) for other in (64, 128))
for _codes in (_QUERY_CODES, _TARGET_CODES):
    _codes[np.frombuffer(b"ACGTU", np.uint8)] = [0, 8, 16, 24, 24]
_QUERY_FILLER, _TARGET_FILLER = 256, 512


Counts = NDArray[np.int64] | int


class Alignments(NamedTuple):
    """The best local alignment of each pair: letters it spans, its columns and its matches."""

    query_nt: NDArray[np.int64]
    target_nt: NDArray[np.int64]
    columns: NDArray[np.int64]
    matches: NDArray[np.int64]


def align_pairs(
    queries: Sequence[NDArray[np.uint8]], targets: Sequence[NDArray[np.uint8]]
) -> Alignments:
    """Align each query to its target, as they stand; an ambiguous letter matches nothing."""
    sizes = [(len(query), len(target)) for query, target in zip(queries, targets, strict=True)]
    longest = max((max(size) for size in sizes), default=0)
    if longest > MAX_ALIGNED_NT:
        raise ValueError(f"alignments take at most {MAX_ALIGNED_NT} nt, got {longest}")
    found = Alignments(*np.zeros((4, len(sizes)), np.int64))
    batches = [
        (
            batch,
            _pad([queries[i] for i in batch], _QUERY_CODES, _QUERY_FILLER),
            _pad([targets[i] for i in batch], _TARGET_CODES, _TARGET_FILLER),
        )
        for batch in _iter_batches(sizes)
    ]
    shapes = [(len(q) + len(t) + 1, len(q) + 1, len(batch)) for batch, q, t in batches]
    # One memory for all: fresh pages take longer than the scores that they hold.
    memory = np.empty(max(map(math.prod, shapes), default=0), np.int16)
    for (batch, query, target), shape in zip(batches, shapes, strict=True):
        scores = memory[: math.prod(shape)].reshape(shape)
        rows, columns = _score(query, target, scores)
        parts = _walk_back(query, target, scores, rows, columns)
        for whole, part in zip(found, parts, strict=True):
            whole[batch] = part
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Criteria:
    """What the alignment of a member to its representative meets, in MMseqs2's words."""

    min_seq_id: float
    coverage: float
    cov_mode: int

    def are_identical(self, matches: Counts, columns: Counts) -> NDArray[np.bool_]:
        """Return which alignments have enough matches."""
        return np.asarray(matches >= self.min_seq_id * columns - _ROUNDING)

    def are_covered(
        self, head_part: Counts, member_part: Counts, head: Counts, member: Counts
    ) -> NDArray[np.bool_]:
        """Return which aligned parts are enough of the lengths; modes 3 to 5 compare lengths."""
        part, whole = (
            (np.minimum(head_part * member, member_part * head), head * member),
            (member_part, member),
            (head_part, head),
            (member, head),
            (head, member),
            (np.minimum(head, member), np.maximum(head, member)),
        )[self.cov_mode]
        return np.asarray(part >= self.coverage * whole - _ROUNDING)

    def can_be_met(self, head: NDArray[np.int64], member: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which lengths allow it: an alignment has no more matches than the shorter."""
        columns = (np.minimum(head, member) + _ROUNDING) / self.min_seq_id
        most = columns.astype(np.int64)
        return self.are_covered(np.minimum(head, most), np.minimum(member, most), head, member)


def align_members(
    file: SequenceFile,
    members: NDArray[np.int64],
    heads: NDArray[np.int64],
    criteria: Criteria,
    *,
    reverse: bool = False,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Align members, or their reverse complements, to representatives (`heads`).

    Return which are identical enough and which are covered enough.
    """
    targets = [file.read(member) for member in members]
    if reverse:
        targets = [_complement_reverse(target) for target in targets]
    found = align_pairs([file.read(head) for head in heads], targets)
    lengths = file.lengths.astype(np.int64)
    return (
        criteria.are_identical(found.matches, found.columns) & (found.columns > 0),
        criteria.are_covered(found.query_nt, found.target_nt, lengths[heads], lengths[members]),
    )


def _iter_batches(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Group pairs of alike lengths, so that little is padded and arrays stay in the cache."""
    batch: list[int] = []
    rows = columns = 0
    # A group's queries are at most a quarter longer than each other.
    order = sorted(range(len(sizes)), key=lambda i: (_group(sizes[i][0]), sizes[i][1]))
    for index in order:
        query, target = sizes[index]
        most_rows, most_columns = max(rows, query), max(columns, target)
        cells = (len(batch) + 1) * (most_rows + 1)
        fits = cells <= _BATCH_CELLS and cells * (most_rows + most_columns) <= _BATCH_SCORES
        is_alike = _group(query) == _group(rows) and target <= columns * 1.25 + 16
        if batch and not (fits and is_alike):
            yield batch
            batch, most_rows, most_columns = [], query, target
        batch.append(index)
        rows, columns = most_rows, most_columns
    if batch:
        yield batch


def _score(
    query: NDArray[np.int16], target: NDArray[np.int16], scores: NDArray[np.int16]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill in the scores of all cells; return each pair's last row and column of the best score.

    Scores are (diagonals, query letters and a border, pairs): that of the i-th and the j-th letter,
    from 1, is at (i + j, i).
    """
    rows, pairs = query.shape
    columns = len(target)
    target = target[::-1]
    scores[:, 0] = 0
    scores[range(rows + 1), range(rows + 1)] = 0
    along, down, free, step = (np.full((rows + 1, pairs), -9_999, np.int16) for _ in range(4))
    # NumPy's minimum and maximum of two arrays are four times as fast as those with a number.
    best, nothing = (np.zeros((rows + 1, pairs), np.int16) for _ in range(2))
    dearest = nothing + (MATCH - MISMATCH)
    for diagonal in range(2, rows + columns + 1):
        first, stop = max(1, diagonal - columns), min(rows, diagonal - 1) + 1
        here, above = slice(first, stop), slice(first - 1, stop - 1)
        shift = columns - diagonal
        now, opened, cost = scores[diagonal, here], free[first - 1 : stop], step[here]
        np.subtract(scores[diagonal - 1, first - 1 : stop], GAP_OPEN, out=opened)
        left, up = along[here], down[here]
        np.subtract(left, GAP_EXTEND, out=left)
        np.maximum(left, opened[1:], out=left)
        np.subtract(down[above], GAP_EXTEND, out=up)
        np.maximum(up, opened[:-1], out=up)
        np.bitwise_xor(query[above], target[first + shift : stop + shift], out=cost)
        np.minimum(cost, dearest[here], out=cost)
        np.subtract(scores[diagonal - 2, above], cost, out=now)
        np.add(now, MATCH, out=now)
        np.maximum(now, left, out=now)
        np.maximum(now, up, out=now)
        np.maximum(now, nothing[here], out=now)
        np.maximum(best[here], now, out=best[here])
    highest = best.max(axis=0)
    row = rows - np.argmax(best[::-1] == highest, axis=0)
    column = np.arange(columns, 0, -1)[:, None]
    is_best = scores[row + column, row, np.arange(pairs)] == highest
    return row, columns - np.argmax(is_best, axis=0)


def _walk_back(
    query: NDArray[np.int16],
    target: NDArray[np.int16],
    scores: NDArray[np.int16],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> Alignments:
    """Follow each pair's alignment from the cell of its end to its beginning."""
    pairs = len(rows)
    down, across = scores.shape[1] * pairs + pairs, scores.shape[1] * pairs  # a cell up, or left
    query, target, scores = query.ravel(), target.ravel(), scores.ravel()
    found = Alignments(*np.zeros((4, pairs), np.int64))
    pair = np.arange(pairs)
    row, column, gap = rows.copy(), columns.copy(), np.zeros(pairs, np.int64)
    place = row * down + column * across + pair
    score = scores[place]
    while len(pair):
        before = scores[np.maximum(place - down - across, 0)]
        is_on = (row > 0) & (column > 0) & ((score > 0) | (before == -MISMATCH))
        if not is_on.all():
            done = pair[~is_on]
            found.query_nt[done] = rows[done] - row[~is_on]
            found.target_nt[done] = columns[done] - column[~is_on]
            pair, row, column, gap = pair[is_on], row[is_on], column[is_on], gap[is_on]
            place, score, before = place[is_on], score[is_on], before[is_on]
        is_same = query[row * pairs - pairs + pair] == target[column * pairs - pairs + pair]
        is_pair = (before + np.where(is_same, MATCH, MISMATCH) == score) & (gap == 0)
        found.matches[pair] += is_same & is_pair
        up = left = is_pair.astype(np.int64)
        if not is_pair.all():
            # Where the letters' pair does not give the score, longer and longer gaps are tried.
            before_gap = score + GAP_OPEN + GAP_EXTEND * (gap - 1)
            is_left, is_up = (gap > 0) & (gap < column), (gap > 0) & (gap < row)
            is_left &= scores[np.maximum(place - gap * across, 0)] == before_gap
            is_up &= (scores[np.maximum(place - gap * down, 0)] == before_gap) & ~is_left
            up, left = up + is_up * gap, left + is_left * gap
            gap = np.where(up + left > 0, 0, gap + 1)
        found.columns[pair] += np.maximum(up, left)
        row, column, place = row - up, column - left, place - up * down - left * across
        score = scores[place]
    return found


def _group(length: int) -> int:
    return int(np.log(length + 1) / np.log(1.25))


def _pad(
    sequences: Sequence[NDArray[np.uint8]], codes: NDArray[np.int16], filler: int
) -> NDArray[np.int16]:
    """Return letters as numbers: (places, sequences)."""
    width = max(map(len, sequences))
    padded = np.full((len(sequences), width), filler, np.int16)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = codes[sequence]
    return np.ascontiguousarray(padded.T)


def _complement_reverse(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(letters.tobytes().translate(_COMPLEMENT)[::-1], np.uint8)
