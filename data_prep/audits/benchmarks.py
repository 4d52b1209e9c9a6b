"""Benchmark sequences from FASTA and tables: which file, which part of it, which family.

A table has a line of column names, tab- or comma-separated. Its sequences, identifiers, families
and partitions stand in the columns named, else in the first of those that usually hold them. Each
partition (train, test, …) is a benchmark of its own. Files of exon, intron, exon without names are
read as well: the three joined are the sequence.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..inputs.archives import ArchiveError, open_unpacked
from ..shards import hash_file

SUFFIXES = (".tsv", ".csv", ".txt", ".fa", ".fasta", ".fna", ".fas")
PACKED = (".gz", ".bz2", ".xz", ".zst")
USUAL = {
    "sequence": ("sequence", "seq", "utr"),
    "id": ("id", "seq_id", "name"),
    "family": ("family", "class", "rfam_id", "rfam_acc", "species", "set"),
    "partition": ("partition", "split"),
}
NO_FAMILY = "-"
_TO_RNA = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyztT", b"ABCDEFGHIJKLMNOPQRSTUVWXYZUU")
_GAPS = b" \t\r\n\v\f-.*"
_IUPAC = b"ACGUIRYKMSWBDHVNX"
_OWN_NUMBER = re.compile(r"_\d+$")
_EXON_INTRON_EXON = re.compile(r"[ACGTN]+ [ACGTN]+ [ACGTN]+ \d+ \S+\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnsConfig:
    """Names of a table's columns; by default the first of `USUAL` that it has."""

    sequence: str | None = None
    id: str | None = None
    family: str | None = None
    """Without such a column, what stands before an identifier's first `_`, where that recurs."""
    partition: str | None = None


class BenchmarkRecord(NamedTuple):
    """One sequence of a benchmark, upper-case RNA."""

    benchmark: str
    family: str
    id: str
    sequence: bytes


class BenchmarkFile(NamedTuple):
    """The records of one file, and where their families come from."""

    name: str
    sha256: str
    families_from: str
    records: list[BenchmarkRecord]


def normalise(letters: bytes) -> bytes:
    """Return upper-case RNA: U for T, without gaps, white space and `*`."""
    return letters.translate(_TO_RNA, _GAPS)


def read_benchmarks(
    paths: Iterable[Path], columns: ColumnsConfig
) -> tuple[list[BenchmarkFile], list[str]]:
    """Return the files, folders opened, and the names of a folder's files without sequences."""
    files: list[BenchmarkFile] = []
    skipped = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder; check the name of the benchmark")
        for file in list_files(path):
            try:
                files.append(read_benchmark(file, columns))
            except NoSequencesError as error:
                if file == path:
                    raise
                skipped.append(f"{file.name}: {error}")
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: holds no file with sequences")
    names = [file.name for file in files]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two benchmarks are called {', '.join(repeated)}: rename one file")
    return files, skipped


class NoSequencesError(ValueError):
    """A file that is a table of something else."""


def list_files(path: Path) -> list[Path]:
    """Return the file itself, or a folder's files that may hold sequences, sorted by name."""
    if path.is_file():
        return [path]
    return sorted(f for f in path.iterdir() if f.is_file() and _bare_name(f)[1] in SUFFIXES)


def read_benchmark(path: Path, columns: ColumnsConfig) -> BenchmarkFile:
    """Return the records of one FASTA file or table, packed or not."""
    name = _bare_name(path)[0]
    try:
        with open_unpacked(path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            first = text.readline()
            lines = _chain(first, text)
            if first.startswith(">"):
                records, source = list(_iter_fasta(name, lines)), "id prefix"
            elif _EXON_INTRON_EXON.fullmatch(first):
                records, source = list(_iter_exons(path, name, lines)), "none"
            else:
                records, source = _read_table(path, name, lines, columns)
    except (ArchiveError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    if not records:
        raise NoSequencesError(f"{path}: holds no sequence")
    if source == "id prefix":
        records = _add_prefixes(records)
    return BenchmarkFile(name, hash_file(path), source, records)


def _bare_name(path: Path) -> tuple[str, str]:
    """Return a file's name without packing and suffix, and its suffix without the packing."""
    bare = Path(path.name.removesuffix(path.suffix)) if path.suffix in PACKED else Path(path.name)
    return (bare.stem, bare.suffix) if bare.suffix in SUFFIXES else (bare.name, bare.suffix)


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _iter_fasta(name: str, lines: Iterable[str]) -> Iterator[BenchmarkRecord]:
    identifier, parts, number = "", [], 0
    for line in lines:
        if line.startswith(">"):
            if number:
                yield _build_record(name, "", identifier, "".join(parts))
            number += 1
            identifier, parts = next(iter(line[1:].split()), f"{name}:{number}"), []
        else:
            parts.append(line)
    yield _build_record(name, "", identifier, "".join(parts))


def _iter_exons(path: Path, name: str, lines: Iterable[str]) -> Iterator[BenchmarkRecord]:
    for number, line in enumerate(lines, start=1):
        if not _EXON_INTRON_EXON.fullmatch(line):
            raise ValueError(
                f"{path}, line {number}: must be exon, intron, exon, count and gene as in the "
                f"first line; it begins with {line[:30]!r}"
            )
        yield _build_record(name, "", f"{name}:{number}", "".join(line.split()[:3]))


def _read_table(
    path: Path, name: str, lines: Iterable[str], columns: ColumnsConfig
) -> tuple[list[BenchmarkRecord], str]:
    rows = iter(lines)
    head = next(rows).rstrip("\r\n")
    delimiter = "\t" if "\t" in head else ","
    names = next(csv.reader([head], delimiter=delimiter), [])
    at = {role: _find_column(path, names, role, columns) for role in USUAL}
    if at["sequence"] is None:
        raise NoSequencesError(
            f"{path}: not FASTA, and no column of sequences ({', '.join(USUAL['sequence'])}) among "
            f"{', '.join(names)[:200]}; name it with --sequence-column"
        )
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    records = []
    for number, row in enumerate(csv.reader(rows, delimiter=delimiter, quoting=quoting), start=2):
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(row)} fields, the first line has {len(names)}"
            )
        part = {role: row[place] for role, place in at.items() if place is not None}
        benchmark = f"{name}/{part['partition']}" if part.get("partition") else name
        identifier = part.get("id") or f"{name}:{number}"
        records.append(
            _build_record(benchmark, part.get("family", ""), identifier, part["sequence"])
        )
    if at["family"] is not None:
        return records, f"column {names[at['family']]}"
    return records, "none" if at["id"] is None else "id prefix"


def _find_column(path: Path, names: Sequence[str], role: str, columns: ColumnsConfig) -> int | None:
    wanted = getattr(columns, role)
    if wanted is not None and wanted not in names:
        raise ValueError(
            f"{path}: no column {wanted!r} among {', '.join(names)[:200]}; see --{role}-column"
        )
    chosen = wanted or next((name for name in USUAL[role] if name in names), None)
    return None if chosen is None else names.index(chosen)


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


def _build_record(benchmark: str, family: str, identifier: str, letters: str) -> BenchmarkRecord:
    sequence = normalise(letters.encode("ascii", errors="replace"))
    if strange := sequence.translate(None, _IUPAC):
        raise ValueError(
            f"{benchmark}, {identifier}: {strange[:20]!r} is no sequence; name the right column "
            "with --sequence-column or remove the record"
        )
    return BenchmarkRecord(benchmark, family or NO_FAMILY, identifier, sequence)
