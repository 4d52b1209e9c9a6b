"""The sequences of one file of a benchmark, in whichever format its content is."""

import csv
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from ..inputs.archives import ArchiveError, open_unpacked
from ..inputs.arrow_input import FormatConfig
from ..inputs.formats import ARROW_FILE, ARROW_STREAM, PARQUET, iter_blocks
from .benchmark_tables import (
    ColumnsConfig,
    describe_absent,
    find_header,
    has_exons,
    read_exons,
    read_table,
)
from .structure_sequences import Entry, find_reader

READ = "FASTA, FASTQ, CT, BPSEQ, dot-bracket, Stockholm, Parquet or Arrow"


class NoSequencesError(ValueError):
    """A file of something else than sequences."""


class Content(NamedTuple):
    """The sequences of a file as they stand there."""

    entries: list[Entry]
    families_from: str | None
    """None if the file states no families."""


def read_content(path: Path, columns: ColumnsConfig) -> Content:
    """Return what a file holds, packed or not; `NoSequencesError` if it is none of the formats."""
    try:
        with open_unpacked(path) as stream:
            start = stream.peek(1)
            if start.lstrip().startswith((b"@", PARQUET, ARROW_FILE, ARROW_STREAM)):
                return _read_blocks(path, columns)
            if b"\0" in start:
                raise NoSequencesError(f"{path}: binary data of no format that is read")
            # Authors in comments may be in another encoding; no such letter passes as sequence.
            lines = list(TextIOWrapper(stream, encoding="utf-8", errors="replace"))
    except ArchiveError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        content = _read_text(lines, columns)
    except NoSequencesError as error:
        raise NoSequencesError(f"{path}: {error}") from error
    except (ValueError, csv.Error) as error:
        separator = ", " if str(error).startswith("line ") else ": "
        raise ValueError(f"{path}{separator}{error}") from error
    if not content.entries:
        raise NoSequencesError(f"{path}: holds no sequence")
    return content


def _read_text(lines: list[str], columns: ColumnsConfig) -> Content:
    first = next((line for line in lines if line.strip()), "")
    header = find_header(lines, columns)
    if header is not None:
        entries, family_column = read_table(lines, header, columns)
        return Content(entries, family_column and f"column {family_column}")
    if has_exons(first):
        return Content(list(read_exons(lines)), None)
    if reader := find_reader(lines):
        entries = list(reader(lines))
        return Content(entries, "alignments" if any(e.family for e in entries) else None)
    absent = describe_absent(first, "sequence", columns)
    if columns.sequence is not None:
        raise ValueError(absent)
    raise NoSequencesError(f"not {READ}, and {absent}")


def _read_blocks(path: Path, columns: ColumnsConfig) -> Content:
    """Return the records of FASTQ, Parquet or Arrow; families are the types that they state."""
    if columns.partition:
        raise ValueError(f"{path}: --partition-column is of text tables; write this as one")
    config = FormatConfig(
        sequence_column=columns.sequence or "sequence",
        id_column=columns.id,
        rna_type_column=columns.family,
    )
    entries = []
    for block in iter_blocks(path, config=config):
        start = 0
        for name, kind, end in zip(block.ids, block.rna_types, block.ends.tolist(), strict=True):
            parts = (name, block.letters[start:end].tobytes(), kind or b"")
            entries.append(Entry(*(part.decode("utf-8", errors="replace") for part in parts)))
            start = end
    return Content(entries, "types" if any(entry.family for entry in entries) else None)
