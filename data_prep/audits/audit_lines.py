"""Audits that stand beside a corpus: one file a benchmark, read where its scores are printed."""

import logging
from pathlib import Path
from typing import Any

from ..seals import find_broken_seal, read_sealed, write_sealed
from ..shards import hash_manifest

logger = logging.getLogger(__name__)

AUDITS_FOLDER = "audits"


def write_audit(corpus: Path, entry: dict[str, Any]) -> None:
    """Keep an audit's entry in the corpus's folder; a later one of the same file replaces it."""
    folder = corpus / AUDITS_FOLDER
    folder.mkdir(exist_ok=True)
    write_sealed(folder / f"{entry['sha256']}.json", entry)


def find_audit_line(corpus: Path, benchmark_sha256: str) -> str | None:
    """Return the signature of a benchmark file's audit against this very corpus, None without one.

    An audit of the folder's earlier content, with another manifest, does not count, nor does a
    damaged one: that is warned of.
    """
    path = Path(corpus) / AUDITS_FOLDER / f"{benchmark_sha256}.json"
    if not path.is_file():
        return None
    if fault := find_broken_seal(path):
        logger.warning("%s %s; it does not count: run `make audit` again", path, fault)
        return None
    entry = read_sealed(path)
    return entry["line"] if entry["corpus"] == hash_manifest(corpus) else None
