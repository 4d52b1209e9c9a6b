"""Tables of RNAs with dot-brackets: tab-separated, or comma-separated where no tab is there.

Values may be in quotes; comments and blank lines may stand before the names of the columns.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .dot_bracket import parse_dot_bracket
from .raw_structure import RawStructure
from .text_files import iter_values

COLUMNS = ("id", "family", "sequence", "structure")
"""Header of a structure table; `family` may be absent or empty, `partition` may stand beside."""
ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "name", "seq_id", "seqname"),
    "family": ("family", "rfam_id", "rfam_acc", "group"),
    "partition": ("partition", "split"),
    "sequence": ("sequence", "seq"),
    "structure": ("structure", "dot_bracket", "dotbracket", "secondary_structure", "ss"),
}
"""What else each column may be called, in any case; the first that is there is read."""


def read_table(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Rows in order; other columns are left alone."""
    rows = _iter_rows(lines)
    number, names = next(rows)
    header = [name.lower() for name in names]
    places = _find_columns(header, number)
    for number, values in rows:
        if len(values) != len(header):
            raise ValueError(f"line {number} has {len(values)} columns, must be {len(header)}")
        yield _build({name: values[place] for name, place in places.items()}, number)


def is_comment(line: str) -> bool:
    """Whether a line before a table's header says nothing."""
    return not line.strip() or line.startswith("#")


def is_table_header(line: str) -> bool:
    """Whether a line names the columns of a table."""
    try:
        _, names = next(_iter_rows([line]))
    except (ValueError, StopIteration):
        return False
    known = ALIASES["sequence"] + ALIASES["structure"]
    return len(names) > 1 and any(name.lower() in known for name in names)


def _iter_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows that are not empty, each with the line it begins on."""
    lines = iter(lines)
    skipped = 0
    header = next(lines, "")
    while header and is_comment(header):
        skipped, header = skipped + 1, next(lines, "")
    rows = iter_values(
        itertools.chain([header], lines),
        separator="\t" if "\t" in header else ",",
        first_line=skipped + 1,
        strict=True,
    )
    for number, values in rows:
        stripped = [value.strip() for value in values]
        if any(stripped):
            yield number, stripped


def _find_columns(header: Sequence[str], number: int) -> dict[str, int]:
    places = {
        column: next((header.index(name) for name in names if name in header), None)
        for column, names in ALIASES.items()
    }
    missing = [column for column in ("id", "sequence", "structure") if places[column] is None]
    if missing:
        raise ValueError(
            f"line {number}: no column {', '.join(missing)}; a table must begin with the columns "
            f"{' '.join(COLUMNS)}, separated by tabs or commas, got {' '.join(header)!r}; if it "
            "holds no structures, take it out of the folder"
        )
    return {column: place for column, place in places.items() if place is not None}


def _build(row: Mapping[str, str], number: int) -> RawStructure:
    name, sequence, structure = row["id"], row["sequence"], row["structure"]
    if not (name and sequence):
        raise ValueError(f"line {number} has an empty id or sequence")
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
