"""The shard format: Arrow files of clustered RNA records beside a manifest, and its reader.

A data folder holds `manifest.json` and `shards/{train,validation}-00000.arrow`. Each shard is one
uncompressed record batch, so that opening it maps the file and reads nothing. Records of a cluster
are adjacent and never straddle two shards. Sequences are upper-case ASCII in the RNA form: U, never
T. Offsets are 64 bit, because a cluster of ribosomal RNAs can pass two billion letters.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

FORMAT_VERSION = 1
SPLITS = ("train", "validation")
UNKNOWN_RNA_TYPE = "unknown"
MANIFEST_NAME = "manifest.json"
SHARDS_FOLDER = "shards"
DEFAULT_MAX_SHARD_NT = 256_000_000
_ENTRY_TYPES = {
    "file": str, "sha256": str, "bytes": int, "records": int, "clusters": int, "nt": int
}  # fmt: skip

SHARD_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.large_binary(), nullable=False),
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("cluster", pa.int64(), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("rna_type", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a data folder's manifest; refuse a missing, damaged or other version's one."""
    path = _manifest_path(folder)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read as JSON ({error}): copy the folder again, or run `make data`"
        ) from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {version}, this code reads {FORMAT_VERSION}: "
            "prepare the data again with `make data`"
        )
    if fault := find_wrong_shape(manifest):
        raise ValueError(f"{path} {fault}: copy the folder again, or run `make data`")
    return manifest


def find_wrong_shape(manifest: Any) -> str | None:
    """Say what a manifest lacks of all that its readers need."""
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        return f"is not of format_version {FORMAT_VERSION}"
    names = manifest.get("rna_types")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "has no list of rna_types"
    splits = manifest.get("splits")
    for split in SPLITS:
        part = splits.get(split) if isinstance(splits, dict) else None
        entries = part.get("shards") if isinstance(part, dict) else None
        if not isinstance(entries, list):
            return f"has no list of shards in splits.{split}"
        for number, entry in enumerate(entries):
            for key, kind in _ENTRY_TYPES.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                    return f"has no {key} in splits.{split}.shards[{number}]"
    merged = manifest.get("merged", {"file": "", "sha256": ""})  # of earlier versions
    for key in ("file", "sha256"):
        if not isinstance(merged, dict) or not isinstance(merged.get(key), str):
            return f"has no {key} in merged"
    return None


def hash_manifest(folder: Path) -> str:
    """Return the SHA-256 over the manifest's bytes: the name of this data set.

    The manifest holds the hash of every shard, and neither times nor paths of this machine.
    """
    return hash_file(_manifest_path(folder))


def count_bytes(path: Path) -> int:
    """Return the size of a file, or of the shards of a folder of prepared data."""
    if not path.is_dir():
        return path.stat().st_size
    splits = read_manifest(path)["splits"]
    return sum(entry["bytes"] for split in SPLITS for entry in splits[split]["shards"])


def verify_shards(folder: Path, *, progress: bool = False) -> None:
    """Hash every shard; raises `ValueError` naming those that are not as the manifest says.

    `progress` shows a bar on a terminal. Reads everything: seconds for 20 GB that are cached.
    """
    splits = read_manifest(folder)["splits"]
    entries = [entry for split in SPLITS for entry in splits[split]["shards"]]
    bar = tqdm(entries, desc="verifying shards", unit="shard", disable=None if progress else True)
    faults = []
    for entry in bar:
        path = folder / entry["file"]
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif hash_file(path) != entry["sha256"]:
            faults.append(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST_NAME}")
    if faults:
        raise ValueError(f"{'; '.join(faults)}: copy the folder again, or run `make data`")


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest under a temporary name and rename it: it is whole or absent."""
    scratch = folder / f"{MANIFEST_NAME}.partial"
    scratch.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(folder / MANIFEST_NAME)


def open_split(folder: Path, split: str) -> "Split":
    """Open one split of a prepared data folder, without reading its records."""
    return Split(folder, split)


class Split:
    """The memory-mapped records of one split, numbered 0..num_records-1, cluster after cluster.

    Arrays over all records are made on first use and kept; pickling sends only the folder's name,
    and the receiver maps the files again.
    """

    def __init__(self, folder: Path, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        self.folder = Path(folder)
        self.split = split
        opened = hash_manifest(self.folder)
        manifest = read_manifest(self.folder)
        self.rna_types: tuple[str, ...] = tuple(manifest["rna_types"])
        entries = manifest["splits"][split]["shards"]
        self._shards = [_Shard(self.folder, entry, self.rna_types) for entry in entries]
        if hash_manifest(self.folder) != opened:  # it is removed before its shards are replaced
            raise RuntimeError(f"{self.folder} was prepared again while it was opened: try again")
        record_starts = [0]
        for shard in self._shards:
            record_starts.append(record_starts[-1] + shard.num_records)
        self._record_starts = record_starts
        self.num_records: int = record_starts[-1]
        self.num_clusters: int = sum(entry["clusters"] for entry in entries)
        self.num_nt: int = sum(entry["nt"] for entry in entries)

    def __reduce__(self) -> tuple[type["Split"], tuple[Path, str]]:
        return Split, (self.folder, self.split)

    def __len__(self) -> int:
        return self.num_records

    def __repr__(self) -> str:
        return (
            f"Split({str(self.folder)!r}, {self.split!r}: {self.num_records} records, "
            f"{self.num_clusters} clusters, {self.num_nt} nt)"
        )

    @cached_property
    def cluster_starts(self) -> np.ndarray:
        """Record index at which each cluster begins, and the end: int64, num_clusters + 1."""
        starts = [np.zeros(0, np.int64)]
        for first, shard in zip(self._record_starts, self._shards, strict=False):
            starts.append(first + find_run_starts(shard.clusters))
        starts = np.append(np.concatenate(starts), np.int64(self.num_records))
        assert len(starts) == self.num_clusters + 1, (
            "manifest and shards count clusters differently"
        )
        return starts

    @cached_property
    def lengths_nt(self) -> np.ndarray:
        """Length of each record in nucleotides: int32, num_records."""
        lengths = [np.diff(shard.offsets).astype(np.int32) for shard in self._shards]
        return np.concatenate([np.zeros(0, np.int32), *lengths])

    @cached_property
    def rna_type_ids(self) -> np.ndarray:
        """Index of each record's type in `rna_types`: int32, num_records."""
        return np.concatenate([np.zeros(0, np.int32), *(s.rna_type_ids for s in self._shards)])

    @cached_property
    def _views(self) -> list[tuple[memoryview, memoryview]]:
        """Offsets and letters of each shard; single elements and slices cost half of NumPy's."""
        return [(shard.offsets.data, shard.letters.data) for shard in self._shards]

    def sequence(self, index: int) -> np.ndarray:
        """Return one record's letters as a read-only view of the mapped file: uint8 ASCII."""
        shard, row = self._locate(index)
        return shard.letters[shard.offsets[row] : shard.offsets[row + 1]]

    def windows(
        self, records: np.ndarray, starts_nt: np.ndarray, lengths_nt: np.ndarray
    ) -> list[memoryview]:
        """Return the letters of one window a record, as read-only views of the mapped files."""
        shard_of = np.searchsorted(self._record_starts, records, side="right") - 1
        rows = records - np.asarray(self._record_starts)[shard_of]
        views = self._views
        places = zip(
            shard_of.tolist(), rows.tolist(), starts_nt.tolist(), lengths_nt.tolist(), strict=True
        )
        return [
            letters[(first := offsets[row] + start) : first + length]
            for shard, row, start, length in places
            for offsets, letters in (views[shard],)
        ]

    def find(self, identifier: str) -> int | None:
        """Return the first record with this identifier, or None; reads every identifier."""
        for first, shard in zip(self._record_starts, self._shards, strict=False):
            row = pc.index(shard.batch.column("id"), pa.scalar(identifier, pa.large_string()))
            if row.as_py() >= 0:
                return first + row.as_py()
        return None

    def id(self, index: int) -> str:
        """Return one record's identifier."""
        shard, row = self._locate(index)
        return shard.batch.column("id")[row].as_py()

    def cluster(self, index: int) -> int:
        """Return the number of one record's cluster, unique over both splits."""
        shard, row = self._locate(index)
        return int(shard.clusters[row])

    def source(self, index: int) -> str:
        """Return the name of the input file that one record came from."""
        shard, row = self._locate(index)
        return shard.batch.column("source")[row].as_py()

    def iter_letters(self) -> Iterator[np.ndarray]:
        """Yield the letters of all records, one read-only view per shard: uint8 ASCII."""
        for shard in self._shards:
            yield shard.letters

    def _locate(self, index: int) -> tuple["_Shard", int]:
        if not 0 <= index < self.num_records:
            raise IndexError(f"record {index} of {self.num_records} in {self.split}")
        number = bisect_right(self._record_starts, index) - 1
        return self._shards[number], index - self._record_starts[number]


class _Shard:
    """One mapped shard: its record batch, and NumPy views of the columns that training reads."""

    def __init__(self, folder: Path, entry: dict[str, Any], rna_types: tuple[str, ...]) -> None:
        path = folder / entry["file"]
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: the folder was copied in part; run `make data` or copy it "
                "again"
            )
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise ValueError(
                f"{path} holds {size} bytes, {MANIFEST_NAME} says {entry['bytes']}: "
                "the folder was copied in part or changed; run `make data` or copy it again"
            )
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        if batch.schema != SHARD_SCHEMA:
            raise ValueError(f"{path} has another schema than this code: run `make data` again")
        if tuple(batch.column("rna_type").dictionary.to_pylist()) != rna_types:
            raise ValueError(f"{path} knows other RNA types than {MANIFEST_NAME}: run `make data`")
        self.batch = batch
        self.num_records: int = batch.num_rows
        _, offsets, letters = batch.column("sequence").buffers()
        self.offsets = np.frombuffer(offsets, np.int64, count=self.num_records + 1)
        self.letters = np.frombuffer(letters, np.uint8)
        self.clusters = batch.column("cluster").to_numpy()
        self.rna_type_ids = batch.column("rna_type").indices.to_numpy()


def find_run_starts(values: np.ndarray) -> np.ndarray:
    """Return the positions at which a value differs from the one before: int64."""
    if not len(values):
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1]).astype(np.int64)


def gather(records: pa.Table, order: np.ndarray) -> pa.Table:
    """Take rows batch by batch: `Table.take` first copies every chunk of `sequence` together."""
    batches = records.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    batch_of_row = np.searchsorted(starts, order, side="right") - 1
    by_batch = np.argsort(batch_of_row, kind="stable")
    parts = []
    for rows in np.split(by_batch, find_run_starts(batch_of_row[by_batch])[1:]):
        number = batch_of_row[rows[0]]
        parts.append(batches[number].take(order[rows] - starts[number]))
    return pa.Table.from_batches(parts).combine_chunks().take(np.argsort(by_batch))


def _manifest_path(folder: Path) -> Path:
    path = Path(folder) / MANIFEST_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"no prepared data in {folder} ({path} is missing): run `make data`"
        )
    return path
