"""FASTA read, normalised and filtered a line and a record at a time: the reference for blocks."""

from typing import NamedTuple

GAPS = b" \t\r\n\v\f-."
CONTROL = {*range(9), *range(14, 32), 127}
CODES = b"IRYKMSWBDHVN"


class SlowRecord(NamedTuple):
    id: str
    rna_type: str | None
    letters: bytes
    number: int
    line: int


class Refused(Exception):  # noqa: N818
    """A file is not FASTA, or binary; the arguments are record and line."""


def read_slowly(data: bytes) -> list[SlowRecord]:
    found: list[tuple[bytes, list[bytes], int]] = []
    for line_number, line in enumerate(data.split(b"\n"), start=1):
        if line.startswith(b">"):
            found.append((line[1:], [], line_number))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise Refused(None, line_number)
    records = []
    for number, (header, lines, line_number) in enumerate(found, start=1):
        letters = b"\n".join(lines)
        if b"\0" in header or CONTROL & set(letters):
            raise Refused(number, line_number)
        words = header.split(b"\x01")[0].decode(errors="replace").split()
        types = [word[9:] for word in words[1:] if word.startswith("rna_type=")]
        rna_type = (types[0] or None) if types else None
        records.append(
            SlowRecord(words[0] if words else "", rna_type, letters, number, line_number)
        )
    return records


def normalise_slowly(letters: bytes) -> bytes:
    upper = b"".join(
        letters[i : i + 1].upper() for i in range(len(letters)) if letters[i] not in GAPS
    )
    return upper.replace(b"T", b"U").removesuffix(b"*")


def judge_slowly(sequence: bytes, shortest: int, longest: int, max_ambiguous: float) -> str | None:
    ambiguous = sum(letter in CODES for letter in sequence)
    if not sequence:
        return "empty"
    if any(letter not in b"ACGU" + CODES for letter in sequence):
        return "letters"
    if len(sequence) < shortest:
        return "too_short"
    if len(sequence) > longest:
        return "too_long"
    return "ambiguous" if ambiguous > max_ambiguous * len(sequence) else None
