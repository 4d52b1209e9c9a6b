"""Small prepared data folders, written with the real shard writer."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrinalmo.data_prep.shard_writer import write_shards
from openrinalmo.data_prep.shards import (
    FORMAT_VERSION,
    SHARD_SCHEMA,
    SPLITS,
    gather,
    write_manifest,
)

TinyRecord = tuple[str, str, str]
"""Identifier, sequence, RNA type."""


def write_tiny_data(
    folder: Path,
    *,
    train: list[list[TinyRecord]],
    validation: list[list[TinyRecord]],
    max_shard_nt: int = 1_000_000,
) -> Path:
    """Write a data folder of which every inner list is one cluster; return the folder."""
    clusters = {"train": train, "validation": validation}
    rows = [
        (split, number, *record)
        for split in SPLITS
        for number, members in enumerate(clusters[split], start=len(train) * (split != "train"))
        for record in members
    ]
    rna_types = sorted({row[4] for row in rows})
    type_ids = [rna_types.index(row[4]) for row in rows]
    records = pa.table(
        {
            "sequence": pa.array([row[3].encode() for row in rows], pa.large_binary()),
            "id": pa.array([row[2] for row in rows], pa.large_string()),
            "cluster": pa.array([row[1] for row in rows], pa.int64()),
            "source": pa.DictionaryArray.from_arrays(
                pa.array([0] * len(rows), pa.int32()), ["tiny.fasta"]
            ),
            "rna_type": pa.DictionaryArray.from_arrays(pa.array(type_ids, pa.int32()), rna_types),
        },
        schema=SHARD_SCHEMA,
    )
    splits = {}
    for split in SPLITS:
        order = np.flatnonzero([row[0] == split for row in rows])
        shards = write_shards(
            folder,
            split,
            records=records,
            order=order,
            take=partial(take_rows, records),
            max_shard_nt=max_shard_nt,
        )
        splits[split] = {"shards": shards}
    manifest = {"format_version": FORMAT_VERSION, "rna_types": rna_types, "splits": splits}
    write_manifest(folder, manifest)
    return folder


def take_rows(records: pa.Table, rows: np.ndarray, clusters: np.ndarray) -> pa.Table:
    """Return rows of a table that has the shards' columns, as the writer asks for them."""
    taken = gather(records, rows)
    assert taken.column("cluster").to_numpy().tolist() == clusters.tolist()
    return taken
