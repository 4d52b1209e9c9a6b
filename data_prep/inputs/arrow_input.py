"""Parquet and Arrow IPC (file, stream, Feather, our own shards) as blocks of records."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..shards import UNKNOWN_RNA_TYPE
from .blocks import RecordBlock

logger = logging.getLogger(__name__)

SLICE_ROWS = 8_192
BLOCK_LETTERS = 8 * 2**20
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_BYTES_OF_TEXT = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
"""What each type of text is without the promise of UTF-8, in the same layout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatConfig:
    """Which columns of a table hold what."""

    sequence_column: str = "sequence"
    id_column: str | None = None
    """By default `id` where the table has it; records without one are named by their number."""
    rna_type_column: str | None = None
    """By default `rna_type` where the table has it."""


class _Columns(NamedTuple):
    sequence: str
    id: str | None
    rna_type: str | None
    source: str | None


class _Slice(NamedTuple):
    """What some rows hold; what is null is empty, or no type."""

    ids: list[bytes]
    rna_types: list[bytes | None]
    sources: list[bytes] | None
    letters: bytes
    lengths: np.ndarray


def iter_parquet_blocks(
    path: Path, on_read: Callable[[int], object] = int, *, config: FormatConfig | None = None
) -> Iterator[RecordBlock]:
    """Yield the rows of a Parquet file, row group by row group."""
    with _naming(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        columns = _choose_columns(path, file.schema_arrow, config or FormatConfig())
        names = [name for name in columns if name]
        batches = file.iter_batches(batch_size=SLICE_ROWS, columns=names, use_threads=False)
        yield from _iter_blocks(path, batches, columns, on_read, file.metadata.num_rows)


def iter_arrow_blocks(
    path: Path,
    on_read: Callable[[int], object] = int,
    *,
    config: FormatConfig | None = None,
    source_column: str | None = None,
) -> Iterator[RecordBlock]:
    """Yield the rows of an Arrow IPC file or stream; both are mapped, not read into memory.

    `source_column`, which only prepared data has, says where each record was read first.
    """
    with _naming(path), pa.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(source)
            schema = reader.schema
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            source.seek(max(0, source.size() - len(END_OF_STREAM)))
            if source.read() != END_OF_STREAM:
                raise ValueError("the Arrow stream ends early")
            source.seek(0)
            batches = pa.ipc.open_stream(source)
            schema = batches.schema
        columns = _choose_columns(path, schema, config or FormatConfig())
        columns = columns._replace(source=source_column)
        yield from _iter_blocks(path, batches, columns, on_read, None)


class _naming:  # noqa: N801
    """A context that puts the file and the cure before what Arrow says of a damaged one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        damaged = isinstance(error, (ValueError, OSError, pa.ArrowException, MemoryError))
        if damaged and str(self._path) not in str(error):
            words = " ".join(str(error).split())
            raise ValueError(f"{self._path}: {words}: get it again, or write it anew") from error


def _choose_columns(path: Path, schema: pa.Schema, config: FormatConfig) -> _Columns:
    wanted = (
        (config.sequence_column, True, "--sequence-column"),
        (config.id_column or "id", config.id_column is not None, "--id-column"),
        (config.rna_type_column or "rna_type", config.rna_type_column is not None, "--type-column"),
    )
    found: list[str | None] = []
    for name, needed, flag in wanted:
        if needed and name not in schema.names:
            raise ValueError(
                f"{path}: no column {name!r} among {', '.join(schema.names) or 'none'}; name it "
                f"with {flag}"
            )
        if schema.names.count(name) > 1:
            raise ValueError(f"{path}: {schema.names.count(name)} columns {name!r}: rename one")
        found.append(name if name in schema.names else None)
        if found[-1] and not _is_usable(schema.field(name).type, flag):
            wrong = f"{path}: column {name!r} holds {schema.field(name).type}, not text"
            if needed:
                raise ValueError(f"{wrong}; name another with {flag}")
            logger.warning("%s: it is not read; name another with %s", wrong, flag)
            found[-1] = None
    sequence, identifier, rna_type = found
    assert sequence is not None
    return _Columns(sequence, identifier, rna_type, None)


def _is_usable(kind: pa.DataType, flag: str) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = [
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    ]  # fmt: skip
    if flag != "--sequence-column":
        tests.append(pa.types.is_null)  # what pandas makes of a column without a value
    if flag == "--id-column":
        tests.append(pa.types.is_integer)
    return any(test(kind) for test in tests)


def _iter_blocks(
    path: Path,
    batches: Any,
    columns: _Columns,
    on_read: Callable[[int], object],
    num_rows: int | None,
) -> Iterator[RecordBlock]:
    """Join slices of rows to blocks; bytes are heard of by the share of rows, or at the end."""
    size, heard, done = path.stat().st_size, 0, 0
    slices: list[_Slice] = []
    letters, next_row = 0, 1
    for batch in batches:
        for start in range(0, batch.num_rows, SLICE_ROWS):
            try:
                slices.append(_take(batch.slice(start, SLICE_ROWS), columns))
            except pa.ArrowException as error:
                raise ValueError(f"among the {SLICE_ROWS} rows from {next_row}: {error}") from error
            letters += len(slices[-1].letters)
            next_row += len(slices[-1].ids)
            if letters >= BLOCK_LETTERS:
                yield (block := _join(slices, done + 1))
                done, slices, letters = done + len(block.ids), [], 0
                if num_rows:
                    on_read((now := size * done // num_rows) - heard)
                    heard = now
    if slices:
        yield (block := _join(slices, done + 1))
        done += len(block.ids)
    if not done:
        raise ValueError(f"{path}: holds no row; remove it from the inputs")
    on_read(size - heard)


def _take(batch: pa.RecordBatch, columns: _Columns) -> _Slice:
    array = pc.fill_null(_to_binary(batch.column(columns.sequence)), b"")
    _, offsets, values = array.buffers()
    ends = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    letters = b"" if values is None else bytes(memoryview(values)[ends[0] : ends[-1]])

    def list_values(name: str | None) -> list[bytes | None]:
        return _to_binary(batch.column(name)).to_pylist() if name else [None] * batch.num_rows

    unknown = (b"", UNKNOWN_RNA_TYPE.encode())
    return _Slice(
        ids=[value or b"" for value in list_values(columns.id)],
        rna_types=[None if t in unknown else t for t in list_values(columns.rna_type)],
        sources=[s or b"" for s in list_values(columns.source)] if columns.source else None,
        letters=letters,
        lengths=np.diff(ends),
    )


def _to_binary(array: pa.Array) -> pa.Array:
    """Return the values as bytes: whether text is UTF-8 is judged where it is decoded."""
    if pa.types.is_dictionary(array.type):
        words = _to_binary(array.dictionary)
        array = pa.DictionaryArray.from_arrays(array.indices, words, safe=False)
    if array.type in _BYTES_OF_TEXT:
        array = array.view(_BYTES_OF_TEXT[array.type])
    array.validate(full=True)  # damaged offsets are addresses in memory
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.large_binary())


def _join(slices: list[_Slice], first_number: int) -> RecordBlock:
    sources = [part.sources for part in slices if part.sources is not None]
    return RecordBlock(
        ids=[value for part in slices for value in part.ids],
        rna_types=[value for part in slices for value in part.rna_types],
        letters=np.frombuffer(b"".join(part.letters for part in slices), np.uint8),
        ends=np.cumsum(np.concatenate([part.lengths for part in slices]), dtype=np.int64),
        first_number=first_number,
        sources=[value for part in sources for value in part] if sources else None,
    )
