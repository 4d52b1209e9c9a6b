"""What a manifest states beside its shards: inputs, parameters, tools, counts; and a summary."""

import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from .audits.exclusion import describe as describe_exclusion
from .config import DataConfig
from .earlier import EarlierData
from .mmseqs import find_mmseqs, read_version
from .reports.report import REPORT_NAME
from .seals import find_broken_seal, read_sealed, write_sealed
from .shards import MANIFEST_NAME, SHARDS_FOLDER, SPLITS, count_bytes, hash_file, hash_manifest

MAX_TYPE_ROWS = 10
CLUSTER_FACTS = (
    *("antisense_members", "antisense_clusters", "antisense_joined_others"),
    *("short_sequences", "short_joined_short", "short_joined_longer"),
)
"""What the clusters' report says beside its counts; absent where it was not asked for."""


def collect_facts(
    config: DataConfig, steps: Path, earlier: EarlierData | None = None
) -> dict[str, Any]:
    """Return what is known before the first step; neither paths nor times, so that runs compare."""
    hashes = _hash_files([*config.inputs, *config.tables], steps / "inputs.json")
    metadata = config.metadata
    return {
        "tools": {
            "openrinalmo": version("openrinalmo"),
            "python": platform.python_version(),
            "pyarrow": pa.__version__,
            "mmseqs": read_version(find_mmseqs()),
        },
        "inputs": [
            {"source": name, "bytes": count_bytes(path), "sha256": hashes[path]}
            for name, path in zip(config.source_names, config.inputs, strict=True)
        ],
        "fetched": list(config.fetched),
        "parameters": {
            "filter": asdict(config.filter),
            "formats": asdict(config.formats),
            "annotations": {
                name: path and hashes[path] for name, path in asdict(config.annotations).items()
            },
            "dedup": asdict(config.dedup),
            "exclude": describe_exclusion(config.exclude),
            "metadata": metadata
            and {
                "sha256": hashes[metadata.path],
                "id_column": metadata.id_column,
                "type_column": metadata.type_column,
            },
            "cluster": config.cluster.deciding,
            "update": earlier
            and {"clusters": earlier.clusters_fingerprint, "split": earlier.split_fingerprint},
            "split": asdict(config.split),
            "max_shard_nt": config.max_shard_nt,
        },
    }


def summarise_reports(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of every step, in their order, and examples of what was rejected."""
    counted = {
        "records": ("read", "rejected", "accepted", "accepted_nt", "sources"),
        "unique": ("duplicates", "excluded", "unique"),
        "clusters": ("clusters", "singletons", "largest_cluster", "left_out_by_mmseqs"),
        "split": ("train_clusters", "validation_clusters"),
    }
    return {
        "counts": {key: reports[step][key] for step, keys in counted.items() for key in keys},
        "cluster_facts": {
            key: reports["clusters"][key] for key in CLUSTER_FACTS if key in reports["clusters"]
        },
        "sources": reports["records"]["source_names"],
        "rejected_examples": reports["records"]["rejected_examples"],
        "exclusion": reports["unique"]["exclusion"],
    }


def format_summary(manifest: dict[str, Any], out: Path) -> str:
    """Return the counts by step and split as a short table, and where things lie."""
    return "\n".join([*_iter_summary(manifest, out), ""])


def _iter_summary(manifest: dict[str, Any], out: Path) -> Iterator[str]:
    counts = manifest["counts"]
    rejected = ", ".join(f"{reason} {n:,}" for reason, n in counts["rejected"].items() if n)
    yield f"{'read':<12}{counts['read']:>14,} records"
    yield f"{'rejected':<12}{sum(counts['rejected'].values()):>14,} {rejected}".rstrip()
    yield f"{'duplicates':<12}{counts['duplicates']:>14,}"
    if counts["excluded"]:
        yield f"{'excluded':<12}{counts['excluded']:>14,}"
    yield f"{'unique':<12}{counts['unique']:>14,} records"
    yield (
        f"{'clusters':<12}{counts['clusters']:>14,} {counts['singletons']:,} of one record, "
        f"the largest of {counts['largest_cluster']:,}"
    )
    yield ""
    yield f"{'':<32}{'records':>12}{'clusters':>12}{'nt':>16}"
    for split in SPLITS:
        part = manifest["splits"][split]
        yield _format_row(split, part)
        by_clusters = sorted(part["rna_types"].items(), key=lambda item: -item[1]["clusters"])
        for rna_type, row in by_clusters[:MAX_TYPE_ROWS]:
            yield _format_row(f"  {rna_type[:28]}", row)
        if hidden := len(by_clusters[MAX_TYPE_ROWS:]):
            yield f"  and {hidden} more RNA types, in the manifest"
        yield f"  unigram entropy {part['unigram_entropy_nats_per_nt']:.4f} nats/nt"
    yield ""
    yield f"manifest    {out / MANIFEST_NAME} (sha256 {hash_manifest(out)[:12]})"
    yield f"shards      {out / SHARDS_FOLDER}"
    yield f"report      {out / REPORT_NAME}"
    yield f"steps       {out / 'steps'}"


def _format_row(name: str, row: dict[str, Any]) -> str:
    return f"{name:<32}{row['records']:>12,}{row['clusters']:>12,}{row['nt']:>16,}"


def _hash_files(paths: list[Path], cache: Path) -> dict[Path, str]:
    """Return each file's SHA-256; `cache` remembers it while size and time of change stay."""
    is_whole = cache.is_file() and find_broken_seal(cache) is None
    known = read_sealed(cache) if is_whole else {}
    entries = {}
    for path in paths:
        if path.is_dir():  # prepared data: its manifest holds the hash of every shard
            entries[path] = str(path.resolve()), hash_manifest(path)
            continue
        stat = path.stat()
        key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        entries[path] = key, known.get(key) or hash_file(path)
    write_sealed(cache, dict(entries.values()))
    return {path: sha256 for path, (_, sha256) in entries.items()}
