"""RNAs with known structures: where they lie, and reading them from any of the formats."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....data_prep.sample import SAMPLE_STRUCTURES
from ..structure import Pairs
from .raw_structure import RawStructure, drop_gaps, normalise
from .structure_files import iter_raw_structures, list_structure_files

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


_Known = dict[tuple[str, str], tuple[str, StructureRecord]]
"""By family and id, or by file and sequence: where an RNA stands first, and what is known of it."""


def find_structures(data: Path | None) -> Path:
    """What `data` means: the sample for None, ArchiveII in a folder, or the path itself.

    A folder with folders of benchmarks inside it is not read as a set of structures.
    """
    if data is None:
        return SAMPLE_STRUCTURES
    found = find_in_folder(data, ARCHIVEII)
    if found is None and any((data / name).is_dir() for name in BENCHMARK_FOLDERS):
        raise FileNotFoundError(f"{data} holds no {ARCHIVEII}, in it or in structure/")
    return found or data


def describe_structures_lack(data: Path) -> str:
    """What keeps `find_structures(data)` from being read; empty where nothing is seen to.

    ArchiveII is taken as it is; of a set of files each is read as far as its first RNA.
    """
    try:
        source = find_structures(data)
        for path in list_structure_files(source) if source == data else ():
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

    A family is what the file says. Where it says none, a file of several RNAs is a family under
    the file's name, and a file of one RNA belongs to its folder; but where all these RNAs have ids
    as ArchiveII's, such as `5s_x` and `tRNA_y`, what these begin with is the family. RNAs without
    an id are called after their file, with their place in it where there are several.

    Where `require_families`, an RNA without a family in a file that has them is an error, not one
    of a family under the file's name.
    """
    records: list[StructureRecord] = []
    familyless: list[int] = []
    unnamed: list[str] = []
    known: _Known = {}
    num_conflicts = 0
    for path in list_structure_files(source):
        raws = list(iter_raw_structures(path))
        if not raws:
            raise ValueError(f"{path} holds no RNA")
        if any(raw.family for raw in raws):
            unnamed += [f"{path}:{raw.line} ({raw.id})" for raw in raws if not raw.family]
        for raw, record in zip(raws, _iter_records(raws, path, source), strict=True):
            _check_new(known, record, path, raw)
            if not raw.family:
                familyless.append(len(records))
            records.append(record)
            num_conflicts += raw.num_conflicts
    prefixes = [records[index].id.partition("_")[0] for index in familyless]
    if ARCHIVEII_FAMILIES.issuperset(prefixes):
        for index, family in zip(familyless, prefixes, strict=True):
            records[index] = replace(records[index], family=family)
    elif require_families and unnamed:
        raise ValueError(
            f"{unnamed[0]} has no family, and others of the file have one; {len(unnamed)} are "
            "without: fill them in, or take these RNAs out"
        )
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
    """sha256 of a file; of the names and hashes of all files where there are several."""
    if source.is_file():
        return hash_file(source)
    digest = hashlib.sha256()
    for path in list_structure_files(source):
        digest.update(f"{path.parent.name}/{path.name} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def _iter_records(
    raws: Sequence[RawStructure], path: Path, source: Path
) -> Iterator[StructureRecord]:
    stem = _strip(path.name)
    folder = "" if path == source else path.absolute().parent.name
    alone = len(raws) == 1
    for place, raw in enumerate(raws, start=1):
        name = raw.id or (stem if alone else f"{stem}.{place}")
        try:
            letters, pairs = drop_gaps(raw.sequence, raw.pairs)
            sequence = normalise(letters)
        except ValueError as error:
            raise ValueError(f"{path}:{raw.line} ({name}): {error}") from error
        if not sequence:
            raise ValueError(f"{path}:{raw.line} ({name}): the sequence is all gaps")
        yield StructureRecord(
            id=name,
            family=raw.family or (folder if alone and folder else stem),
            sequence=sequence,
            pairs_P2=np.array(pairs, np.int64).reshape(-1, 2),
            # A folder inside the source, not the one that was asked for.
            partition=raw.partition or ("" if path.parent == source else folder),
        )


def _check_new(known: _Known, record: StructureRecord, path: Path, raw: RawStructure) -> None:
    """Refuse a second RNA of one id, and a second structure of one RNA."""
    place = f"{path}:{raw.line}"
    by_id = (record.family, record.id)
    # Without an id an RNA of a file is known by its letters.
    for key in [by_id] if raw.id else [by_id, (str(path), record.sequence)]:
        where, first = known.setdefault(key, (place, record))
        if first is record:
            continue
        is_same_rna = first.sequence == record.sequence
        if is_same_rna and not np.array_equal(first.pairs_P2, record.pairs_P2):
            raise ValueError(
                f"{place} gives {first.id!r} of {where} another structure, as lists of suboptimal "
                "foldings do; keep one structure of each RNA"
            )
        if key == by_id:
            raise ValueError(f"{place} repeats the id {record.id!r} of {where}; give each its own")


def _strip(name: str) -> str:
    """A file's name without what says format and packing: `16s_x.1.ct.xz` is `16s_x.1`."""
    for packed in (".xz", ".gz"):
        name = name.removesuffix(packed)
    return Path(name).stem
