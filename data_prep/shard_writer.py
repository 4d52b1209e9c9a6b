"""Shards as they are written: cut at clusters, each whole or not at all."""

import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .engine import LOCAL_ENGINE, Engine
from .shards import (
    DEFAULT_MAX_SHARD_NT,
    SHARD_SCHEMA,
    SHARDS_FOLDER,
    find_run_starts,
    hash_file,
)

RowTaker = Callable[[np.ndarray, np.ndarray], pa.Table]
"""Makes the rows of a shard, in the columns of `SHARD_SCHEMA`, of numbers of records and their
clusters; it pickles where the engine is not local."""


def write_shards(
    folder: Path,
    split: str,
    *,
    records: pa.Table,
    order: np.ndarray,
    take: RowTaker,
    max_shard_nt: int = DEFAULT_MAX_SHARD_NT,
    engine: Engine = LOCAL_ENGINE,
) -> list[dict[str, Any]]:
    """Write `records`, taken in `order`, as the shards of one split; return their manifest entries.

    Of `records`, `sequence` and `cluster` are looked at, and may be mapped: `take` makes the rows
    of a shard. A shard ends with a cluster and holds at most `max_shard_nt` letters, unless one
    cluster alone has more.
    """
    clusters = records.column("cluster").to_numpy()[order]
    starts = find_run_starts(clusters)
    if len(np.unique(clusters[starts])) != len(starts):
        raise ValueError(f"records of one cluster must be adjacent in `order` (split {split})")
    lengths_nt = pc.call_function("binary_length", [records.column("sequence")]).to_numpy()[order]
    cluster_nt = np.add.reduceat(lengths_nt, starts) if len(starts) else lengths_nt
    (folder / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
    bounds = np.append(starts, len(order))
    paths, rows, counts = [], [], []
    for number, (first, last) in enumerate(_cut_at_clusters(cluster_nt, max_shard_nt)):
        start, stop = bounds[first], bounds[last]
        paths.append(folder / SHARDS_FOLDER / f"{split}-{number:05d}.arrow")
        rows.append((paths[-1], order[start:stop], clusters[start:stop]))
        nt = int(lengths_nt[start:stop].sum())
        counts.append({"records": int(stop - start), "clusters": last - first, "nt": nt})
    largest_nt = max([count["nt"] for count in counts], default=0)
    sealed = engine.map(partial(_make_shard, take), rows, memory_bytes=4 * largest_nt)
    entries = [
        {"file": f"{SHARDS_FOLDER}/{path.name}", **seal, **count}
        for path, seal, count in zip(paths, sealed, counts, strict=True)
    ]
    for left_behind in (folder / SHARDS_FOLDER).glob("*.partial"):
        left_behind.unlink()  # by a worker that died
    return entries


def _make_shard(take: RowTaker, shard: tuple[Path, np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Write one shard; return the hash and the size of its file."""
    path, rows, clusters = shard
    _write_shard(path, take(rows, clusters))
    return {"sha256": hash_file(path), "bytes": path.stat().st_size}


def _cut_at_clusters(cluster_nt: np.ndarray, max_shard_nt: int) -> Iterator[tuple[int, int]]:
    """Yield the first cluster and the one past the last of each shard."""
    ends = np.cumsum(cluster_nt)
    first, nt_before = 0, 0
    while first < len(cluster_nt):
        last = max(first + 1, int(np.searchsorted(ends, nt_before + max_shard_nt, side="right")))
        yield first, last
        first, nt_before = last, int(ends[last - 1])


def _write_shard(path: Path, records: pa.Table) -> None:
    """Write one shard under a temporary name, flush it to the disk and rename it.

    The name is its own: on a cluster, a worker that was given up may still be at the same shard.
    """
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with scratch.open("wb") as file:
        with pa.ipc.new_file(file, SHARD_SCHEMA) as writer:
            writer.write_table(records, max_chunksize=records.num_rows)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
