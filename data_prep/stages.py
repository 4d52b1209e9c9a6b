"""The steps between records and shards: each function makes its product from those before it.

A record's position is its place among the unique records in the order of their digests; clusters
are numbered in the order of their representatives' positions.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from .audits.exclusion import ExclusionConfig, Labels, choose_kept
from .clusters.cluster_update import OldClusters, name_clusters, update_clusters
from .clusters.clustering import cluster_sequences
from .dedup import (
    DIGEST_BYTES,
    FLIPPED,
    INDEX_SHIFT,
    PART_RECORDS,
    ROW,
    DedupConfig,
    hash_reverse_complements,
    join_keys,
    make_rows,
    sort_rows,
    write_parts,
)
from .engine import LOCAL_ENGINE, Engine
from .merged import MERGED_NAME, MERGED_SCHEMA, collect_merged
from .mmseqs import ClusterConfig
from .records import RECORDS_NAME
from .shards import gather, hash_file
from .split import SplitConfig, choose_validation
from .type_words import rank_type

GATHER_RECORDS = 131_072
EXACT_DUPLICATES = DedupConfig()
NOTHING_EXCLUDED = ExclusionConfig()
BYTES_PER_SORTED = 200  # of a row and of the identifiers that are merged


def open_records(steps: Path) -> pa.Table:
    """Map the records of the first step."""
    return pa.ipc.open_file(pa.memory_map(str(steps / "records" / RECORDS_NAME))).read_all()


def load_product(steps: Path, name: str) -> np.ndarray:
    """Return the array that a step made."""
    return np.load(steps / name / f"{name}.npy")


def build_unique(
    folder: Path,
    steps: Path,
    config: DedupConfig = EXACT_DUPLICATES,
    *,
    rna_types: Sequence[str],
    exclude: ExclusionConfig = NOTHING_EXCLUDED,
    engine: Engine = LOCAL_ENGINE,
) -> dict[str, Any]:
    """Save the index of each unique record, in the order of the digests, and what was merged.

    `rna_types` are those that the records' numbers stand for. What `exclude` names is left out; a
    family takes what any record of a sequence calls so. Beside one part's rows, it holds 16 bytes
    per unique record, and 16 per duplicate.
    """
    records = open_records(steps)
    sequences = hashlib.sha256()
    unique, merged_types, merged_into = [], [], []
    count = 0
    path = folder / MERGED_NAME
    ranks = np.array([rank_type(name) for name in rna_types])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, MERGED_SCHEMA) as writer:
        rows = engine.map(partial(_read_rows, steps, config, ranks), _list_batches(records))
        parts = write_parts(rows, records.num_rows, folder)
        sort = partial(_sort_part, steps, config)
        sorted_parts = engine.map(sort, parts, memory_bytes=BYTES_PER_SORTED * PART_RECORDS)
        for path_of_part, part in zip(parts, sorted_parts, strict=True):
            path_of_part.unlink()
            merged_types.append(
                pc.call_function("list_flatten", [part.merged["rna_types"]]).to_numpy()
            )
            merged_into.append(count + part.merged_into)
            unique.append(part.kept)
            count += len(part.kept)
            sequences.update(part.keys)
            writer.write_table(part.merged, max_chunksize=max(part.merged.num_rows, 1))
    unique = np.concatenate(unique)
    duplicates = records.num_rows - len(unique)
    exclusion = None
    if exclude.benchmarks or exclude.families:
        labels = [
            Labels(records.column("rna_type").to_numpy()[unique], rna_types),
            Labels(np.concatenate(merged_types), rna_types, np.concatenate(merged_into)),
        ]
        is_kept, exclusion = choose_kept(
            partial(_iter_sequences, records, unique),
            len(unique),
            labels,
            folder,
            exclude,
        )
        if not is_kept.any():
            raise ValueError("--exclude leaves no record: name fewer families or benchmarks")
        if not is_kept.all():
            sequences.update(is_kept.tobytes())
        unique = unique[is_kept]
    return {
        "duplicates": duplicates,
        "excluded": records.num_rows - duplicates - len(unique),
        "unique": len(unique),
        "exclusion": exclusion,
        "sequences_sha256": sequences.hexdigest(),
        "merged_sha256": hash_file(path),
        "sha256": _save_product(folder, "unique", unique),
    }


def build_clusters(
    folder: Path,
    steps: Path,
    config: ClusterConfig,
    *,
    dedup: DedupConfig = EXACT_DUPLICATES,
    update: Path | None = None,
) -> dict[str, Any]:
    """Save the position of each unique record's representative, and each cluster's name.

    A name is the key of the record that founded the cluster. `update` is an earlier data folder
    whose clusters stay: new records join them or found their own.
    """
    sequences = _iter_sequences(open_records(steps), load_product(steps, "unique"))
    keys = read_keys(steps, dedup)
    if update is None:
        representatives, report = cluster_sequences(sequences, folder, config)
        names = name_clusters(keys, representatives)
    else:
        old = read_old_clusters(update / "steps", dedup)
        representatives, names, report = update_clusters(sequences, keys, folder, config, old)
    assert np.array_equal(representatives[representatives], representatives)
    sizes = np.bincount(np.unique(representatives, return_inverse=True)[1])
    return {
        "clusters": len(sizes),
        "singletons": int(np.count_nonzero(sizes == 1)),
        "largest_cluster": int(sizes.max()),
        **report,
        "names_sha256": _save_product(folder, "names", names),
        "sha256": _save_product(folder, "clusters", representatives),
    }


def read_keys(steps: Path, config: DedupConfig = EXACT_DUPLICATES) -> NDArray[np.uint8]:
    """Return what tells the unique records apart, in order: records, 16.

    It is their digest, or of both strands' digests the lower where both count as one: a release
    that keeps the other strand of a sequence has the same key.
    """
    columns = ["digest", "sequence"] if config.reverse_complement else ["digest"]
    records, order = open_records(steps).select(columns), load_product(steps, "unique")
    parts = [np.zeros((0, DIGEST_BYTES), np.uint8)]
    for start in range(0, len(order), GATHER_RECORDS):
        part = gather(records, order[start : start + GATHER_RECORDS]).combine_chunks()
        no_ranks = np.zeros(part.num_rows, np.int64)
        parts.append(join_keys(_make_rows(part.to_batches()[0], config, no_ranks, 0)))
    return np.concatenate(parts)


def read_old_clusters(steps: Path, config: DedupConfig = EXACT_DUPLICATES) -> OldClusters:
    """Read the clusters of an earlier data folder's steps."""
    return OldClusters(
        keys=read_keys(steps, config),
        representatives=load_product(steps, "clusters"),
        names=np.load(steps / "clusters" / "names.npy"),
    )


def build_split(folder: Path, steps: Path, config: SplitConfig) -> dict[str, Any]:
    """Save which clusters are for validation; a cluster's type is its representative's."""
    representatives = np.unique(load_product(steps, "clusters"))
    indices = load_product(steps, "unique")[representatives]
    chosen = gather(open_records(steps).select(["digest", "rna_type"]), indices).to_batches()[0]
    is_validation = choose_validation(
        _view_digests(chosen).reshape(-1, DIGEST_BYTES),
        chosen.column("rna_type").to_numpy(),
        config,
    )
    return {
        "train_clusters": int(np.count_nonzero(~is_validation)),
        "validation_clusters": int(np.count_nonzero(is_validation)),
        "sha256": _save_product(folder, "split", is_validation),
    }


def _list_batches(records: pa.Table) -> list[tuple[int, int]]:
    """Return the number and the first record of each batch."""
    sizes = [batch.num_rows for batch in records.to_batches()]
    return list(enumerate(np.cumsum([0, *sizes[:-1]]).tolist()))[: len(sizes)]


def _read_rows(
    steps: Path,
    config: DedupConfig,
    ranks: NDArray[np.int64],
    batch_and_first: tuple[int, int],
) -> NDArray[np.void]:
    """Return what the search for duplicates needs of one batch of the records."""
    number, first = batch_and_first
    batch = pa.ipc.open_file(pa.memory_map(str(steps / "records" / RECORDS_NAME))).get_batch(number)
    type_ranks = ranks[batch.column("rna_type").to_numpy()]
    return _make_rows(batch, config, type_ranks, first)


def _make_rows(
    batch: pa.RecordBatch, config: DedupConfig, type_ranks: NDArray[np.int64], first: int
) -> NDArray[np.void]:
    digests = _view_digests(batch).tobytes()
    other_strand = None
    if config.reverse_complement:
        sequence = batch.column("sequence")
        offsets = np.frombuffer(sequence.buffers()[1], np.int64)[: batch.num_rows + 1]
        letters = np.frombuffer(sequence.buffers()[2], np.uint8)[: offsets[-1]]
        other_strand = hash_reverse_complements(letters, offsets[1:])
    return make_rows(digests, type_ranks, first, other_strand=other_strand)


class _SortedPart(NamedTuple):
    kept: NDArray[np.int64]
    """Index of the kept record of each sequence, in the order of the digests."""
    keys: bytes
    """What tells one set of sequences from another."""
    merged: pa.Table
    merged_into: NDArray[np.int64]
    """For each merged record, in their order, the place of its kept one in `kept`."""


def _sort_part(steps: Path, config: DedupConfig, path: Path) -> _SortedPart:
    """Find the duplicates among the rows of one part."""
    rows, is_first = sort_rows(np.fromfile(path, ROW))
    kept, indices = rows[is_first], rows["tag"] >> INDEX_SHIFT
    keys = join_keys(kept).tobytes()
    if config.reverse_complement:
        keys += ((kept["tag"] & FLIPPED) // FLIPPED).astype(np.uint8).tobytes()
    merged = collect_merged(open_records(steps), indices, is_first)
    return _SortedPart(indices[is_first], keys, merged, (np.cumsum(is_first) - 1)[~is_first])


def _view_digests(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """Return the digests of a batch that is whole, as one row of bytes."""
    assert batch.column("digest").offset == 0
    buffer = batch.column("digest").buffers()[1]
    return np.frombuffer(buffer, np.uint8)[: DIGEST_BYTES * batch.num_rows]


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
