"""FASTA: stream records, normalise them to the RNA alphabet, say why one is rejected."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .archives import ArchiveError, open_unpacked

NUCLEOTIDES = b"ACGU"
LETTERS = NUCLEOTIDES + b"IRYKMSWBDHVN"
"""What a sequence may hold: nucleotides, inosine, and the IUPAC codes for one of several."""

_TO_RNA = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyztT", b"ABCDEFGHIJKLMNOPQRSTUVWXYZUU")
_GAPS = b" \t\r\n\v\f-."
_CONTROL = bytes([*range(9), *range(14, 32), 127])
"""Bytes of no text: NUL alone marks a header as binary, since old NCBI headers hold ^A."""

REJECT_REASONS = ("empty", "letters", "too_short", "too_long", "ambiguous")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """Which sequences are kept."""

    min_length_nt: int = 16
    """Bounds of the paper; both are kept."""
    max_length_nt: int = 8192
    max_ambiguous: float = 0.1
    """Highest share of letters that are not A, C, G or U."""

    def __post_init__(self) -> None:
        if self.min_length_nt < 1:
            raise ValueError(f"filter.min_length_nt must be at least 1, got {self.min_length_nt}")
        if self.max_length_nt < self.min_length_nt:
            raise ValueError(
                f"filter.max_length_nt must be at least min_length_nt = {self.min_length_nt}, "
                f"got {self.max_length_nt}"
            )
        if not 0 <= self.max_ambiguous <= 1:
            raise ValueError(f"filter.max_ambiguous must be in 0..1, got {self.max_ambiguous}")


class FastaRecord(NamedTuple):
    """One record as it stands in its file."""

    header: str
    """The header line without `>`."""
    letters: bytes
    """The sequence lines, joined, line ends included."""
    number: int
    """Position in the file, from 1."""
    line: int
    """Line of the header, from 1."""


def iter_fasta(path: Path, on_read: Callable[[int], object] = int) -> Iterator[FastaRecord]:
    """Yield the records of one FASTA file; `on_read` hears of the packed bytes read so far.

    A file that is not FASTA, holds binary data or ends inside its archive stops with a
    `ValueError` that says where; a bad record does not, its reader rejects it.
    """
    header: bytes | None = None
    lines: list[bytes] = []
    number = first_line = line_number = 0
    try:
        with open_unpacked(path, on_read) as file:
            for line_number, line in enumerate(file, start=1):
                if line.startswith(b">"):
                    if header is not None:
                        yield _build_record(path, header, lines, number, first_line)
                    header, lines = line, []
                    number, first_line = number + 1, line_number
                elif header is not None:
                    lines.append(line)
                elif line.strip():
                    raise ValueError(
                        f"{path}, line {line_number}: not FASTA, the first line must begin with "
                        f"`>`; it begins with {line[:20]!r}"
                    )
    except ArchiveError as error:
        raise ValueError(
            f"{path}, record {number}, line {line_number} (unpacked): {error}"
        ) from error
    if header is None:
        raise ValueError(
            f"{path}: holds no FASTA record; remove it from the inputs or get it again"
        )
    yield _build_record(path, header, lines, number, first_line)


def _build_record(
    path: Path, header: bytes, lines: list[bytes], number: int, line: int
) -> FastaRecord:
    letters = b"".join(lines)
    if b"\0" in header or len(letters.translate(None, _CONTROL)) < len(letters):
        raise ValueError(
            f"{path}, record {number}, line {line}: holds binary data; the file is damaged or not "
            "FASTA: get it again or remove the record"
        )
    return FastaRecord(header[1:].decode(errors="replace").strip(), letters, number, line)


def normalise(letters: bytes) -> bytes:
    """Return upper-case RNA: U for T, no gaps, no white space, no terminating `*`."""
    return letters.translate(_TO_RNA, _GAPS).removesuffix(b"*")


def find_reject_reason(sequence: bytes, config: FilterConfig) -> str | None:
    """Say why a normalised sequence is not kept: one of `REJECT_REASONS`, or None if it is."""
    if not sequence:
        return "empty"
    if sequence.translate(None, LETTERS):
        return "letters"
    if len(sequence) < config.min_length_nt:
        return "too_short"
    if len(sequence) > config.max_length_nt:
        return "too_long"
    if len(sequence.translate(None, NUCLEOTIDES)) > config.max_ambiguous * len(sequence):
        return "ambiguous"
    return None


def parse_header(header: str) -> tuple[str, str | None]:
    """Return the identifier, empty if there is none, and the value of `rna_type=`, if any."""
    identifier, *fields = header.split() or [""]
    types = [field.removeprefix("rna_type=") for field in fields if field.startswith("rna_type=")]
    return identifier, types[0] if types and types[0] else None
