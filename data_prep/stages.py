"""The steps between records and shards: each function makes its product from those before it.

A record's position is its place among the unique records in the order of their digests; clusters
are numbered in the order of their representatives' positions.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from .dedup import DIGEST_BYTES, find_unique
from .mmseqs import ClusterConfig, cluster_sequences
from .records import RECORDS_NAME, UNKNOWN_NUMBER
from .shards import gather, hash_file
from .split import SplitConfig, choose_validation

GATHER_RECORDS = 131_072


def open_records(steps: Path) -> pa.Table:
    """Map the records of the first step."""
    return pa.ipc.open_file(pa.memory_map(str(steps / "records" / RECORDS_NAME))).read_all()


def load_product(steps: Path, name: str) -> np.ndarray:
    """Return the array that a step made."""
    return np.load(steps / name / f"{name}.npy")


def build_unique(folder: Path, steps: Path) -> dict[str, Any]:
    """Save the index of each unique record, in the order of the digests."""
    records = open_records(steps)
    digests = _read_digests(records)
    has_type = records.column("rna_type").to_numpy() != UNKNOWN_NUMBER
    unique = find_unique(digests, has_type)
    return {
        "duplicates": len(digests) - len(unique),
        "unique": len(unique),
        "sequences_sha256": hashlib.sha256(digests[unique].tobytes()).hexdigest(),
        "sha256": _save_product(folder, "unique", unique),
    }


def build_clusters(folder: Path, steps: Path, config: ClusterConfig) -> dict[str, Any]:
    """Save the position of each unique record's representative."""
    sequences = _iter_sequences(open_records(steps), load_product(steps, "unique"))
    representatives, report = cluster_sequences(sequences, folder, config)
    assert np.array_equal(representatives[representatives], representatives)
    sizes = np.bincount(np.unique(representatives, return_inverse=True)[1])
    return {
        "clusters": len(sizes),
        "singletons": int(np.count_nonzero(sizes == 1)),
        "largest_cluster": int(sizes.max()),
        **report,
        "sha256": _save_product(folder, "clusters", representatives),
    }


def build_split(folder: Path, steps: Path, config: SplitConfig) -> dict[str, Any]:
    """Save which clusters are for validation; a cluster's type is its representative's."""
    records = open_records(steps)
    representatives = np.unique(load_product(steps, "clusters"))
    indices = load_product(steps, "unique")[representatives]
    is_validation = choose_validation(
        _read_digests(records)[indices], records.column("rna_type").to_numpy()[indices], config
    )
    return {
        "train_clusters": int(np.count_nonzero(~is_validation)),
        "validation_clusters": int(np.count_nonzero(is_validation)),
        "sha256": _save_product(folder, "split", is_validation),
    }


def _read_digests(records: pa.Table) -> np.ndarray:
    """Return the digests as bytes: records, 16."""
    digests = pa.concat_arrays(records.column("digest").chunks)
    return np.frombuffer(digests.buffers()[1], np.uint8).reshape(-1, DIGEST_BYTES)


def _iter_sequences(records: pa.Table, order: np.ndarray) -> Iterator[bytes]:
    sequences = records.select(["sequence"])
    with tqdm(total=len(order), desc="to MMseqs2", unit="record", disable=None) as bar:
        for start in range(0, len(order), GATHER_RECORDS):
            part = gather(sequences, order[start : start + GATHER_RECORDS])
            yield from part.column("sequence").to_pylist()
            bar.update(part.num_rows)


def _save_product(folder: Path, name: str, array: np.ndarray) -> str:
    path = folder / f"{name}.npy"
    np.save(path, array)
    return hash_file(path)
