"""RNAs with known structures: where they lie, and reading them from any of the formats."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....data_prep.sample import SAMPLE_STRUCTURES
from ..structure import Pairs
from .raw_structure import RawStructure, drop_gaps, normalise
from .structure_files import iter_raw_structures, list_structure_files

logger = logging.getLogger(__name__)

ARCHIVEII = "archiveII*.tsv*"
"""ArchiveII's file, in a data folder or in `structure/` inside it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StructureRecord:
    """One RNA: upper case, U for T, and its known base pairs."""

    id: str
    family: str
    sequence: str
    pairs_P2: Pairs
    partition: str = ""
    """Of a published split, such as TR0: a table's column, or the folder the file lies in."""


def find_structures(data: Path | None) -> Path:
    """What `data` means: the sample for None, ArchiveII in a folder, or the path itself."""
    if data is None:
        return SAMPLE_STRUCTURES
    return find_in_folder(data, ARCHIVEII) or data


def find_in_folder(data: Path, pattern: str) -> Path | None:
    """The one file of a folder, or of `structure/` in it, that matches; two are an error."""
    if not data.is_dir():
        return None
    found = sorted([*data.glob(pattern), *(data / "structure").glob(pattern)])
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise FileNotFoundError(f"{data} must hold one {pattern}, found {names}; give the file")
    return found[0] if found else None


def read_structures(source: Path) -> list[StructureRecord]:
    """Every RNA of a file, a folder or a glob, in order; a bad record is an error that names it.

    A family is what the file says. Where it says none, a file of several RNAs is a family under
    the file's name, and a file of one RNA belongs to its folder.
    """
    records: list[StructureRecord] = []
    seen: set[tuple[str, str]] = set()
    num_conflicts = 0
    for path in list_structure_files(source):
        raws = list(iter_raw_structures(path))
        if not raws:
            raise ValueError(f"{path} holds no RNA")
        num_conflicts += sum(raw.num_conflicts for raw in raws)
        for raw, record in zip(
            raws, _iter_records(raws, path, is_file=path == source), strict=True
        ):
            if (record.family, record.id) in seen:
                raise ValueError(
                    f"{path}:{raw.line} repeats the id {record.id!r}; give each RNA its own, and "
                    "keep one structure of each"
                )
            seen.add((record.family, record.id))
            records.append(record)
    if num_conflicts:
        logger.warning(
            "%s: %d pairs dropped: a base of theirs has another partner, and the pair that both "
            "bases state, then the 5'-most, is kept",
            source,
            num_conflicts,
        )
    return records


def hash_file(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_structures(source: Path) -> str:
    """sha256 of a file; of the names and hashes of all files where there are several."""
    if source.is_file():
        return hash_file(source)
    digest = hashlib.sha256()
    for path in list_structure_files(source):
        digest.update(f"{path.parent.name}/{path.name} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def _iter_records(
    raws: Sequence[RawStructure], path: Path, *, is_file: bool
) -> Iterator[StructureRecord]:
    stem = _strip(path.name)
    folder = "" if is_file else path.parent.name
    alone = len(raws) == 1
    for raw in raws:
        if not (raw.id or alone):
            raise ValueError(f"{path}:{raw.line} has no id; begin each record with a line `>id`")
        try:
            letters, pairs = drop_gaps(raw.sequence, raw.pairs)
            sequence = normalise(letters)
        except ValueError as error:
            raise ValueError(f"{path}:{raw.line} ({raw.id or stem}): {error}") from error
        if not sequence:
            raise ValueError(f"{path}:{raw.line} ({raw.id or stem}): the sequence is all gaps")
        yield StructureRecord(
            id=raw.id or stem,
            family=raw.family or (folder if alone and folder else stem),
            sequence=sequence,
            pairs_P2=np.array(pairs, np.int64).reshape(-1, 2),
            partition=raw.partition or folder,
        )


def _strip(name: str) -> str:
    """A file's name without what says format and packing: `16s_x.1.ct.xz` is `16s_x.1`."""
    for packed in (".xz", ".gz"):
        name = name.removesuffix(packed)
    return Path(name).stem
