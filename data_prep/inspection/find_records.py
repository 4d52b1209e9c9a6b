"""Where records and clusters of prepared data are; what is near if they are not there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..dedup import DIGEST_BYTES, hash_sequence
from ..merged import find_kept
from ..products import open_records
from ..shards import SPLITS, Split, open_split, read_manifest

MAX_CLOSE = 5
EXCLUDED = "excluded (--exclude or --exclude-family)"
NAMES_PATH = Path("steps", "clusters", "names.npy")
LEAST_OF_NAME = 8
"""Letters of a cluster's name that have to be given."""


class Place(NamedTuple):
    """Where a record is: its number counts from 0 within its split."""

    split: str
    number: int

    def __str__(self) -> str:
        return f"{self.split}:{self.number}"


def find_record(folder: Path, name: str) -> list[Place]:
    """Return where the records of this name are; `ValueError` naming near ones if there is none.

    A bare number is an identifier if any record has it.
    """
    if places := _find_places(folder, name):
        return places
    if reason := _find_rejection(folder, name):
        raise ValueError(f"no record {name!r} in {folder}: it was rejected, {reason}")
    split, colon, number = name.rpartition(":")
    if number.isdecimal() and (split in SPLITS or not colon):
        place = Place(split or SPLITS[0], int(number))
        size = open_split(folder, place.split).num_records
        if place.number < size:
            return [place]
        raise ValueError(
            f"no record {name!r} in {folder}: neither an identifier, nor a number of "
            f"{place.split}, whose records are 0 to {size - 1}"
        )
    raise ValueError(f"no record {name!r} in {folder}; {_explain_absence(folder, name)}")


def find_cluster(folder: Path, cluster: int) -> tuple[Split, int, int]:
    """Return a cluster's split and its first record and the one past its last."""
    near: set[int] = set()
    for split in SPLITS:
        for first, _, batch in iter_shards(folder, split):
            numbers = batch.column("cluster").to_numpy()
            rows = np.flatnonzero(numbers == cluster)
            if len(rows):
                return open_split(folder, split), int(first + rows[0]), int(first + rows[-1]) + 1
            near |= {*numbers[numbers < cluster][-1:], *numbers[numbers > cluster][:1]}
    closest = sorted(sorted(map(int, near)), key=lambda number: abs(number - cluster))[:2]
    names = ", ".join(map(str, closest))
    raise ValueError(f"no cluster {cluster} in {folder}; near it: {names}")


def read_cluster_names(folder: Path) -> NDArray[np.uint8] | None:
    """Map the names of the clusters, by number: digests of founders, which later releases keep.

    None where the steps are gone, or belong to other shards.
    """
    if not (folder / NAMES_PATH).is_file():
        return None
    names = np.load(folder / NAMES_PATH, mmap_mode="r")
    return names if len(names) == _count_clusters(folder) else None


def find_cluster_number(folder: Path, name: str) -> int:
    """Return the number of the cluster of a name or of its beginning; a number is itself."""
    if name.isdecimal() and (len(name) < LEAST_OF_NAME or int(name) < _count_clusters(folder)):
        return int(name)
    wanted = name.casefold()
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_OF_NAME},{2 * DIGEST_BYTES}}}", wanted):
        raise ValueError(
            f"no cluster {name!r}: give its number, or {LEAST_OF_NAME} to {2 * DIGEST_BYTES} "
            "hexadecimal digits of its name"
        )
    names = read_cluster_names(folder)
    if names is None:
        raise ValueError(
            f"clusters of {folder} are known by number only: {folder / NAMES_PATH} with their "
            "names is gone, or of other data"
        )
    whole = np.frombuffer(bytes.fromhex(wanted[: len(wanted) // 2 * 2]), np.uint8)
    numbers = np.flatnonzero((names[:, : len(whole)] == whole).all(1)).tolist()
    numbers = [n for n in numbers if names[n].tobytes().hex().startswith(wanted)]
    if len(numbers) != 1:
        found = ", ".join(names[n].tobytes().hex() for n in numbers[:MAX_CLOSE])
        raise ValueError(
            f"several clusters of {folder} are called {name}…: {found}"
            if numbers
            else f"no cluster of {folder} is called {name}: none of its records is left, or was yet"
        )
    return numbers[0]


def iter_shards(folder: Path, split: str) -> Iterator[tuple[int, dict[str, Any], pa.RecordBatch]]:
    """Yield the number of each shard's first record, its entry in the manifest, its records."""
    first = 0
    for entry in read_manifest(folder)["splits"][split]["shards"]:
        yield (
            first,
            entry,
            pa.ipc.open_file(pa.memory_map(str(folder / entry["file"]))).get_batch(0),
        )
        first += entry["records"]


def _count_clusters(folder: Path) -> int:
    return sum(open_split(folder, split).num_clusters for split in SPLITS)


def _find_places(folder: Path, identifier: str) -> list[Place]:
    return [
        Place(split, first + row)
        for split in SPLITS
        for first, _, batch in iter_shards(folder, split)
        for row in _find_rows(batch, identifier)
    ]


def _find_rows(records: pa.RecordBatch | pa.Table, identifier: str) -> list[int]:
    is_equal = pc.call_function("equal", [records.column("id"), identifier])
    return np.flatnonzero(is_equal.to_numpy(False)).tolist()


def _explain_absence(folder: Path, name: str) -> str:
    if kept := find_kept(folder, name):
        places = _find_places(folder, kept.id)
        letters = (open_split(folder, place.split).sequence(place.number) for place in places)
        is_there = any(hash_sequence(sequence.tobytes()) == kept.digest for sequence in letters)
        fate = "which was kept" if is_there else f"which was {EXCLUDED}"
        return f"it is a duplicate of {kept.id}, {fate}"
    if (folder / "steps" / "records").is_dir() and _find_rows(open_records(folder / "steps"), name):
        return f"it was {EXCLUDED}"
    close = _find_close_ids(folder, name)
    near = f"identifiers that begin like it: {', '.join(close)}" if close else "none begins like it"
    excluded = f" or {EXCLUDED}" if read_manifest(folder).get("exclusion") else ""
    return f"{near}. It may have been rejected{excluded}"


def _find_rejection(folder: Path, name: str) -> str | None:
    """Say why a record was rejected, if it is one of the few that the manifest names."""
    examples = read_manifest(folder).get("rejected_examples", {})
    reasons = (reason for reason, ids in examples.items() if name in ids)
    return next(reasons, "").replace("_", " ") or None


def _find_close_ids(folder: Path, name: str) -> list[str]:
    """Return identifiers that share the longest beginning with a name, whatever their case.

    What begins a longer one begins a shorter one too, so that the length is found by halving.
    """
    found: list[str] = []
    low, high = 0, len(name)
    while low < high:
        middle = (low + high + 1) // 2
        close = _list_ids_with(folder, name[:middle])
        if close:
            low, found = middle, close
        else:
            high = middle - 1
    return found


def _list_ids_with(folder: Path, prefix: str) -> list[str]:
    close: list[str] = []
    for split in SPLITS:
        for _, _, batch in iter_shards(folder, split):
            ids = batch.column("id")
            options = pc.MatchSubstringOptions(prefix, ignore_case=True)
            begins = pc.call_function("starts_with", [ids], options).to_numpy(False)
            close += [ids[row].as_py() for row in np.flatnonzero(begins)[:MAX_CLOSE].tolist()]
            if len(close) >= MAX_CLOSE:
                return close[:MAX_CLOSE]
    return close
