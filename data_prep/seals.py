"""Seals: JSON files that hold the hashes of the files they stand for, and their own.

Any change of a byte shows: of a listed file by its SHA-256, of the seal by the SHA-256 over its
other entries, and of its spaces because a seal is written in one way only.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .shards import hash_file

OWN_HASH = "seal_sha256"


def hash_files(folder: Path, *, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file under `folder` by its relative name, in sorted order.

    `known` names those whose hash the writer has computed already: they are not read again.
    """
    known = known or {}
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return {name: known.get(name) or hash_file(folder / name) for name in names}


def format_sealed(content: dict[str, Any]) -> str:
    """Return the text of a sealed JSON file."""
    content = {key: value for key, value in content.items() if key != OWN_HASH}
    return _format({**content, OWN_HASH: _hash(content)})


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a sealed JSON file under a temporary name and rename it."""
    scratch = path.with_name(f"{path.name}.partial")
    scratch.write_text(format_sealed(content), encoding="utf-8")
    scratch.replace(path)


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the content of a sealed file; `ValueError` if it is not as it was written."""
    if fault := find_broken_seal(path):
        raise ValueError(f"{path} {fault}")
    return json.loads(path.read_text(encoding="utf-8"))


def find_broken_seal(path: Path) -> str | None:
    """Say what is wrong with a sealed JSON file, or None if it is as it was written."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except ValueError as error:  # JSON's and UTF-8's errors are both ValueErrors
        return f"cannot be read as JSON: {error}"
    if not isinstance(content, dict) or OWN_HASH not in content:
        return f"has no {OWN_HASH}: it is damaged, or an earlier version wrote it"
    if format_sealed(content) != text:
        return f"is damaged: its content does not have its {OWN_HASH}"
    return None


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(_format(content).encode()).hexdigest()


def _format(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
