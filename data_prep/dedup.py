"""Exact duplicates, found by 128-bit hashes, in memory that does not grow with the records.

Two of 36 million different sequences share a hash with probability 2e-24. Rows of 24 bytes a record
go to files on disk by the first bits of their hash, and each file is sorted by itself in about 90
bytes a row: 0.2 GB for the two million records of a part. Copies of one sequence are in one part.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

DIGEST_BYTES = 16
PART_RECORDS = 1 << 21
MAX_PARTS = 512  # each is an open file

COMPLEMENTS = bytes.maketrans(b"ACGURYKMBVDH", b"UGCAYRMKVBHD")
"""Of RNA's letters; S, W and N are their own, and so is I, which pairs with three others."""

ROW = np.dtype([("high", np.uint64), ("low", np.uint64), ("tag", np.int64)])
"""A record as the partition holds it; `tag` is its index shifted, a flag, its RNA type's rank."""
RANK, FLIPPED, INDEX_SHIFT = 3, 4, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class DedupConfig:
    """Which sequences count as one."""

    reverse_complement: bool = False
    """Whether a sequence and its reverse complement do; the strand of the kept record stays."""


def hash_sequence(sequence: bytes) -> bytes:
    """Return the 128-bit XXH3 hash of a normalised sequence; T and U are one by then."""
    return xxhash.xxh3_128_digest(sequence)


def hash_sequences(letters: NDArray[np.uint8], ends: NDArray[np.int64]) -> bytes:
    """Return the hashes of a block's sequences, joined; a quarter of BLAKE2b's time."""
    text, stops = letters.tobytes(), ends.tolist()
    hash_one = xxhash.xxh3_128_digest
    return b"".join([hash_one(text[i:j]) for i, j in zip([0, *stops[:-1]], stops, strict=False)])


def hash_reverse_complements(letters: NDArray[np.uint8], ends: NDArray[np.int64]) -> bytes:
    """Return the hashes of the other strand of a block's sequences, in the order of the block."""
    # The block read backwards is the block's records backwards, the last one first.
    reverse = np.frombuffer(letters.tobytes().translate(COMPLEMENTS), np.uint8)[::-1]
    lengths = np.diff(ends, prepend=0)
    hashes = hash_sequences(reverse, np.cumsum(lengths[::-1]))
    return np.frombuffer(hashes, f"V{DIGEST_BYTES}")[::-1].tobytes()


def view_digests(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """Return the digests of a batch that is whole, as one row of bytes."""
    assert batch.column("digest").offset == 0
    buffer = batch.column("digest").buffers()[1]
    return np.frombuffer(buffer, np.uint8)[: DIGEST_BYTES * batch.num_rows]


def make_rows(
    digests: bytes,
    type_ranks: NDArray[np.int64],
    first: int,
    *,
    other_strand: bytes | None = None,
) -> NDArray[np.void]:
    """Return one row a record, numbered from `first`; of two strands the lower hash is the key.

    `type_ranks` are those of `rank_type`.
    """
    rows = np.empty(len(type_ranks), ROW)
    rows["high"], rows["low"] = _split_digests(digests)
    rows["tag"] = (np.arange(first, first + len(rows)) << INDEX_SHIFT) + type_ranks
    if other_strand is not None:
        high, low = _split_digests(other_strand)
        is_lower = (high < rows["high"]) | ((high == rows["high"]) & (low < rows["low"]))
        rows["high"][is_lower], rows["low"][is_lower] = high[is_lower], low[is_lower]
        rows["tag"][is_lower] += FLIPPED
    return rows


def join_keys(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    """Return the rows' keys as digests are written: rows, 16."""
    keys = np.stack([rows["high"], rows["low"]], axis=1).astype(">u8")
    return keys.view(np.uint8).reshape(-1, DIGEST_BYTES)


def write_parts(blocks: Iterable[NDArray[np.void]], num_records: int, folder: Path) -> list[Path]:
    """Write the rows of all blocks in parts, each of which holds what sorts before the next.

    Rows of a part are in the order of the input; a record takes 24 bytes of `folder`.
    """
    num_parts = min(-(-num_records // PART_RECORDS), MAX_PARTS)
    paths = [folder / f"part-{number:03}.rows" for number in range(num_parts)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for rows in blocks:
            part = ((rows["high"] >> np.uint64(48)) * num_parts) >> np.uint64(16)
            by_part = rows[np.argsort(part, kind="stable")]
            ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=num_parts))
            for file, piece in zip(files, np.split(by_part, ends[:-1]), strict=True):
                piece.tofile(file)
    return paths


def take_rows(rows: NDArray[np.void], places: NDArray[np.int64]) -> NDArray[np.void]:
    """Return some rows, copied as plain numbers: NumPy copies records one by one."""
    numbers = rows.view(np.uint64).reshape(-1, ROW.itemsize // 8)
    return np.take(numbers, places, axis=0).view(ROW).ravel()


def sort_rows(rows: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Return the rows in the order of their keys, and which is the first of its key: the kept one.

    Of several, the one whose RNA type tells most comes first, else the first of the input. The
    order of the keys depends on the sequences alone, so that nothing after this depends on the
    order of files and records.
    """
    order = np.argsort(rows["high"])  # a seventh of the time of sorting by all keys
    high = rows["high"][order]
    is_same = high[1:] == high[:-1]
    is_tied = np.zeros(len(rows), bool)
    is_tied[1:] |= is_same
    is_tied[:-1] |= is_same
    tied = order[is_tied]
    ties = take_rows(rows, tied)
    by_all = np.lexsort((ties["tag"] >> INDEX_SHIFT, ties["tag"] & RANK, ties["low"], ties["high"]))
    order[is_tied] = tied[by_all]
    rows = take_rows(rows, order)
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
    return rows, is_first


def _split_digests(digests: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2).T
