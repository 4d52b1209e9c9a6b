"""Where the duplicates were: identifiers, sources and RNA types that a kept record stands for.

`shards/merged.arrow` has a row for each kept record that has duplicates, in the order of the
digests, or of the lower strand's digests where both strands count as one. What was excluded after
it had been kept has its row too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .dedup import DIGEST_BYTES
from .shards import SHARDS_FOLDER, gather, hash_file, read_manifest

MERGED_NAME = "merged.arrow"
LABELS = ("sources", "rna_types")
_COMMON = [
    pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
    pa.field("kept", pa.large_string(), nullable=False),
    pa.field("ids", pa.large_list(pa.large_string()), nullable=False),
]


def _make_schema(label: pa.DataType) -> pa.Schema:
    labels = [pa.field(name, pa.large_list(label), nullable=False) for name in LABELS]
    return pa.schema([*_COMMON, *labels])


MERGED_SCHEMA = _make_schema(pa.int32())
"""Of the step `unique`. `digest` and `kept` are the kept record's hash and identifier; labels are
numbers of the records report's lists, so that an input may be renamed."""
PUBLISHED_SCHEMA = _make_schema(pa.dictionary(pa.int32(), pa.string()))
"""Beside the shards: understood without the steps."""


class MergedRecord(NamedTuple):
    """A record that was not kept because another has its sequence."""

    id: str
    source: str
    rna_type: str


class KeptRecord(NamedTuple):
    """The record that another was merged into."""

    id: str
    digest: bytes
    """`dedup.hash_sequence` of its sequence: identifiers may repeat."""


def collect_merged(
    records: pa.Table, indices: NDArray[np.int64], is_kept: NDArray[np.bool_]
) -> pa.Table:
    """Return the rows for records given group by group, each group's kept one first."""
    starts = np.flatnonzero(is_kept)
    sizes = np.diff(starts, append=len(indices)) - 1
    if not sizes.any():
        return MERGED_SCHEMA.empty_table()
    kept = gather(records.select(["digest", "id"]), indices[starts[sizes > 0]])
    others = gather(records.select(["id", "source", "rna_type"]), indices[~is_kept])
    offsets = pa.array(np.cumsum([0, *sizes[sizes > 0]]), pa.int64())
    lists = [pa.LargeListArray.from_arrays(offsets, c) for c in others.to_batches()[0].columns]
    return pa.table([*kept.columns, *lists], schema=MERGED_SCHEMA)


def publish_merged(steps: Path, folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Write the rows beside a folder's shards, with names for numbers; return a manifest's entry.

    `report` is that of the step `records`.
    """
    names = {
        "sources": pa.array(report["source_names"]),
        "rna_types": pa.array(report["rna_types"]),
    }
    path = folder / SHARDS_FOLDER / MERGED_NAME
    duplicates = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, PUBLISHED_SCHEMA) as writer:
        for batch in _iter_batches(steps / "unique" / MERGED_NAME):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            duplicates += len(batch.column("ids").flatten())
            for label in LABELS:
                lists = columns[label]
                words = pa.DictionaryArray.from_arrays(lists.flatten(), names[label])
                columns[label] = pa.LargeListArray.from_arrays(lists.offsets, words)
            writer.write_batch(pa.record_batch(columns, schema=PUBLISHED_SCHEMA))
    return {
        "file": f"{SHARDS_FOLDER}/{MERGED_NAME}",
        "sha256": hash_file(path),
        "bytes": path.stat().st_size,
        "duplicates": duplicates,
    }


def open_merged(folder: Path) -> pa.Table:
    """Map all rows of prepared data."""
    return pa.Table.from_batches(_iter_published(folder), PUBLISHED_SCHEMA)


def read_merged(folder: Path, digest: bytes) -> list[MergedRecord]:
    """Return the records that were merged into the one with this digest.

    Those whose RNA type tells more come first, then in the input's order. `folder` is prepared
    data, `digest` the `dedup.hash_sequence` of the kept sequence. Reads every digest of the file.
    """
    for batch in _iter_published(folder):
        row = pc.index(batch.column("digest"), pa.scalar(digest, pa.binary(DIGEST_BYTES))).as_py()
        if row >= 0:
            lists = (batch.column(name)[row].as_py() for name in ("ids", *LABELS))
            return [MergedRecord(*values) for values in zip(*lists, strict=True)]
    return []


def find_kept(folder: Path, name: str) -> KeptRecord | None:
    """Return the record that the first one of this name was merged into, if there is any."""
    for batch in _iter_published(folder):
        ids = batch.column("ids")
        place = pc.index(ids.flatten(), pa.scalar(name, pa.large_string())).as_py()
        if place >= 0:
            row = int(np.searchsorted(ids.offsets.to_numpy(), place, side="right")) - 1
            return KeptRecord(*(batch.column(column)[row].as_py() for column in ("kept", "digest")))
    return None


def _iter_published(folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of prepared data; none where an earlier version prepared it."""
    if entry := read_manifest(folder).get("merged"):
        yield from _iter_batches(folder / entry["file"])


def _iter_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        yield from map(reader.get_batch, range(reader.num_record_batches))
