"""Where the duplicates were: identifiers and sources of the records that a kept one stands for.

`steps/unique/merged.arrow` has a row for each kept record that has duplicates, in the order of the
digests, or of the lower strand's digests where both strands count as one.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .dedup import DIGEST_BYTES
from .shards import gather
from .steps import STEP_FILE

MERGED_NAME = "merged.arrow"
MERGED_SCHEMA = pa.schema(
    [
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
        pa.field("ids", pa.large_list(pa.large_string()), nullable=False),
        pa.field("sources", pa.large_list(pa.int32()), nullable=False),
    ]
)
"""`digest` is the kept record's; `sources` are numbers of the records report's list."""


class MergedRecord(NamedTuple):
    """A record that was not kept because another has its sequence."""

    id: str
    source: str


def collect_merged(
    records: pa.Table, indices: NDArray[np.int64], is_kept: NDArray[np.bool_]
) -> pa.Table:
    """Return the rows for records given group by group, each group's kept one first."""
    starts = np.flatnonzero(is_kept)
    sizes = np.diff(starts, append=len(indices)) - 1
    if not sizes.any():
        return MERGED_SCHEMA.empty_table()
    kept = gather(records.select(["digest"]), indices[starts[sizes > 0]])
    others = gather(records.select(["id", "source"]), indices[~is_kept]).to_batches()[0]
    offsets = pa.array(np.cumsum([0, *sizes[sizes > 0]]), pa.int64())
    columns = [
        kept.column("digest"),
        pa.LargeListArray.from_arrays(offsets, others.column("id")),
        pa.LargeListArray.from_arrays(offsets, others.column("source")),
    ]
    return pa.table(columns, schema=MERGED_SCHEMA)


def read_merged(steps: Path, digest: bytes) -> list[MergedRecord]:
    """Return the records that were merged into the one with this digest, in the input's order.

    `digest` is `dedup.hash_sequence` of the kept sequence; reads every digest of the file.
    """
    report = json.loads((steps / "records" / STEP_FILE).read_text())["report"]
    names = [source["source"] for source in report["sources"]]
    with pa.memory_map(str(steps / "unique" / MERGED_NAME)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            row = pc.index(batch.column("digest"), pa.scalar(digest, pa.binary(DIGEST_BYTES)))
            if row.as_py() >= 0:
                ids, sources = (batch.column(c)[row.as_py()].as_py() for c in ("ids", "sources"))
                pairs = zip(ids, sources, strict=True)
                return [MergedRecord(identifier, names[source]) for identifier, source in pairs]
    return []
