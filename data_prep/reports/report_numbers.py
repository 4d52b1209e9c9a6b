"""The numbers of a report, read from a prepared folder: counts in bins, never records in memory.

Letters are read of `SAMPLED_RECORDS` records at most, evenly spaced; everything else comes from
columns of 4 or 8 bytes a record, which are mapped.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..filters import NUCLEOTIDES
from ..lengths import LENGTH_EDGES_NT, count_lengths, find_bins
from ..shards import MANIFEST_NAME, SPLITS, Split, hash_manifest, open_split, read_manifest
from ..steps import STEP_FILE

AMBIGUOUS_EDGES = np.asarray([0, 1e-9, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
"""Lower bounds of bins of a record's share of letters other than A, C, G and U; none, then some."""
SAMPLED_RECORDS = 50_000
CHUNK_CLUSTERS = 1 << 18  # counted at once: `bincount` makes eight bytes of every element
STEP_ORDER = ("records", "unique", "clusters", "split", "shards")

AS_READ, ACCEPTED, UNIQUE = "as read", "accepted", "unique"
SAMPLED, WEIGHTED = "one of each cluster", "an epoch, weighted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Composition:
    """How much of each RNA type there is at one stage; expectations where one is drawn."""

    stage: str
    records: dict[str, float]
    nt: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportNumbers:
    """All that a report shows."""

    made_from: str
    """Hash over manifest and steps: another one means another report."""
    manifest: dict[str, Any]
    manifest_sha256: str
    steps: dict[str, dict[str, Any]]
    """Each step's fingerprint, report, seconds and memory; none if `steps/` was deleted."""
    lengths: dict[str, Sequence[float]]
    """Records in each bin of `LENGTH_EDGES_NT`, by stage."""
    compositions: list[Composition]
    clusters_of_type: dict[str, int]
    median_nt_of_type: dict[str, int]
    """To the lower bound of its bin."""
    cluster_sizes: list[tuple[int, int]]
    """Size, and number of clusters that have it; ascending."""
    ambiguous: list[int]
    """Looked-at records in each bin of `AMBIGUOUS_EDGES`."""


def hash_sources(folder: Path) -> str:
    """Return the hash over all that a report is made from: the manifest and the steps' files."""
    files = [folder / MANIFEST_NAME, *_find_step_files(folder).values()]
    parts = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def read_numbers(folder: Path) -> ReportNumbers:
    """Measure a prepared folder; a second or two for a million records."""
    splits = [open_split(folder, name) for name in SPLITS]
    names = splits[0].rna_types
    steps = {name: json.loads(path.read_text()) for name, path in _find_step_files(folder).items()}
    counts = _count(splits)
    sizes = np.concatenate([np.diff(split.cluster_starts) for split in splits])
    distinct, times = np.unique(sizes, return_counts=True)
    manifest = read_manifest(folder)
    compositions = [
        _name_composition(UNIQUE, names, counts.records.sum(axis=1), counts.nt),
        _name_composition(SAMPLED, names, counts.drawn.sum(axis=1), counts.drawn_nt),
        *_read_weighted(manifest),
    ]
    lengths: dict[str, Sequence[float]] = {
        UNIQUE: counts.records.sum(axis=0).tolist(),
        SAMPLED: counts.drawn.sum(axis=0).tolist(),
    }
    if before := _read_accepted(folder, steps):
        compositions = [before[0], *compositions]
        lengths = {ACCEPTED: before[1], **lengths}
    if as_read := steps.get("records", {}).get("report", {}).get("lengths_as_read"):
        lengths = {AS_READ: as_read, **lengths}
    return ReportNumbers(
        made_from=hash_sources(folder),
        manifest=manifest,
        manifest_sha256=hash_manifest(folder),
        steps=steps,
        lengths=lengths,
        compositions=compositions,
        clusters_of_type=dict(zip(names, counts.clusters.tolist(), strict=True)),
        median_nt_of_type=dict(zip(names, map(_find_median, counts.records), strict=True)),
        cluster_sizes=list(zip(distinct.tolist(), times.tolist(), strict=True)),
        ambiguous=_count_ambiguous(splits),
    )


def is_ribosomal(rna_type: str) -> bool:
    """Say whether a type's name is one for ribosomal RNA: what floods public collections."""
    words = rna_type.casefold().replace("_", " ").replace(".", " ")
    sizes = ("5s", "5 8s", "12s", "16s", "18s", "23s", "25s", "26s", "28s")
    return "rrna" in words or "ribosomal rna" in words or words in sizes


def _find_step_files(folder: Path) -> dict[str, Path]:
    """Return every finished step's file by its name, in the order in which steps run."""
    paths = {path.parent.name: path for path in sorted(folder.glob(f"steps/*/{STEP_FILE}"))}
    paths = {name: path for name, path in paths.items() if not name.endswith(".partial")}
    known = [name for name in STEP_ORDER if name in paths]
    return {name: paths[name] for name in [*known, *sorted(paths.keys() - set(known))]}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """What both splits hold together; rows are RNA types, columns bins of lengths."""

    records: NDArray[np.int64]
    drawn: NDArray[np.float64]
    """Records by their chance to be the one that is drawn from their cluster."""
    nt: NDArray[np.int64]
    drawn_nt: NDArray[np.float64]
    clusters: NDArray[np.int64]
    """By the type of the representative."""


def _count(splits: list[Split]) -> _Counts:
    """Count in one pass, some clusters at a time: no array as long as the corpus is made."""
    size, bins = len(splits[0].rna_types), len(LENGTH_EDGES_NT)
    records, drawn = np.zeros(size * bins, np.int64), np.zeros(size * bins)
    nt, drawn_nt, clusters = np.zeros(size), np.zeros(size), np.zeros(size, np.int64)
    for split in splits:
        for first in range(0, split.num_clusters, CHUNK_CLUSTERS):
            starts = split.cluster_starts[first : first + CHUNK_CLUSTERS + 1]
            part, sizes = slice(starts[0], starts[-1]), np.diff(starts)
            types, lengths = split.rna_type_ids[part], split.lengths_nt[part]
            chances = np.repeat(1 / sizes, sizes)
            cells = types * bins + find_bins(lengths)
            records += np.bincount(cells, minlength=size * bins)
            drawn += np.bincount(cells, weights=chances, minlength=size * bins)
            nt += np.bincount(types, weights=lengths, minlength=size)
            drawn_nt += np.bincount(types, weights=chances * lengths, minlength=size)
            clusters += np.bincount(split.rna_type_ids[starts[:-1]], minlength=size)
    return _Counts(
        records=records.reshape(size, bins),
        drawn=drawn.reshape(size, bins),
        nt=nt.astype(np.int64),  # exact: sums of whole numbers below 2**53
        drawn_nt=drawn_nt,
        clusters=clusters,
    )


def _read_weighted(manifest: dict[str, Any]) -> list[Composition]:
    """Return the epoch that the manifest recommends, if types are weighted: it states shares."""
    types = manifest.get("composition", {}).get("types", {})
    if all(row["epoch_nt_share"] == row["clusters_nt_share"] for row in types.values()):
        return []
    return [
        Composition(
            stage=WEIGHTED,
            records={name: row["epoch_sequence_share"] for name, row in types.items()},
            nt={name: row["epoch_nt_share"] for name, row in types.items()},
        )
    ]


def _read_accepted(
    folder: Path, steps: dict[str, dict[str, Any]]
) -> tuple[Composition, Sequence[float]] | None:
    """Return composition and lengths before duplicates go, batch by batch; None without steps."""
    path = folder / "steps" / "records" / "records.arrow"
    if "records" not in steps or not path.is_file():
        return None
    names = steps["records"]["report"]["rna_types"]
    records, nt = np.zeros(len(names)), np.zeros(len(names))
    bins = np.zeros(len(LENGTH_EDGES_NT), np.int64)
    for batch in _iter_batches(path):
        types = batch.column("rna_type").to_numpy()
        lengths = pc.call_function("binary_length", [batch.column("sequence")]).to_numpy()
        records += np.bincount(types, minlength=len(names))
        nt += np.bincount(types, weights=lengths, minlength=len(names))
        bins += count_lengths(lengths)
    return _name_composition(ACCEPTED, names, records, nt), bins.tolist()


def _iter_batches(path: Path) -> Iterator[pa.RecordBatch]:
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    for number in range(file.num_record_batches):
        yield file.get_batch(number)


def _name_composition(
    stage: str, names: tuple[str, ...] | list[str], records: NDArray, nt: NDArray
) -> Composition:
    return Composition(
        stage=stage,
        records=dict(zip(names, records.tolist(), strict=True)),
        nt=dict(zip(names, nt.tolist(), strict=True)),
    )


def _find_median(counts: NDArray[np.int64]) -> int:
    if not counts.any():
        return 0
    middle = np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2)
    return int(LENGTH_EDGES_NT[middle])


def _count_ambiguous(splits: list[Split]) -> list[int]:
    """Return the looked-at records by their share of letters other than A, C, G and U."""
    total = sum(split.num_records for split in splits)
    step = -(-total // SAMPLED_RECORDS)
    shares = [
        len(letters.translate(None, NUCLEOTIDES)) / len(letters)
        for split in splits
        for letters in (split.sequence(i).tobytes() for i in range(0, split.num_records, step))
    ]
    bins = np.searchsorted(AMBIGUOUS_EDGES, np.asarray(shares), side="right") - 1
    return np.bincount(bins, minlength=len(AMBIGUOUS_EDGES)).tolist()
