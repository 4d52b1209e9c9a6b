"""Audits that stand beside a corpus: one file a benchmark, read where its scores are printed."""

import json
from pathlib import Path
from typing import Any

from ..shards import hash_manifest

AUDITS_FOLDER = "audits"


def write_audit(corpus: Path, entry: dict[str, Any]) -> None:
    """Keep an audit's entry in the corpus's folder; a later one of the same file replaces it."""
    folder = corpus / AUDITS_FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{entry['sha256']}.json"
    scratch = path.with_name(f"{path.name}.partial")
    scratch.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(path)


def find_audit_line(corpus: Path, benchmark_sha256: str) -> str | None:
    """Return the signature of a benchmark file's audit against this very corpus, None without one.

    An audit of the folder's earlier content, with another manifest, does not count.
    """
    path = Path(corpus) / AUDITS_FOLDER / f"{benchmark_sha256}.json"
    if not path.is_file():
        return None
    entry = json.loads(path.read_text())
    return entry["line"] if entry["corpus"] == hash_manifest(corpus) else None
