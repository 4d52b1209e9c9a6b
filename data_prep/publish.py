"""The last step: shards and manifest, made aside and then put in place together."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .composition import TypeWeights, describe_composition
from .shards import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SHARD_SCHEMA,
    SHARDS_FOLDER,
    SPLITS,
    Split,
    open_split,
    read_manifest,
    write_manifest,
    write_shards,
)
from .stages import load_product, open_records

BLOCK_NT = 1 << 20  # `bincount` widens its input to eight bytes a letter


def build_shards(
    folder: Path,
    steps: Path,
    *,
    facts: dict[str, Any],
    records_report: dict[str, Any],
    weights: TypeWeights,
    max_shard_nt: int,
) -> dict[str, Any]:
    """Write the shards of both splits, and a manifest that describes them and states `facts`."""
    unique = load_product(steps, "unique")
    representatives, cluster_of_position = np.unique(
        load_product(steps, "clusters"), return_inverse=True
    )
    is_member = np.ones(len(unique), bool)
    is_member[representatives] = False
    records = _label_records(
        open_records(steps),
        unique,
        cluster_of_position,
        sources=[source["source"] for source in records_report["sources"]],
        rna_types=records_report["rna_types"],
    )
    # Cluster by cluster; in each the representative, then the members in the order of digests.
    positions = np.lexsort((is_member, cluster_of_position))
    is_validation = load_product(steps, "split")[cluster_of_position[positions]]
    chosen = dict(zip(SPLITS, (positions[~is_validation], positions[is_validation]), strict=True))
    shards = {
        split: write_shards(
            folder, split, records=records, order=unique[chosen[split]], max_shard_nt=max_shard_nt
        )
        for split in SPLITS
    }
    manifest = {
        "format_version": FORMAT_VERSION,
        **facts,
        "rna_types": records.column("rna_type").chunk(0).dictionary.to_pylist(),
        "splits": {split: {"shards": shards[split]} for split in SPLITS},
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
    if not (out / MANIFEST_NAME).exists():
        write_manifest(out, manifest)
    return manifest


def is_complete(made: Path, out: Path) -> bool:
    """Say whether every shard of a finished step is in place, or waits to be put there."""
    if (made / SHARDS_FOLDER).exists():
        return True
    shards = [s for split in SPLITS for s in read_manifest(made)["splits"][split]["shards"]]
    sizes = {path: path.stat().st_size for path in (out / SHARDS_FOLDER).glob("*.arrow")}
    return all(sizes.get(out / shard["file"]) == shard["bytes"] for shard in shards)


def _label_records(
    records: pa.Table,
    unique: np.ndarray,
    cluster_of_position: np.ndarray,
    *,
    sources: list[str],
    rna_types: list[str],
) -> pa.Table:
    """Return the records with the shards' columns; duplicates, which no shard takes, in cluster -1.

    The vocabulary of RNA types is sorted and holds those that occur.
    """
    clusters = np.full(records.num_rows, -1, np.int64)
    clusters[unique] = cluster_of_position
    numbers = records.column("rna_type").to_numpy()
    vocabulary = sorted({rna_types[number] for number in np.unique(numbers[unique])})
    place = {rna_type: number for number, rna_type in enumerate(vocabulary)}
    renumbered = np.array([place.get(rna_type, 0) for rna_type in rna_types], np.int32)[numbers]
    columns = {
        "sequence": records.column("sequence"),
        "id": records.column("id"),
        "cluster": pa.array(clusters),
        "source": pa.DictionaryArray.from_arrays(
            pa.array(records.column("source").to_numpy()), pa.array(sources)
        ),
        "rna_type": pa.DictionaryArray.from_arrays(pa.array(renumbered), pa.array(vocabulary)),
    }
    return pa.table(columns, schema=SHARD_SCHEMA)
