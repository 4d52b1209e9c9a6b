"""Tables of sequences: which column holds what; lines of exon, intron, exon.

A table has a line of column names, tab- or comma-separated; comments and blank lines may stand
before it. Its sequences, identifiers, families and partitions stand in the columns named, else in
the first of those that usually hold them.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .structure_sequences import Entry

USUAL = {
    "sequence": ("sequence", "seq", "utr"),
    "id": ("id", "seq_id", "name", "seqname"),
    "family": ("family", "class", "rfam_id", "rfam_acc", "species", "set", "group"),
    "partition": ("partition", "split"),
}
_EXON_INTRON_EXON = re.compile(r"[ACGTN]+ [ACGTN]+ [ACGTN]+ \d+ \S+\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnsConfig:
    """Names of a table's columns; by default the first of `USUAL` that it has, in any case."""

    sequence: str | None = None
    id: str | None = None
    family: str | None = None
    """Without such a column, what stands before an identifier's first `_`, where that recurs."""
    partition: str | None = None


def find_header(lines: Sequence[str], columns: ColumnsConfig) -> int | None:
    """Return which line names the columns of a table with sequences, None if there is none."""
    for place, line in enumerate(lines):
        if line.startswith(">"):
            return None
        if _find_column(_split_header(line)[0], "sequence", columns) is not None:
            return place
        if line.strip() and not line.startswith(("#", ";")):
            return None
    return None


def read_table(
    lines: Sequence[str], header: int, columns: ColumnsConfig
) -> tuple[list[Entry], str | None]:
    """Return the rows below the header, and the column of families; a bad row is an error."""
    names, delimiter = _split_header(lines[header])
    at = {role: _find_column(names, role, columns) for role in USUAL}
    for role, place in at.items():
        if place is None and getattr(columns, role) is not None:
            raise ValueError(describe_absent(lines[header], role, columns))
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.reader(lines[header + 1 :], delimiter=delimiter, quoting=quoting)
    entries = []
    for number, row in enumerate(rows, start=header + 2):
        if not any(map(str.strip, row)):
            continue
        if len(row) != len(names):
            raise ValueError(f"line {number}: {len(row)} fields, the first line has {len(names)}")
        part = {role: _unquote(row[place]) for role, place in at.items() if place is not None}
        entries.append(
            Entry(
                part.get("id", ""),
                part["sequence"],
                part.get("family", ""),
                part.get("partition", ""),
            )
        )
    return entries, None if at["family"] is None else names[at["family"]]


def _unquote(value: str) -> str:
    """Return a value without quotes around it; where tabs divide, `"` may be in an identifier."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def describe_absent(line: str, role: str, columns: ColumnsConfig) -> str:
    """Say which column a line does not name, and the cure."""
    names = ", ".join(_split_header(line)[0])[:200]
    wanted = getattr(columns, role)
    if wanted is not None:
        return f"no column {wanted!r} among {names}; see --{role}-column"
    usual = ", ".join(USUAL[role])
    return f"no column of {role}s ({usual}) among {names}; name it with --{role}-column"


def has_exons(line: str) -> bool:
    """Whether a line is exon, intron, exon, their number and a gene."""
    return bool(_EXON_INTRON_EXON.fullmatch(line))


def read_exons(lines: Sequence[str]) -> Iterator[Entry]:
    """Yield the three of each line joined."""
    for number, line in enumerate(lines, start=1):
        if line.strip() and not has_exons(line):
            raise ValueError(
                f"line {number}: must be exon, intron, exon, count and gene as in the first line; "
                f"it begins with {line[:30]!r}"
            )
        if line.strip():
            yield Entry("", "".join(line.split()[:3]))


def _split_header(line: str) -> tuple[list[str], str]:
    delimiter = "\t" if "\t" in line else ","
    return next(csv.reader([line.strip("\r\n")], delimiter=delimiter), []), delimiter


def _find_column(names: Sequence[str], role: str, columns: ColumnsConfig) -> int | None:
    wanted = getattr(columns, role)
    if wanted is not None:
        return names.index(wanted) if wanted in names else None
    lower = [name.strip().lower() for name in names]
    return next((lower.index(name) for name in USUAL[role] if name in lower), None)
