"""MMseqs2's k-mer matches, made the same in every run.

`kmermatcher` says for each pair on which diagonal, and on which strand, their k-mers lie. It sorts
with pivots drawn from the machine's entropy and compares without the strand: where a pair shares
k-mers on one diagonal of both strands, as hairpins do, chance says which strand is written. Such
pairs are found here, and given the strand on which more letters are equal, forward if as many.
Pairs that match forward without doubt are written down beside it: they need no second look.
"""

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray
from tqdm import tqdm

from .diagonal_strands import Pairs, find_ambiguous, settle_strands
from .sequence_file import SequenceFile

LEAST_K = 17
"""MMseqs2's least k-mer length for linclust where none is asked for."""
_INDEX_BYTES = 1 << 21
_CHUNK_PAIRS = 1 << 20
_NEWLINE, _TAB, _MINUS = b"\n\t-"
_TABS = pyarrow.csv.ParseOptions(delimiter="\t")
_PLAIN = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


def settle_matches(
    file: SequenceFile, source: Path, target: Path, forward: Path, k: int, *, threads: int = 1
) -> int:
    """Copy kmermatcher's result with its strands settled; return how many pairs were in doubt.

    `forward` takes the pairs that are forward without doubt, as numbers of 32 bits. `k` is a length
    that the k-mers have at least. No result is held in memory.
    """
    is_ambiguous = find_ambiguous(file)
    columns = {"key": pyarrow.int64(), "start": pyarrow.int64(), "size": pyarrow.int64()}
    matches = np.memmap(source, np.uint8, mode="r")
    read = written = doubtful = 0
    with (
        pyarrow.csv.open_csv(
            _name_index(source),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(columns), block_size=_INDEX_BYTES
            ),
            parse_options=_TABS,
            convert_options=pyarrow.csv.ConvertOptions(column_types=columns),
        ) as index,
        target.open("wb") as data,
        forward.open("wb") as forward_pairs,
        pyarrow.csv.CSVWriter(
            _name_index(target), pyarrow.schema(columns), write_options=_PLAIN
        ) as writer,
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(matches), desc="k-mer matches", unit="B", disable=None) as bar,
    ):
        for batch in index:
            keys, starts, sizes = (column.to_numpy() for column in batch.columns)
            stops = np.cumsum(sizes)
            assert np.array_equal(starts, read + stops - sizes), "kmermatcher's index has gaps"
            part = matches[read : read + int(stops[-1])]
            read += len(part)
            part, grown, found, pairs = _settle_part(file, part, keys, stops, is_ambiguous, k, pool)
            data.write(part.tobytes())
            forward_pairs.write(pairs.tobytes())
            sizes = sizes + grown
            rows = [keys, written + np.cumsum(sizes) - sizes, sizes]
            writer.write_table(pyarrow.table(dict(zip(columns, rows, strict=True))))
            written += len(part)
            doubtful += found
            bar.update(read - bar.n)
    target.with_name(f"{target.name}.dbtype").write_bytes(
        source.with_name(f"{source.name}.dbtype").read_bytes()
    )
    return doubtful


def find_forward_members(forward: Path, representatives: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which sequences match their representative forward by the pairs written down."""
    is_forward = np.zeros(len(representatives), bool)
    with forward.open("rb") as file:
        while len(pairs := np.fromfile(file, np.int32, 2 * _CHUNK_PAIRS)):
            for head, member in (pairs.reshape(-1, 2).T, pairs.reshape(-1, 2).T[::-1]):
                is_forward[member[representatives[member] == head]] = True
    return is_forward


def _settle_part(
    file: SequenceFile,
    part: NDArray[np.uint8],
    keys: NDArray[np.int64],
    stops: NDArray[np.int64],
    is_ambiguous: NDArray[np.bool_],
    k: int,
    pool: Executor,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, NDArray[np.int32]]:
    """Return some entries with their strands settled, the bytes each grew by, how many doubts.

    And the pairs that are forward without doubt: pairs, 2.
    """
    table = pyarrow.csv.read_csv(
        pyarrow.BufferReader(part.tobytes().translate(None, b"\0")),
        read_options=pyarrow.csv.ReadOptions(column_names=["member", "score", "diagonal"]),
        parse_options=_TABS,
    )
    entry_ends = np.searchsorted(np.flatnonzero(part == _NEWLINE), stops)
    entries = np.repeat(np.arange(len(keys)), np.diff(entry_ends, prepend=0))
    signs = np.flatnonzero(part == _TAB)[::2] + 1
    pairs = Pairs(
        heads=keys[entries],
        members=table.column("member").to_numpy(),
        diagonals=table.column("diagonal").to_numpy(),
        is_reverse=part[signs] == _MINUS,
    )
    others = np.flatnonzero(pairs.heads != pairs.members)
    settled, is_doubtful = settle_strands(file, pairs.take(others), is_ambiguous, k, pool)
    is_changed = settled != pairs.is_reverse[others]
    dropped, added = others[is_changed & ~settled], others[is_changed & settled]
    at = signs[added] - np.searchsorted(signs[dropped], signs[added])
    part = np.insert(np.delete(part, signs[dropped]), at, _MINUS)
    grown = np.bincount(entries[added], minlength=len(keys))
    grown -= np.bincount(entries[dropped], minlength=len(keys))
    forward = others[~settled & ~is_doubtful]
    forward = np.stack([pairs.heads[forward], pairs.members[forward]], axis=1, dtype=np.int32)
    return part, grown, int(np.count_nonzero(is_doubtful)), forward


def _name_index(database: Path) -> Path:
    return database.with_name(f"{database.name}.index")
