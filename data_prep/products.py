"""What the steps between records and shards read of one another and write."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from .records import RECORDS_NAME
from .shards import gather, hash_file

GATHER_RECORDS = 131_072


def open_records(steps: Path) -> pa.Table:
    """Map the records of the first step."""
    return pa.ipc.open_file(pa.memory_map(str(steps / "records" / RECORDS_NAME))).read_all()


def load_product(steps: Path, name: str) -> np.ndarray:
    """Return the array that a step made."""
    return np.load(steps / name / f"{name}.npy")


def save_product(folder: Path, name: str, array: np.ndarray) -> str:
    """Save an array that a step made; return the file's hash."""
    path = folder / f"{name}.npy"
    np.save(path, array)
    return hash_file(path)


def iter_sequences(records: pa.Table, order: np.ndarray) -> Iterator[bytes]:
    """Yield the sequences of records, by their numbers, some at a time."""
    sequences = records.select(["sequence"])
    with tqdm(total=len(order), desc="to MMseqs2", unit="record", disable=None) as bar:
        for start in range(0, len(order), GATHER_RECORDS):
            part = gather(sequences, order[start : start + GATHER_RECORDS])
            yield from part.column("sequence").to_pylist()
            bar.update(part.num_rows)
