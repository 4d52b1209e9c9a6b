"""Folders of prepared data as an input: their records, and those that were merged into them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..dedup import DIGEST_BYTES, hash_sequences, view_digests
from ..merged import open_merged
from ..shards import SPLITS, gather, read_manifest
from .arrow_input import SLICE_ROWS, iter_arrow_blocks
from .blocks import RecordBlock

_DIGEST = np.dtype(f"S{DIGEST_BYTES}")


def iter_prepared_blocks(
    folder: Path, on_read: Callable[[int], object] = int
) -> Iterator[RecordBlock]:
    """Yield all records of a prepared data folder, training before validation, with their sources.

    A block is followed by the duplicates of its records, so that their identifiers are not lost
    and a family that only they name can still be left out.
    """
    manifest = read_manifest(folder)
    entries = [entry for split in SPLITS for entry in manifest["splits"][split]["shards"]]
    for entry in [*entries, *filter(None, [manifest.get("merged")])]:
        path = folder / entry["file"]
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise ValueError(f"{path} is missing or cut short: copy the folder again")
    duplicates = _Duplicates(open_merged(folder))
    number = 1
    for entry in entries:
        path = folder / entry["file"]
        for block in iter_arrow_blocks(path, on_read, source_column="source"):
            for part in (block, *duplicates.iter_blocks(block)):
                yield part._replace(first_number=number)
                number += len(part.ids)


class _Duplicates:
    """What was merged, found by the digest of the kept sequence."""

    def __init__(self, merged: pa.Table) -> None:
        batches = (view_digests(batch).tobytes() for batch in merged.to_batches())
        digests = np.frombuffer(b"".join(batches), _DIGEST)
        self._merged = merged
        self._order = np.argsort(digests)
        self._digests = digests[self._order]

    def iter_blocks(self, block: RecordBlock) -> Iterator[RecordBlock]:
        """Yield the duplicates of a block's records, each with its letters."""
        if not len(self._digests):
            return
        digests = np.frombuffer(hash_sequences(block.letters, block.ends), _DIGEST)
        places = np.minimum(np.searchsorted(self._digests, digests), len(self._digests) - 1)
        kept = np.flatnonzero(self._digests[places] == digests)
        if not len(kept):
            return
        lists = gather(self._merged, self._order[places[kept]])
        counts = pc.call_function("list_value_length", [lists.column("ids")]).to_numpy()
        rows = np.repeat(kept, counts)
        ids, rna_types, sources = (_flatten(lists, n) for n in ("ids", "rna_types", "sources"))
        starts = np.concatenate([np.zeros(1, np.int64), block.ends])
        for first in range(0, len(rows), SLICE_ROWS):
            chosen = rows[first : first + SLICE_ROWS].tolist()
            pieces = [block.letters[starts[row] : starts[row + 1]] for row in chosen]
            yield RecordBlock(
                ids=ids[first : first + SLICE_ROWS],
                rna_types=rna_types[first : first + SLICE_ROWS],
                letters=np.concatenate(pieces),
                ends=np.cumsum([len(piece) for piece in pieces], dtype=np.int64),
                first_number=block.first_number,
                sources=sources[first : first + SLICE_ROWS],
            )


def _flatten(lists: pa.Table, column: str) -> list[Any]:
    values = pc.call_function("list_flatten", [lists.column(column)])
    return values.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
