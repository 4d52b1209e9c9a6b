"""The first step: any inputs to one Arrow file of the records that pass the filters.

Memory is that of a few blocks and one batch, whatever the inputs hold, and of the metadata table.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from .config import DataConfig
from .dedup import DIGEST_BYTES, hash_sequences
from .engine import LOCAL_ENGINE, Engine
from .filters import REJECT_REASONS, FilterConfig, find_reject_reasons, normalise, select_records
from .inputs.blocks import BlockReader, RecordBlock
from .inputs.fasta import iter_fasta_blocks
from .lengths import LENGTH_EDGES_NT, count_lengths
from .metadata import read_rna_types
from .rna_types import Annotations
from .shards import UNKNOWN_RNA_TYPE, count_bytes, hash_file
from .type_words import NO_TYPE_RANK, choose_types, rank_type

RECORDS_NAME = "records.arrow"
UNKNOWN_NUMBER = 0
BATCH_BYTES = 32_000_000
BATCH_RECORDS = 131_072
EXAMPLES_PER_REASON = 5
_NO_LETTERS = np.zeros(0, np.uint8)

RECORDS_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.large_binary(), nullable=False),
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
        pa.field("source", pa.int32(), nullable=False),
        pa.field("rna_type", pa.int32(), nullable=False),
    ]
)
"""`source` and `rna_type` are numbers of the report's lists; RNA type 0 is `unknown`."""


class FilteredBlock(NamedTuple):
    """What the filters made of one block; a function of the block and their settings alone."""

    letters: NDArray[np.uint8]
    """Of the accepted records, normalised."""
    ends: NDArray[np.int64]
    digests: bytes
    """Of the accepted records, joined."""
    reasons: NDArray[np.int8]
    """Of every record of the block, as `find_reject_reasons` gives them: 0 is accepted."""
    lengths_as_read: NDArray[np.int64]
    """Records of the block by length after normalising, in the bins of `lengths.py`."""


def filter_block(block: RecordBlock, config: FilterConfig) -> FilteredBlock:
    """Normalise, filter and hash the records of one block."""
    letters, ends = normalise(block.letters, block.ends)
    reasons = find_reject_reasons(letters, ends, config)
    lengths_as_read = count_lengths(np.diff(ends, prepend=0))
    letters, ends = select_records(letters, ends, reasons == 0)
    digests = hash_sequences(letters, ends)
    return FilteredBlock(letters, ends, digests, reasons, lengths_as_read)


def build_records(
    folder: Path,
    config: DataConfig,
    *,
    read_blocks: BlockReader = iter_fasta_blocks,
    engine: Engine = LOCAL_ENGINE,
) -> dict[str, Any]:
    """Write `records.arrow`, duplicates included; return the counts and the lists it refers to."""
    tally = _Tally(config)
    path = folder / RECORDS_NAME
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, RECORDS_SCHEMA) as writer:
        for records in _join_batches(_iter_batches(config, tally, read_blocks, engine)):
            writer.write_table(records, max_chunksize=records.num_rows)
    rejected = {reason: tally.rejected[reason] for reason in REJECT_REASONS}
    if not sum(tally.accepted):
        raise ValueError(
            f"none of the {sum(tally.read)} records of {', '.join(map(str, config.inputs))} "
            f"passed the filters; rejected: {rejected}"
        )
    if config.metadata and not tally.in_metadata:
        raise ValueError(
            f"{config.metadata.path}: column {config.metadata.id_column!r} holds none of the "
            "identifiers of the FASTA headers; name the right one with --metadata-id-column"
        )
    return {
        "read": sum(tally.read),
        "rejected": rejected,
        "rejected_examples": dict(tally.examples),
        "accepted": sum(tally.accepted),
        "accepted_nt": tally.nt,
        "sources": [
            {"source": name, "read": read, "accepted": accepted}
            for name, read, accepted in zip(
                config.source_names, tally.read, tally.accepted, strict=True
            )
        ],
        "source_names": list(tally.source_numbers),
        "lengths_as_read": tally.lengths_as_read.tolist(),
        "rna_types": list(tally.type_numbers),
        "sha256": hash_file(path),
    }


class _Tally:
    """What the step counts and numbers while the blocks go by."""

    def __init__(self, config: DataConfig) -> None:
        self.read = [0] * len(config.inputs)
        self.accepted = [0] * len(config.inputs)
        self.nt = 0
        self.lengths_as_read = np.zeros(len(LENGTH_EDGES_NT), np.int64)
        self.rejected: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)
        self.source_numbers = {name: number for number, name in enumerate(config.source_names)}
        self.type_numbers = {UNKNOWN_RNA_TYPE: UNKNOWN_NUMBER}
        self.in_metadata = 0

    def count(self, source: int, ids: list[bytes], filtered: FilteredBlock) -> None:
        """Count a block's records and keep examples, reasons in the order in which they are met."""
        self.read[source] += len(ids)
        self.accepted[source] += len(filtered.ends)
        self.nt += len(filtered.letters)
        self.lengths_as_read += filtered.lengths_as_read
        examples: list[int] = []
        for number, reason in enumerate(REJECT_REASONS, start=1):
            rows = np.flatnonzero(filtered.reasons == number)
            self.rejected[reason] += len(rows)
            examples += rows[: EXAMPLES_PER_REASON - len(self.examples.get(reason, ()))].tolist()
        for row in sorted(examples):
            reason = REJECT_REASONS[filtered.reasons[row] - 1]
            self.examples[reason].append(ids[row].decode())

    def number_sources(self, sources: list[bytes]) -> NDArray[np.int32]:
        """Return each record's number of `source_numbers`; new ones in the order they are met."""
        numbers = {
            source: self.source_numbers.setdefault(source.decode(), len(self.source_numbers))
            for source in dict.fromkeys(sources)
        }
        return np.fromiter(map(numbers.__getitem__, sources), np.int32, len(sources))

    def number_types(self, rna_types: list[bytes | str | None]) -> NDArray[np.int32]:
        """Return each record's number of `rna_types`, given in the order in which they are met."""
        numbers: dict[bytes | str | None, int] = {}
        for rna_type in dict.fromkeys(rna_types):
            name = rna_type.decode(errors="replace") if isinstance(rna_type, bytes) else rna_type
            if name is None or rank_type(name) == NO_TYPE_RANK:
                name = UNKNOWN_RNA_TYPE
            numbers[rna_type] = self.type_numbers.setdefault(name, len(self.type_numbers))
        return np.fromiter(map(numbers.__getitem__, rna_types), np.int32, len(rna_types))


def _read_input(read_blocks: BlockReader, path: Path) -> Iterator[tuple[RecordBlock, int]]:
    """Yield the blocks of one input, and how many bytes of it were read for each."""
    sizes: list[int] = []
    for block in read_blocks(path, sizes.append):
        yield block, sum(sizes)
        sizes.clear()


def _filter_read(
    config: FilterConfig, read: tuple[RecordBlock, int]
) -> tuple[RecordBlock, FilteredBlock, int]:
    """Return the block without its raw letters, what the filters made of it, and bytes read."""
    block, num_bytes = read
    return block._replace(letters=_NO_LETTERS), filter_block(block, config), num_bytes


def _iter_batches(
    config: DataConfig, tally: _Tally, read_blocks: BlockReader, engine: Engine
) -> Iterator[pa.RecordBatch]:
    """Yield the accepted records of each block."""
    metadata = read_rna_types(config.metadata) if config.metadata else None
    annotations = Annotations(config.annotations) if config.has_annotations else None
    inputs = engine.flat_map(
        partial(_read_input, read_blocks), partial(_filter_read, config.filter), config.inputs
    )
    named = zip(config.inputs, config.source_names, inputs, strict=True)
    for source, (path, name, blocks) in enumerate(named):
        size = count_bytes(path)
        with tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            for block, filtered, num_bytes in blocks:
                bar.update(num_bytes)
                ids = _name_records(block, name)
                tally.count(source, ids, filtered)
                is_accepted = (filtered.reasons == 0).tolist()
                ids = list(compress(ids, is_accepted))
                rna_types: list[str | bytes | None] = [*compress(block.rna_types, is_accepted)]
                if annotations:
                    lengths_nt = np.diff(filtered.ends, prepend=0)
                    found = annotations.find(path.name, ids, lengths_nt)
                    rna_types = choose_types(found, rna_types)
                if metadata is not None:
                    found = metadata.find(ids)
                    tally.in_metadata += len(found) - found.count(None)
                    rna_types = choose_types(found, rna_types)
                sources = np.full(len(ids), source, np.int32)
                if block.sources is not None:
                    sources = tally.number_sources([*compress(block.sources, is_accepted)])
                yield _build_batch(filtered, ids, sources, tally.number_types(rna_types))


def _name_records(block: RecordBlock, source_name: str) -> list[bytes]:
    """Return the block's identifiers as UTF-8; a record without one has its file and number."""
    ids = block.ids
    if not b"".join(ids).isascii():
        ids = [identifier.decode(errors="replace").encode() for identifier in ids]
    if b"" in ids:
        numbered = enumerate(ids, start=block.first_number)
        ids = [identifier or f"{source_name}:{number}".encode() for number, identifier in numbered]
    return ids


def _build_batch(
    filtered: FilteredBlock,
    ids: list[bytes],
    sources: NDArray[np.int32],
    rna_types: NDArray[np.int32],
) -> pa.RecordBatch:
    """Hand the buffers to Arrow as they are: no Python object a record."""
    rows = len(ids)
    letter_offsets = np.concatenate([np.zeros(1, np.int64), filtered.ends])
    id_offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    columns: list[list[Any]] = [
        [letter_offsets, filtered.letters],
        [id_offsets, b"".join(ids)],
        [filtered.digests],
        [sources],
        [rna_types],
    ]
    arrays = [
        pa.Array.from_buffers(field.type, rows, [None, *map(pa.py_buffer, buffers)])
        for field, buffers in zip(RECORDS_SCHEMA, columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=RECORDS_SCHEMA)


def _join_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join small batches up to a bound in letters and in records: few batches make quick takes."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks()
