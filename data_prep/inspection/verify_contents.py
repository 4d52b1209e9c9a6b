"""What shards must hold: letters, counts, clusters, representatives, checked record by record.

For shards whose hashes are right: this finds what was made wrong, not what was damaged later.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from ..filters import LETTERS
from ..products import load_product, open_records
from ..publish import describe_split
from ..shards import SHARD_SCHEMA, SPLITS, Split, find_run_starts, open_split

MAX_NAMED = 5
"""Faults of one kind that are named; the rest are counted."""
STEPS_NEEDED = ("records", "unique", "clusters")
CHUNK_RECORDS = 1 << 17


@dataclass(kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    looked_at: int = 0
    unit: str = "files"
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_contents(
    folder: Path, manifest: dict[str, Any], *, are_steps_whole: bool = True
) -> list[Check]:
    """Check the records of both splits; what cannot be opened is not looked into further."""
    offsets = Check(name="offsets, text, counts", unit="records")
    for split in SPLITS:
        for entry in manifest["splits"][split]["shards"]:
            offsets.looked_at += entry["records"]
            offsets.faults += _find_shard_faults(folder / entry["file"], entry, manifest)
    if offsets.faults:
        offsets.notes.append("sequences and clusters were not looked into")
        return [offsets]
    try:
        splits = [open_split(folder, name) for name in SPLITS]
    except ValueError as error:  # such as a size that the manifest states wrongly
        offsets.faults.append(str(error))
        return [offsets]
    hashes = [_hash_sequences(split) for split in splits]
    return [
        offsets,
        _check_letters(splits, manifest),
        _check_repeats(splits, hashes),
        _check_clusters(splits),
        _check_representatives(folder / "steps" if are_steps_whole else None, splits, hashes),
    ]


def _find_shard_faults(path: Path, entry: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    """Say what is wrong with a shard's offsets, text, dictionaries and counts."""
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        if file.num_record_batches != 1 or file.schema != SHARD_SCHEMA:
            return [f"{entry['file']} is not one batch of the schema of shards"]
        batch = file.get_batch(0)
        batch.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        return [f"{entry['file']} is not valid Arrow: {error}"]
    offsets = np.frombuffer(batch.column("sequence").buffers()[1], np.int64)[: len(batch) + 1]
    found = {
        "records": batch.num_rows,
        "clusters": len(find_run_starts(batch.column("cluster").to_numpy())),
        "nt": int(offsets[-1] - offsets[0]),
    }
    faults = [
        f"{entry['file']} holds {found[key]:,} {key}, the manifest says {entry[key]:,}"
        for key in found
        if found[key] != entry[key]
    ]
    if offsets[0] != 0:
        faults.append(f"{entry['file']}: its letters begin at {offsets[0]}, not at 0")
    if batch.column("rna_type").dictionary.to_pylist() != manifest["rna_types"]:
        faults.append(f"{entry['file']} knows other RNA types than the manifest")
    sources = manifest.get("sources")
    if sources is not None and batch.column("source").dictionary.to_pylist() != sources:
        faults.append(f"{entry['file']} names other sources than the manifest")
    return faults


def _check_letters(splits: list[Split], manifest: dict[str, Any]) -> Check:
    """Count composition and letters again, and compare them with the manifest's words."""
    check = Check(name="letters and composition", unit="nt")
    limits = manifest.get("parameters", {}).get("filter", {})
    for split in splits:
        check.looked_at += split.num_nt
        description = describe_split(split)
        stated = manifest["splits"][split.split]
        check.faults += [
            f"manifest.json: splits.{split.split}.{key} is not what the shards hold"
            for key, value in description.items()
            if key in stated and stated[key] != value
        ]
        illegal = set(description["letters"]) - set(LETTERS.decode())
        if illegal:
            record = _find_letter(split, {ord(letter) for letter in illegal})
            letters = ", ".join(map(repr, sorted(illegal)))
            check.faults.append(f"letters that are none of RNA: {letters}, first in {record}")
        low, high = limits.get("min_length_nt", 1), limits.get("max_length_nt", np.inf)
        outside = np.flatnonzero((split.lengths_nt < low) | (split.lengths_nt > high))
        if len(outside):
            places = _name_records(split, outside)
            check.faults.append(f"records of other lengths than {low} to {high} nt: {places}")
    return check


def _check_repeats(splits: list[Split], hashes: list[NDArray[np.uint64]]) -> Check:
    """Look for sequences that occur twice; equal hashes are compared letter by letter."""
    check = Check(name="no sequence twice", unit="records")
    check.looked_at = sum(map(len, hashes))
    together = np.sort(np.concatenate(hashes))
    twice = np.unique(together[1:][together[1:] == together[:-1]])
    first_of: dict[bytes, str] = {}
    found = []
    for split, own in zip(splits, hashes, strict=True):
        for number in np.flatnonzero(np.isin(own, twice)).tolist() if len(twice) else []:
            place = f"{split.split}:{number} {split.id(number)}"
            first = first_of.setdefault(split.sequence(number).tobytes(), place)
            if first != place:
                found.append(f"{place} has the sequence of {first}")
    check.faults += _limit(found)
    return check


def _check_clusters(splits: list[Split]) -> Check:
    """Check that each cluster's records are adjacent, and that no cluster is in both splits."""
    check = Check(name="clusters whole, in one split", unit="clusters")
    numbers = [_list_cluster_numbers(split) for split in splits]
    check.looked_at = sum(map(len, numbers))
    for split, own in zip(splits, numbers, strict=True):
        distinct, times = np.unique(own, return_counts=True)
        found = [
            f"cluster {cluster} of {split.split} lies in several places: its records must be "
            "adjacent"
            for cluster in distinct[times > 1].tolist()
        ]
        check.faults += _limit(found)
    both = np.intersect1d(numbers[0], numbers[1]).tolist()
    check.faults += _limit([f"cluster {cluster} is in both splits" for cluster in both])
    return check


def _check_representatives(
    steps: Path | None, splits: list[Split], hashes: list[NDArray[np.uint64]]
) -> Check:
    """Check that the first of each cluster is the representative that the clusters' step named."""
    check = Check(name="representatives first", unit="clusters")
    if steps is None or not all((steps / name).is_dir() for name in STEPS_NEEDED):
        check.notes.append("representatives cannot be checked without whole steps")
        return check
    expected = np.sort(np.fromiter(map(_hash, _iter_representatives(steps)), np.uint64))
    check.looked_at = len(expected)
    for split, own in zip(splits, hashes, strict=True):
        starts = split.cluster_starts[:-1]
        place = np.searchsorted(expected, own[starts])
        is_known = expected[np.minimum(place, len(expected) - 1)] == own[starts]
        check.faults += _limit(
            [
                f"cluster {split.cluster(first)} of {split.split} begins with {split.id(first)}, "
                "which is no representative"
                for first in starts[~is_known].tolist()
            ]
        )
    if len(expected) != sum(split.num_clusters for split in splits):
        check.faults.append(
            f"there are {len(expected):,} representatives, and not as many clusters"
        )
    return check


def _iter_representatives(steps: Path) -> Iterator[bytes]:
    """Yield the sequences of all representatives, some at a time."""
    positions = np.unique(load_product(steps, "clusters"))
    indices = np.sort(load_product(steps, "unique")[positions])
    first = 0
    for batch in open_records(steps).select(["sequence"]).to_batches():
        start, stop = np.searchsorted(indices, [first, first + batch.num_rows])
        for part in np.array_split(
            indices[start:stop] - first, 1 + (stop - start) // CHUNK_RECORDS
        ):
            yield from batch.column("sequence").take(pa.array(part)).to_pylist()
        first += batch.num_rows


def _hash_sequences(split: Split) -> NDArray[np.uint64]:
    hashes = np.empty(split.num_records, np.uint64)
    bar = tqdm(range(split.num_records), f"hashing {split.split}", unit="record", disable=None)
    for number in bar:
        hashes[number] = _hash(split.sequence(number))
    return hashes


def _hash(sequence: Any) -> int:
    return int.from_bytes(hashlib.blake2b(sequence, digest_size=8).digest(), "little")


def _list_cluster_numbers(split: Split) -> NDArray[np.int64]:
    """Return the number of each run of records of one cluster."""
    starts = split.cluster_starts[:-1]
    return np.fromiter((split.cluster(start) for start in starts.tolist()), np.int64, len(starts))


def _find_letter(split: Split, illegal: set[int]) -> str:
    letters = bytes(sorted(illegal))
    for number in range(split.num_records):
        sequence = split.sequence(number).tobytes()
        if len(sequence.translate(None, letters)) < len(sequence):
            return f"{split.split}:{number} {split.id(number)}"
    raise AssertionError("letters were counted that no record holds")


def _name_records(split: Split, numbers: NDArray[np.int64]) -> str:
    shown = [f"{split.split}:{n} {split.id(n)}" for n in numbers[:MAX_NAMED].tolist()]
    return _name(shown, len(numbers))


def _name(names: list[str], count: int | None = None) -> str:
    hidden = (count or len(names)) - len(names[:MAX_NAMED])
    return ", ".join(names[:MAX_NAMED]) + (f" and {hidden:,} more" if hidden else "")


def _limit(faults: list[str]) -> list[str]:
    if len(faults) <= MAX_NAMED:
        return faults
    return [*faults[:MAX_NAMED], f"and {len(faults) - MAX_NAMED:,} more faults of this kind"]
