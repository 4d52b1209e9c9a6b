"""The table of single sequences beside a task's report: what people open, and `compare` pairs."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

TABLE = "sequences.csv"


def write_table(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows of the same columns; the file appears whole or not at all."""
    rows = iter(rows)
    first = next(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(first), lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)
    scratch.replace(path)
    return path


def read_table(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a table; none where there is no file. A column that it lacks is an error."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if missing := set(columns) - set(rows.fieldnames or ()):
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        return list(rows)
