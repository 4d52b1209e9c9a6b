"""Rows of the run's JSONL files: one line each, strict JSON."""

import json
import math
from pathlib import Path
from typing import Any


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append one row; NaN and infinity, which are no JSON, become null."""
    with path.open("a") as file:
        file.write(json.dumps(_without_non_finite(row), allow_nan=False) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every whole row; one without its newline is one the process died in."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_non_finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
