"""Tables of RNAs with dot-brackets: tab-separated, or comma-separated where no tab is there."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .dot_bracket import parse_dot_bracket
from .raw_structure import RawStructure

COLUMNS = ("id", "family", "sequence", "structure")
"""Header of a structure table; `family` may be absent, and `partition` may stand beside."""
ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "name", "seq_id", "seqname"),
    "family": ("family", "rfam_id", "rfam_acc", "group"),
    "partition": ("partition", "split"),
    "sequence": ("sequence", "seq"),
    "structure": ("structure", "dot_bracket", "dotbracket", "ss"),
}
"""What else each column may be called, in any case; the first that is there is read."""


def read_table(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Rows in order; other columns are left alone."""
    numbered = iter(lines)
    first = next(numbered, "").rstrip("\r\n")
    delimiter = "\t" if "\t" in first else ","
    header = [name.strip().lower() for name in first.split(delimiter)]
    places = _find_columns(header)
    rows = csv.reader(
        numbered,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
    )
    for values in rows:
        number = rows.line_num + 1
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            raise ValueError(f"line {number} has {len(values)} columns, must be {len(header)}")
        yield _build({name: values[place].strip() for name, place in places.items()}, number)


def is_table_header(line: str) -> bool:
    """Whether a file's first line names the columns of a table."""
    names = {name.strip().lower() for name in line.replace(",", "\t").split("\t")}
    return len(names) > 1 and not names.isdisjoint(ALIASES["sequence"] + ALIASES["structure"])


def _find_columns(header: Sequence[str]) -> dict[str, int]:
    places = {
        column: next((header.index(name) for name in names if name in header), None)
        for column, names in ALIASES.items()
    }
    missing = [column for column in ("id", "sequence", "structure") if places[column] is None]
    if missing:
        raise ValueError(
            f"line 1: no column {', '.join(missing)}; a table must begin with the tab-separated "
            f"columns {' '.join(COLUMNS)}, got {' '.join(header)!r}"
        )
    return {column: place for column, place in places.items() if place is not None}


def _build(row: Mapping[str, str], number: int) -> RawStructure:
    name, sequence, structure = row["id"], row["sequence"], row["structure"]
    if not (name and sequence and row.get("family", "-")):
        raise ValueError(f"line {number} has an empty id, family or sequence")
    if len(sequence) != len(structure):
        raise ValueError(
            f"line {number} ({name}): {len(sequence)} nt but a structure of {len(structure)}"
        )
    try:
        pairs = [(i, j) for i, j in parse_dot_bracket(structure).tolist()]
    except ValueError as error:
        raise ValueError(f"line {number} ({name}): {error}") from error
    return RawStructure(
        line=number,
        id=name,
        family=row.get("family", ""),
        partition=row.get("partition", ""),
        sequence=sequence,
        pairs=pairs,
    )
