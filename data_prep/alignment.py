"""Local alignments of many pairs at once in NumPy: identity and coverage, without MMseqs2.

Smith-Waterman with affine gaps and MMseqs2's nucleotide scores, one anti-diagonal of all pairs at a
time. What an alignment consists of travels in its score's lower bits, so that no path is traced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sequence_file import SequenceFile

MATCH, MISMATCH, GAP_OPEN, GAP_EXTEND = 2, -3, 5, 2
MAX_ALIGNED_NT = 4_095
"""What the twelve bits of each count can say."""
_ROUNDING = 1e-6
_BITS = 12
_TARGET, _QUERY, _PAIRS, _MATCHES, _SCORE = (1 << shift * _BITS for shift in range(5))
_BATCH_CELLS = 1 << 14
_COMPLEMENT = bytes.maketrans(b"ACGTURYKMBDHV", b"TGCAAYRMKVHDB")
_CODES = np.full(256, 4, np.uint8)
_CODES[np.frombuffer(b"ACGTU", np.uint8)] = [0, 1, 2, 3, 3]


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
    packed = np.zeros(len(sizes), np.int64)
    for batch in _iter_batches(sizes):
        packed[batch] = _align_batch([queries[i] for i in batch], [targets[i] for i in batch])
    counts = [packed >> shift * _BITS & (1 << _BITS) - 1 for shift in range(4)]
    target_nt, query_nt, pairs, matches = counts
    return Alignments(query_nt, target_nt, query_nt + target_nt - pairs, matches)


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
    first = 0, 0
    for index in sorted(range(len(sizes)), key=lambda i: (sizes[i][0] // 16, sizes[i][1])):
        query, target = sizes[index]
        is_alike = query // 16 == first[0] // 16 and target <= first[1] * 1.2 + 16
        if batch and not (is_alike and (len(batch) + 1) * query <= _BATCH_CELLS):
            yield batch
            batch = []
        if not batch:
            first = query, target
        batch.append(index)
    if batch:
        yield batch


def _align_batch(
    queries: Sequence[NDArray[np.uint8]], targets: Sequence[NDArray[np.uint8]]
) -> NDArray[np.int64]:
    """Return each pair's best packed score: arrays are (pairs, query letters plus a border)."""
    query = _pad(queries, 5)
    target = _pad(targets, 6)[:, ::-1]
    pairs, rows = query.shape
    columns = target.shape[1]
    if max(rows, columns) > MAX_ALIGNED_NT:
        raise ValueError(f"alignments take at most {MAX_ALIGNED_NT} nt, got {max(rows, columns)}")
    hit = MATCH * _SCORE + _MATCHES + _PAIRS + _QUERY + _TARGET
    miss = MISMATCH * _SCORE + _PAIRS + _QUERY + _TARGET
    opened, extended = GAP_OPEN * _SCORE, GAP_EXTEND * _SCORE
    shape = pairs, rows + 1
    before, last, best = (np.zeros(shape, np.int64) for _ in range(3))
    along, down = (np.full(shape, -(1 << 60), np.int64) for _ in range(2))
    for diagonal in range(rows + columns - 1):
        first, stop = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        here, above = slice(first + 1, stop + 1), slice(first, stop)
        shift = columns - 1 - diagonal
        letters = target[:, first + shift : stop + shift]
        same = (query[:, first:stop] == letters) & (letters < 4)
        e = np.maximum(last[:, here] - opened, along[:, here] - extended) + _TARGET
        f = np.maximum(last[:, above] - opened, down[:, above] - extended) + _QUERY
        h = before[:, above] + np.where(same, hit, miss)
        np.maximum(h, e, out=h)
        np.maximum(h, f, out=h)
        np.maximum(h, 0, out=h)
        along[:, here], down[:, here] = e, f
        before[:, here] = h
        np.maximum(best[:, here], h, out=best[:, here])
        before, last = last, before
    return best.max(axis=1)


def _pad(sequences: Sequence[NDArray[np.uint8]], filler: int) -> NDArray[np.uint8]:
    width = max(1, *(len(sequence) for sequence in sequences)) if sequences else 1
    padded = np.full((len(sequences), width), filler, np.uint8)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = _CODES[sequence]
    return padded


def _complement_reverse(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(letters.tobytes().translate(_COMPLEMENT)[::-1], np.uint8)
