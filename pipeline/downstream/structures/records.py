"""RNAs with known structures: where they lie, and reading them from any of the formats."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....data_prep.sample import SAMPLE_STRUCTURES
from ..structure import Pairs
from .partitions import drop_partitions, find_partition
from .raw_structure import RawStructure, drop_gaps, normalise
from .structure_files import find_structure_files, iter_raw_structures, list_structure_files
from .text_files import strip_packing

logger = logging.getLogger(__name__)

ARCHIVEII = "archiveII*.tsv*"
"""ArchiveII's file, in a data folder or in `structure/` inside it."""
BENCHMARK_FOLDERS = ("structure", "splice", "mrl", "classification")
"""What folders of benchmarks are called in a data folder."""
ARCHIVEII_FAMILIES = frozenset(
    {"5s", "16s", "23s", "grp1", "grp2", "RNaseP", "srp", "telomerase", "tmRNA", "tRNA"}
)
"""What the names of ArchiveII's files begin with, before `_`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StructureRecord:
    """One RNA: upper case, U for T, and its known base pairs."""

    id: str
    family: str
    sequence: str
    pairs_P2: Pairs
    partition: str = ""
    """Of a published split, such as TR0: a table's column, or the folder the file lies in."""


class _Origin(NamedTuple):
    """Where a record was read."""

    path: Path
    folders: tuple[str, ...]
    """Those of the source that the file lies in, less partitions."""
    line: int
    has_id: bool
    """Whether the file gives it one."""


def find_structures(data: Path | None) -> Path:
    """What `data` means: the sample for None, ArchiveII in a folder, or the path itself, named.

    A folder with folders of benchmarks inside it is not read as a set of structures.
    """
    if data is None:
        return SAMPLE_STRUCTURES
    found = find_in_folder(data, ARCHIVEII)
    if found is None and any((data / name).is_dir() for name in BENCHMARK_FOLDERS):
        mine = data / "structure"
        cure = f"; to read your own files give --data {mine}" if mine.is_dir() else ""
        raise FileNotFoundError(f"{data} holds no {ARCHIVEII}, in it or in structure/{cure}")
    return found or spell_out(data)


def spell_out(path: Path) -> Path:
    """The path, but `.` and `..` as the folders they are: what it is called is in its name."""
    return path if path.name not in ("", "..") else path.resolve()


def describe_structures_lack(data: Path) -> str:
    """What keeps `find_structures(data)` from being read; empty where nothing is seen to.

    ArchiveII is taken as it is; of a set of files each is read as far as its first RNA.
    """
    try:
        source = find_structures(data)
        for path in list_structure_files(source) if source == spell_out(data) else ():
            if next(iter_raw_structures(path), None) is None:
                return f"{path} holds no RNA"
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    return ""


def find_in_folder(data: Path, pattern: str) -> Path | None:
    """The one file of a folder, or of `structure/` in it, that matches; two are an error."""
    if not data.is_dir():
        return None
    found = sorted([*data.glob(pattern), *(data / "structure").glob(pattern)])
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise FileNotFoundError(f"{data} must hold one {pattern}, found {names}; give the file")
    return found[0] if found else None


def read_structures(source: Path, *, require_families: bool = False) -> list[StructureRecord]:
    """Every RNA of a file, a folder or a glob, in order; a bad record is an error that names it.

    A family is what the file says. Where it says none, but all these RNAs have ids as ArchiveII's,
    such as `5s_x` and `tRNA_y`, what these begin with is the family. Else, where a file of the
    folder holds several RNAs, each file of it is a family under its own name; files of one RNA each
    are of the outermost folder inside the source. Folders of partitions are passed over. RNAs
    without an id are called after their file, with their place in it where there are several.

    Where `require_families`, an RNA without a family in a file that has them is an error, not one
    of a family under the file's name.
    """
    files, root, left_out = find_structure_files(source)
    if left_out:
        logger.warning(
            "%s: %d files are not read, for what their names end in: %s",
            source,
            len(left_out),
            ", ".join(str(path.relative_to(root)) for path in left_out[:5]),
        )
    records: list[StructureRecord] = []
    origins: list[_Origin] = []
    unnamed: list[str] = []
    named_by_file: set[tuple[str, ...]] = {()} if source.is_file() else set()
    num_conflicts = 0
    for path in files:
        raws = list(iter_raw_structures(path))
        if not raws:
            raise ValueError(f"{path} holds no RNA")
        folders = path.relative_to(root).parts[:-1]
        inside = drop_partitions(folders)
        if raws[1:] and not all(raw.family for raw in raws):
            named_by_file.add(inside)
        if any(raw.family for raw in raws):
            unnamed += [f"{path}:{raw.line} ({raw.id})" for raw in raws if not raw.family]
        records += _iter_records(raws, path, folders)
        origins += [_Origin(path, inside, raw.line, bool(raw.id)) for raw in raws]
        num_conflicts += sum(raw.num_conflicts for raw in raws)
    familyless = [place for place, record in enumerate(records) if not record.family]
    families = [records[place].id.partition("_")[0] for place in familyless]
    if not ARCHIVEII_FAMILIES.issuperset(families):
        if require_families and unnamed:
            raise ValueError(
                f"{unnamed[0]} has no family, and others of the file have one; {len(unnamed)} are "
                "without: fill them in, or take these RNAs out"
            )
        families = [
            _name_family(origins[place], by_file=origins[place].folders in named_by_file)
            for place in familyless
        ]
    for place, family in zip(familyless, families, strict=True):
        records[place] = replace(records[place], family=family)
    _check_new(records, origins)
    if num_conflicts:
        logger.warning(
            "%s: %d pairs dropped: a base of theirs has another partner; kept is the pair both "
            "bases state, then the 5'-most, and of Stockholm's lines the pair of the earlier one",
            source,
            num_conflicts,
        )
    return records


def hash_file(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_structures(source: Path) -> str:
    """sha256 of a file; of the names and hashes of all files where there are several.

    A name is the path inside the source; of a file in no folder there, its folder stands before it.
    """
    if source.is_file():
        return hash_file(source)
    files, root, _ = find_structure_files(source)
    digest = hashlib.sha256()
    for path in files:
        inside = path.relative_to(root)
        name = inside if inside.parts[1:] else spell_out(root).name / inside
        digest.update(f"{name.as_posix()} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def _iter_records(
    raws: Sequence[RawStructure], path: Path, folders: Sequence[str]
) -> Iterator[StructureRecord]:
    """Records of a file in `folders` of its source; a family that it does not state is empty."""
    stem = _strip(path.name)
    for place, raw in enumerate(raws, start=1):
        name = raw.id or (f"{stem}.{place}" if raws[1:] else stem)
        try:
            letters, pairs = drop_gaps(raw.sequence, raw.pairs)
            sequence = normalise(letters)
        except ValueError as error:
            raise ValueError(f"{path}:{raw.line} ({name}): {error}") from error
        if not sequence:
            raise ValueError(f"{path}:{raw.line} ({name}): the sequence is all gaps")
        yield StructureRecord(
            id=name,
            family=raw.family,
            sequence=sequence,
            pairs_P2=np.array(pairs, np.int64).reshape(-1, 2),
            partition=raw.partition or find_partition(folders),
        )


def _name_family(origin: _Origin, *, by_file: bool) -> str:
    """The family of an RNA whose file states none: its file's name, or its outermost folder's."""
    if by_file:
        return _strip(origin.path.name)
    return origin.folders[0] if origin.folders else spell_out(origin.path.parent).name


def _check_new(records: Sequence[StructureRecord], origins: Sequence[_Origin]) -> None:
    """Refuse a second RNA of one id, and a second structure of one RNA."""
    known: dict[tuple[str, str], tuple[str, StructureRecord]] = {}
    for record, (path, _, line, has_id) in zip(records, origins, strict=True):
        place = f"{path}:{line}"
        by_id = (record.family, record.id)
        # Without an id an RNA of a file is known by its letters.
        for key in [by_id] if has_id else [by_id, (str(path), record.sequence)]:
            where, first = known.setdefault(key, (place, record))
            if first is record:
                continue
            is_same_rna = first.sequence == record.sequence
            if is_same_rna and not np.array_equal(first.pairs_P2, record.pairs_P2):
                raise ValueError(
                    f"{place} gives {first.id!r} of {where} another structure, as lists of "
                    "suboptimal foldings do; keep one structure of each RNA"
                )
            if key == by_id:
                raise ValueError(
                    f"{place} repeats the id {record.id!r} of {where}; give each its own"
                )


def _strip(name: str) -> str:
    """A file's name without what says format and packing: `16s_x.1.ct.xz` is `16s_x.1`."""
    return Path(strip_packing(name)).stem
