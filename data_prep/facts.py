"""What a manifest states beside its shards: inputs, parameters, tools, counts; and a summary."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from .config import DataConfig
from .mmseqs import find_mmseqs, read_version
from .shards import MANIFEST_NAME, SHARDS_FOLDER, SPLITS, hash_file, hash_manifest

MAX_TYPE_ROWS = 10


def collect_facts(config: DataConfig, steps: Path) -> dict[str, Any]:
    """Return what is known before the first step; neither paths nor times, so that runs compare."""
    hashes = _hash_files([*config.inputs, *_metadata_paths(config)], steps / "inputs.json")
    metadata = config.metadata
    return {
        "tools": {
            "openrinalmo": version("openrinalmo"),
            "python": platform.python_version(),
            "pyarrow": pa.__version__,
            "mmseqs": read_version(find_mmseqs()),
        },
        "inputs": [
            {"source": name, "bytes": path.stat().st_size, "sha256": hashes[path]}
            for name, path in zip(config.source_names, config.inputs, strict=True)
        ],
        "parameters": {
            "filter": asdict(config.filter),
            "metadata": metadata
            and {
                "sha256": hashes[metadata.path],
                "id_column": metadata.id_column,
                "type_column": metadata.type_column,
            },
            "cluster": {
                "min_seq_id": config.cluster.min_seq_id,
                "coverage": config.cluster.coverage,
                "cov_mode": config.cluster.cov_mode,
            },
            "split": asdict(config.split),
            "max_shard_nt": config.max_shard_nt,
        },
    }


def summarise_reports(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of every step, in their order, and examples of what was rejected."""
    counted = {
        "records": ("read", "rejected", "accepted", "accepted_nt", "sources"),
        "unique": ("duplicates", "unique"),
        "clusters": ("clusters", "singletons", "largest_cluster", "left_out_by_mmseqs"),
        "split": ("train_clusters", "validation_clusters"),
    }
    return {
        "counts": {key: reports[step][key] for step, keys in counted.items() for key in keys},
        "rejected_examples": reports["records"]["rejected_examples"],
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
    yield f"steps       {out / 'steps'}"


def _format_row(name: str, row: dict[str, Any]) -> str:
    return f"{name:<32}{row['records']:>12,}{row['clusters']:>12,}{row['nt']:>16,}"


def _metadata_paths(config: DataConfig) -> list[Path]:
    return [config.metadata.path] if config.metadata else []


def _hash_files(paths: list[Path], cache: Path) -> dict[Path, str]:
    """Return each file's SHA-256; `cache` remembers it while size and time of change stay."""
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    entries = {}
    for path in paths:
        stat = path.stat()
        key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        entries[path] = key, known.get(key) or hash_file(path)
    scratch = cache.with_name(f"{cache.name}.partial")
    scratch.write_text(json.dumps(dict(entries.values()), indent=2) + "\n")
    scratch.replace(cache)
    return {path: sha256 for path, (_, sha256) in entries.items()}
