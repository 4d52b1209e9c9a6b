"""The step `unique`: one record of each sequence, what was merged into it, what is excluded."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .audits.exclusion import ExclusionConfig, Labels, choose_kept
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
    take_rows,
    view_digests,
    write_parts,
)
from .engine import LOCAL_ENGINE, Engine
from .merged import MERGED_NAME, MERGED_SCHEMA, collect_merged
from .products import (
    GATHER_RECORDS,
    iter_sequences,
    load_product,
    open_records,
    save_product,
)
from .records import RECORDS_NAME
from .shards import gather, hash_file
from .type_words import rank_type

EXACT_DUPLICATES = DedupConfig()
NOTHING_EXCLUDED = ExclusionConfig()
BYTES_PER_SORTED = 200  # of a row and of the identifiers that are merged


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
    per unique record, and 12 per duplicate.
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
    types = records.column("rna_type")
    exclusion = None
    if exclude.benchmarks or exclude.families:
        labels = [
            Labels(types.to_numpy()[unique], rna_types),
            Labels(np.concatenate(merged_types), rna_types, np.concatenate(merged_into)),
        ]
        is_kept, exclusion = choose_kept(
            partial(iter_sequences, records, unique),
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
        "rna_types": [rna_types[number] for number in np.unique(types.to_numpy()[unique])],
        "exclusion": exclusion,
        "sequences_sha256": sequences.hexdigest(),
        "merged_sha256": hash_file(path),
        "sha256": save_product(folder, "unique", unique),
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
    digests = view_digests(batch).tobytes()
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
    kept, indices = take_rows(rows, np.flatnonzero(is_first)), rows["tag"] >> INDEX_SHIFT
    keys = join_keys(kept).tobytes()
    if config.reverse_complement:
        keys += ((kept["tag"] & FLIPPED) // FLIPPED).astype(np.uint8).tobytes()
    merged = collect_merged(open_records(steps), indices, is_first)
    return _SortedPart(indices[is_first], keys, merged, (np.cumsum(is_first) - 1)[~is_first])
