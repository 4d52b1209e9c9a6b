"""RNAs with known structures: where they lie, and reading them."""

import gzip
import hashlib
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...data_prep.sample import SAMPLE_STRUCTURES
from .dot_bracket import parse_dot_bracket
from .structure import Pairs

COLUMNS = ("id", "family", "sequence", "structure")
"""Header of a structure file: tab-separated, plain or compressed with gzip or xz."""
ARCHIVEII = "archiveII*.tsv*"
"""ArchiveII's file, in a data folder or in `structure/` inside it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StructureRecord:
    """One RNA: upper case, U for T, and its known base pairs."""

    id: str
    family: str
    sequence: str
    pairs_P2: Pairs


def find_structures(data: Path | None) -> Path:
    """The structure file `data` means: the sample for None, ArchiveII in a folder, or a file."""
    if data is None:
        return SAMPLE_STRUCTURES
    if data.is_file():
        return data
    if not data.is_dir():
        raise FileNotFoundError(f"no data at {data}: give a structure file or a folder with one")
    found = sorted([*data.glob(ARCHIVEII), *(data / "structure").glob(ARCHIVEII)])
    if len(found) != 1:
        names = ", ".join(str(path) for path in found) or "none"
        raise FileNotFoundError(
            f"{data} must hold one {ARCHIVEII}, in it or in structure/, found {names}; "
            f"or give a file with the columns {' '.join(COLUMNS)}"
        )
    return found[0]


def read_structures(path: Path) -> list[StructureRecord]:
    """Every RNA of a structure file, in its order; a bad line is an error that names it."""
    with _open_text(path) as lines:
        header = tuple(lines.readline().rstrip("\r\n").split("\t"))
        if header != COLUMNS:
            raise ValueError(
                f"{path} must begin with the tab-separated columns {' '.join(COLUMNS)}, "
                f"got {' '.join(header)!r}"
            )
        records = list(_iter_records(lines, path))
    if not records:
        raise ValueError(f"{path} has a header but no RNA")
    return records


def hash_file(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iter_records(lines: TextIO, path: Path) -> Iterator[StructureRecord]:
    seen: set[str] = set()
    for number, line in enumerate(lines, start=2):
        values = line.rstrip("\r\n").split("\t")
        if len(values) != len(COLUMNS):
            raise ValueError(f"{path}:{number} has {len(values)} columns, must be {len(COLUMNS)}")
        name, family, sequence, structure = values
        if not (name and family and sequence):
            raise ValueError(f"{path}:{number} has an empty id, family or sequence")
        if name in seen:
            raise ValueError(f"{path}:{number} repeats the id {name!r}")
        if len(sequence) != len(structure):
            raise ValueError(
                f"{path}:{number} ({name}): {len(sequence)} nt but a structure of {len(structure)}"
            )
        try:
            pairs_P2 = parse_dot_bracket(structure)
        except ValueError as error:
            raise ValueError(f"{path}:{number} ({name}): {error}") from error
        seen.add(name)
        yield StructureRecord(
            id=name,
            family=family,
            sequence=sequence.upper().replace("T", "U"),
            pairs_P2=pairs_P2,
        )


def _open_text(path: Path) -> TextIO:
    if not path.exists():
        raise FileNotFoundError(f"no structure file {path}")
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="ascii")  # type: ignore[return-value]
