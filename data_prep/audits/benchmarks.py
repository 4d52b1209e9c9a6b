"""Benchmarks: every file with sequences, told by its content; which part of it, which family.

A folder is read with all folders in it. Each file is a benchmark, and each partition (train, test,
…) of a table is one of its own; a folder's files of one sequence are one together.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..shards import hash_file
from .benchmark_content import Content, NoSequencesError, read_content
from .benchmark_tables import ColumnsConfig
from .structure_sequences import Entry

PACKED = (".gz", ".bz2", ".xz", ".zst")
EVALUATED_SUFFIXES = frozenset(
    {
        *(".tsv", ".csv", ".ct", ".bpseq", ".sto", ".stk", ".stockholm", ".seed"),
        *(".dbn", ".db", ".dot", ".st", ".dp", ".vienna"),
    }
)
EVALUATED_PACKED = (".gz", ".xz")
"""What an evaluation of structures reads of a folder, plain or packed."""
SUFFIXES = EVALUATED_SUFFIXES | {
    *(".txt", ".fa", ".fasta", ".fna", ".fas", ".rna", ".seq", ".fastq", ".fq"),
    *(".parquet", ".arrow", ".feather"),
}
"""What is no part of a benchmark's name. Which files are read does not depend on it."""
NO_FAMILY = "-"
_TO_RNA = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyztT", b"ABCDEFGHIJKLMNOPQRSTUVWXYZUU")
_GAPS = b" \t\r\n\v\f-.*"
_IUPAC = b"ACGUIRYKMSWBDHVNX"
_OWN_NUMBER = re.compile(r"_\d+$")


class BenchmarkRecord(NamedTuple):
    """One sequence of a benchmark, upper-case RNA."""

    benchmark: str
    family: str
    id: str
    sequence: bytes


class BenchmarkFile(NamedTuple):
    """The records of one file, or of several together, and where their families come from."""

    name: str
    sha256: str
    families_from: str
    records: list[BenchmarkRecord]


class Benchmarks(NamedTuple):
    """What was read."""

    files: list[BenchmarkFile]
    folders: list[BenchmarkFile]
    """Records of `files` again: a folder's that an evaluation of the folder reads."""
    skipped: list[str]
    """Files of folders that were not read, each with the reason."""


def normalise(letters: bytes) -> bytes:
    """Return upper-case RNA: U for T, without gaps, white space and `*`."""
    return letters.translate(_TO_RNA, _GAPS)


def read_benchmarks(paths: Iterable[Path], columns: ColumnsConfig) -> Benchmarks:
    """Return every sequence of the files and folders; a file that is named must hold some."""
    listed = {path: list_files(path) for path in paths}
    names = _choose_names(listed)
    found = Benchmarks([], [], [])
    for path, files in listed.items():
        contents: dict[Path, Content] = {}
        for file in files:
            try:
                contents[file] = read_content(file, columns)
            except NoSequencesError as error:
                if file == path:
                    raise
                found.skipped.append(str(error))
        members = _name_parts(path, contents, names)
        parts = {name: _build_file(name, inside, contents) for name, inside in members.items()}
        found.files.extend(parts.values())
        evaluated = [file for file in files if _is_evaluated(file)]
        if path.is_dir() and evaluated and contents.keys() >= set(evaluated):
            sha256 = _hash_together(evaluated, path)
            records = [
                record
                for name, inside in members.items()
                if _is_evaluated(inside[0])
                for record in parts[name].records
            ]
            if sha256 not in {part.sha256 for part in parts.values()}:
                found.folders.append(
                    BenchmarkFile(f"{path.name or path}/", sha256, "its files", records)
                )
    if not found.files:
        raise ValueError(f"{', '.join(map(str, listed))}: holds no file with sequences")
    return found


def list_files(path: Path) -> list[Path]:
    """Return the file itself, or all files in a folder and its folders, in order of name.

    Names that begin with a dot are left out.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder; check the name of the benchmark")
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )


def _choose_names(listed: Mapping[Path, Sequence[Path]]) -> dict[Path, str]:
    """Return what each file is called: its place in its folder, with a suffix where two need it."""
    files = [(path, file) for path, inside in listed.items() for file in inside]
    if twice := [file for file, n in Counter(file for _, file in files).items() if n > 1]:
        raise ValueError(f"{twice[0]} is given twice: by itself and in a folder, or in two folders")
    full = {
        file: (file.relative_to(path) if file != path else Path(file.name)) for path, file in files
    }
    short = {file: str(name.with_name(_split_name(name)[0])) for file, name in full.items()}
    times = Counter(short.values())
    names = {file: str(full[file]) if times[name] > 1 else name for file, name in short.items()}
    if repeated := sorted(name for name, n in Counter(names.values()).items() if n > 1):
        raise ValueError(f"two benchmarks are called {', '.join(repeated)}: rename one file")
    return names


def _split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without suffix and packing, and these two."""
    packed = path.suffix if path.suffix.lower() in PACKED else ""
    bare = Path(path.name.removesuffix(packed))
    suffix = bare.suffix if bare.suffix.lower() in SUFFIXES else ""
    return bare.name.removesuffix(suffix), suffix + packed


def _name_parts(
    path: Path, contents: Mapping[Path, Content], names: Mapping[Path, str]
) -> dict[str, list[Path]]:
    """Return the benchmarks of a path by name: a file, or a folder's files of one sequence each."""
    groups = {
        file: str(path.name / file.parent.relative_to(path) / f"*{_split_name(file)[1]}")
        for file, content in contents.items()
        if file != path and len(content.entries) == 1
    }
    sizes = Counter(groups.values())
    parts = defaultdict(list)
    for file in contents:
        group = groups.get(file, "")
        parts[group if sizes[group] > 1 else names[file]].append(file)
    return parts


def _build_file(
    name: str, files: Sequence[Path], contents: Mapping[Path, Content]
) -> BenchmarkFile:
    records = []
    for file in files:
        entries = contents[file].entries
        for place, entry in enumerate(entries, start=1):
            default = _split_name(file)[0] if len(entries) == 1 else f"{name}:{place}"
            records.append(_build_record(name, entry, entry.id or default))
    stated = sorted({contents[file].families_from or "" for file in files} - {""})
    has_ids = len(files) > 1 or any(entry.id for entry in contents[files[0]].entries)
    source = ", ".join(stated) or ("id prefix" if has_ids else "none")
    if source == "id prefix":
        records = _add_prefixes(records)
    sha256 = hash_file(files[0]) if len(files) == 1 else _hash_together(files, files[0].parent)
    return BenchmarkFile(name, sha256, source, records)


def _is_evaluated(file: Path) -> bool:
    name = Path(file.name.lower())
    bare = Path(name.stem) if name.suffix in EVALUATED_PACKED else name
    return bare.suffix in EVALUATED_SUFFIXES


def _hash_together(files: Sequence[Path], folder: Path) -> str:
    """Return what an evaluation of a folder of structures takes for the hash of its files."""
    own = folder.name if folder.name not in ("", "..") else folder.resolve().name
    digest = hashlib.sha256()
    for file in files:
        inside = file.relative_to(folder)
        name = inside if inside.parts[1:] else own / inside
        digest.update(f"{name.as_posix()} {hash_file(file)}\n".encode())
    return digest.hexdigest()


def _add_prefixes(records: list[BenchmarkRecord]) -> list[BenchmarkRecord]:
    """Name families by identifiers: `5s_x-1` is of `5s`, `bpRNA_CRW_15639` of `bpRNA_CRW`.

    A number at the end is the record's own. Identifiers without `_` tell no family.
    """
    prefixes = [
        _OWN_NUMBER.sub("", record.id)
        if _OWN_NUMBER.search(record.id)
        else record.id.split("_")[0]
        if "_" in record.id
        else ""
        for record in records
    ]
    if len(set(prefixes)) > len(records) // 2:  # accessions, not families
        prefixes = [""] * len(records)
    return [
        record._replace(family=prefix or NO_FAMILY)
        for record, prefix in zip(records, prefixes, strict=True)
    ]


def _build_record(name: str, entry: Entry, identifier: str) -> BenchmarkRecord:
    benchmark = f"{name}/{entry.partition}" if entry.partition else name
    sequence = normalise(entry.letters.encode("ascii", errors="replace"))
    if strange := sequence.translate(None, _IUPAC):
        raise ValueError(
            f"{benchmark}, {identifier}: {strange[:20]!r} is no sequence; name the right column "
            "with --sequence-column or remove the record"
        )
    return BenchmarkRecord(benchmark, entry.family or NO_FAMILY, identifier, sequence)
