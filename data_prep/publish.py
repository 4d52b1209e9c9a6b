"""The last step: shards and manifest, made aside and then put in place together."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .composition import TypeWeights, describe_composition
from .engine import LOCAL_ENGINE, Engine
from .merged import publish_merged
from .products import load_product, open_records
from .shard_writer import write_shards
from .shards import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SHARD_SCHEMA,
    SHARDS_FOLDER,
    SPLITS,
    Split,
    gather,
    hash_file,
    open_split,
    read_manifest,
    write_manifest,
)

BLOCK_NT = 1 << 20  # `bincount` widens its input to eight bytes a letter


def build_shards(
    folder: Path,
    steps: Path,
    *,
    facts: dict[str, Any],
    records_report: dict[str, Any],
    weights: TypeWeights,
    max_shard_nt: int,
    engine: Engine = LOCAL_ENGINE,
) -> dict[str, Any]:
    """Write the shards of both splits, what was merged, and a manifest that states `facts`."""
    unique = load_product(steps, "unique")
    representatives, cluster_of_position = np.unique(
        load_product(steps, "clusters"), return_inverse=True
    )
    is_member = np.ones(len(unique), bool)
    is_member[representatives] = False
    records = open_records(steps)
    # Duplicates, which no shard takes, are in cluster -1.
    clusters = np.full(records.num_rows, -1, np.int64)
    clusters[unique] = cluster_of_position
    records = records.append_column("cluster", pa.array(clusters))
    labels = _read_labels(records, unique, records_report)
    # Cluster by cluster; in each the representative, then the members in the order of digests.
    positions = np.lexsort((is_member, cluster_of_position))
    is_validation = load_product(steps, "split")[cluster_of_position[positions]]
    chosen = dict(zip(SPLITS, (positions[~is_validation], positions[is_validation]), strict=True))
    shards = {
        split: write_shards(
            folder,
            split,
            records=records,
            order=unique[chosen[split]],
            take=partial(_take_rows, steps, labels),
            max_shard_nt=max_shard_nt,
            engine=engine,
        )
        for split in SPLITS
    }
    manifest = {
        "format_version": FORMAT_VERSION,
        **facts,
        "rna_types": labels.rna_types,
        "splits": {split: {"shards": shards[split]} for split in SPLITS},
        "merged": publish_merged(steps, folder, records_report),
    }
    write_manifest(folder, manifest)
    for split in SPLITS:
        description = describe_split(open_split(folder, split))
        manifest["splits"][split] = {**description, "shards": shards[split]}
    manifest["composition"] = describe_composition(open_split(folder, "train"), weights)
    write_manifest(folder, manifest)
    return {"shards": sum(map(len, shards.values()))}


def describe_split(split: Split) -> dict[str, Any]:
    """Return a split's composition; a cluster's RNA type is that of its representative."""
    types, size = split.rna_type_ids, len(split.rna_types)
    records = np.bincount(types, minlength=size)
    clusters = np.bincount(types[split.cluster_starts[:-1]], minlength=size)
    nt = np.bincount(types, weights=split.lengths_nt, minlength=size)
    letters = np.zeros(256, np.int64)
    for shard in split.iter_letters():
        for start in range(0, len(shard), BLOCK_NT):
            letters += np.bincount(shard[start : start + BLOCK_NT], minlength=256)
    shares = letters[letters > 0] / split.num_nt
    return {
        "records": split.num_records,
        "clusters": split.num_clusters,
        "nt": split.num_nt,
        "rna_types": {
            name: {"records": int(records[i]), "clusters": int(clusters[i]), "nt": int(nt[i])}
            for i, name in enumerate(split.rna_types)
        },
        "letters": {chr(letter): int(letters[letter]) for letter in np.flatnonzero(letters)},
        "unigram_entropy_nats_per_nt": round(float(-(shares * np.log(shares)).sum()), 6),
    }


def publish(made: Path, out: Path) -> dict[str, Any]:
    """Put a finished step's shards and manifest in place; return the manifest.

    The old manifest goes first and the new one comes last, so that a reader meets shards that the
    manifest describes, or no manifest. Interrupted anywhere, it is completed by the next call.
    """
    new_shards = made / SHARDS_FOLDER
    if new_shards.exists():
        (out / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(out / SHARDS_FOLDER, ignore_errors=True)
        new_shards.rename(out / SHARDS_FOLDER)
    manifest = read_manifest(made)
    old, new = out / MANIFEST_NAME, made / MANIFEST_NAME
    if not old.is_file() or old.read_bytes() != new.read_bytes():
        write_manifest(out, manifest)
    return manifest


def is_complete(made: Path, out: Path) -> bool:
    """Say whether every file of a finished step is in place and whole, or waits to be put there."""
    if (made / SHARDS_FOLDER).exists():
        return True
    manifest = read_manifest(made)
    entries = [s for split in SPLITS for s in manifest["splits"][split]["shards"]]
    entries.append(manifest["merged"])
    paths = {out / entry["file"]: entry["sha256"] for entry in entries}
    return all(path.is_file() and hash_file(path) == sha256 for path, sha256 in paths.items())


class _Labels(NamedTuple):
    """What the numbers of the records' columns stand for in the shards."""

    sources: list[str]
    rna_types: list[str]
    """Those that occur, sorted."""
    places: NDArray[np.int32]
    """Where each of the report's RNA types is in `rna_types`."""


def _read_labels(records: pa.Table, unique: np.ndarray, report: dict[str, Any]) -> _Labels:
    names = report["rna_types"]
    numbers = np.unique(records.column("rna_type").to_numpy()[unique])
    vocabulary = sorted({names[number] for number in numbers})
    place = {rna_type: number for number, rna_type in enumerate(vocabulary)}
    places = np.array([place.get(rna_type, 0) for rna_type in names], np.int32)
    return _Labels(report["source_names"], vocabulary, places)


def _take_rows(steps: Path, labels: _Labels, rows: np.ndarray, clusters: np.ndarray) -> pa.Table:
    """Return records, by their numbers, with the shards' columns."""
    names = ["sequence", "id", "source", "rna_type"]
    taken = gather(open_records(steps).select(names), rows)
    sources = taken.column("source").combine_chunks()
    rna_types = pa.array(labels.places[taken.column("rna_type").to_numpy()])
    columns = {
        "sequence": taken.column("sequence"),
        "id": taken.column("id"),
        "cluster": pa.array(clusters),
        "source": pa.DictionaryArray.from_arrays(sources, pa.array(labels.sources)),
        "rna_type": pa.DictionaryArray.from_arrays(rna_types, pa.array(labels.rna_types)),
    }
    return pa.table(columns, schema=SHARD_SCHEMA)
