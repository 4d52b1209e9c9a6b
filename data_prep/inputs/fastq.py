"""FASTQ: blocks of records, four lines each or wrapped over several; qualities are only counted."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .archives import ArchiveError, open_unpacked
from .blocks import RecordBlock, Source
from .fasta import read_type

CHUNK_RECORDS = 2_048
BLOCK_LETTERS = 8 * 2**20


class _Lines:
    """The lines of a file, and the number of the last one; some may be given back."""

    def __init__(self, file: Iterator[bytes]) -> None:
        self._rest = file
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = next(self._rest)
        self.number += 1
        return line

    def take(self, count: int) -> list[bytes]:
        lines = list(itertools.islice(self._rest, count))
        self.number += len(lines)
        return lines

    def give_back(self, lines: list[bytes]) -> None:
        self._rest = itertools.chain(lines, self._rest)
        self.number -= len(lines)


def iter_fastq_blocks(
    source: Source, on_read: Callable[[int], object] = int, /
) -> Iterator[RecordBlock]:
    """Yield the records of one FASTQ file or stream; the header's first word is the identifier.

    A record that is not built as it must be (no `@`, no `+`, a quality of another length than the
    sequence) stops with a `ValueError` that says where: what follows could not be told apart,
    since a line of qualities may begin with `@`.
    """
    name = str(source) if isinstance(source, Path) else "the input stream"
    file = open_unpacked(source, on_read) if isinstance(source, Path) else source
    lines = _Lines(iter(file))
    done = 0
    try:
        while block := _read_block(lines, name, done):
            yield block
            done += len(block.ids)
    except ArchiveError as error:
        raise ValueError(
            f"{name}, after record {done}, line {lines.number} (unpacked): {error}"
        ) from error
    finally:
        if isinstance(source, Path):
            file.close()
    if not done:
        raise ValueError(f"{name}: holds no FASTQ record; remove it from the inputs")


def _read_block(lines: _Lines, name: str, done: int) -> RecordBlock | None:
    heads: list[bytes] = []
    sequences: list[bytes] = []
    size = 0
    while size < BLOCK_LETTERS:
        chunk = _read_fours(lines) or _read_wrapped(lines, name, done + len(heads))
        if not chunk[0]:
            break
        heads += chunk[0]
        sequences += chunk[1]
        size += sum(map(len, chunk[1]))
    if not heads:
        return None
    lengths = np.fromiter(map(len, sequences), np.int64, count=len(sequences))
    return RecordBlock(
        ids=[(head.split(None, 1) or [b""])[0] for head in heads],
        rna_types=[read_type(head) for head in heads],
        letters=np.frombuffer(b"".join(sequences), np.uint8),
        ends=np.cumsum(lengths),
        first_number=done + 1,
    )


def _read_fours(lines: _Lines) -> tuple[list[bytes], list[bytes]] | None:
    """Return headers and sequences of four-line records; nothing is read if one is not such."""
    fours = lines.take(4 * CHUNK_RECORDS)
    heads, sequences, pluses, qualities = (fours[place::4] for place in range(4))
    sequences = [sequence.rstrip() for sequence in sequences]
    lengths = [len(quality.rstrip()) for quality in qualities]
    if (
        lengths
        and {head[:1] for head in heads} == {b"@"}
        and {plus[:1] for plus in pluses} == {b"+"}
        and list(map(len, sequences)) == lengths
    ):
        return [head[1:] for head in heads], sequences
    lines.give_back(fours)
    return None


def _read_wrapped(lines: _Lines, name: str, done: int) -> tuple[list[bytes], list[bytes]]:
    """Return headers and sequences of records of any number of lines, none at the end."""
    heads: list[bytes] = []
    sequences: list[bytes] = []
    while len(heads) < CHUNK_RECORDS and (
        record := _read_record(lines, name, done + len(heads) + 1)
    ):
        heads.append(record[0])
        sequences.append(record[1])
    return heads, sequences


def _read_record(lines: _Lines, name: str, number: int) -> tuple[bytes, bytes] | None:
    head = next((line for line in lines if line.strip()), None)
    if head is None:
        return None
    first = lines.number
    place = f"{name}, record {number}, line {first}"
    if not head.startswith(b"@"):
        raise ValueError(
            f"{place}: a FASTQ record must begin with `@`, this one begins with {head[:20]!r}: "
            "the quality before it may be too long or too short, or the file damaged; get it again"
        )
    parts: list[bytes] = []
    for line in lines:
        if line.startswith(b"+"):
            break
        parts.append(line.rstrip())
    else:
        raise ValueError(f"{place}: the file ends before this record's `+`; get it again")
    sequence = b"".join(parts)
    missing = len(sequence)
    num_lines = 0
    while missing > 0:
        line = next(lines, None)
        if line is None:
            raise ValueError(
                f"{place}: the file ends {missing} letters before the quality of this record "
                f"({len(sequence)} letters) does; get it again"
            )
        if num_lines == len(parts) and line.startswith(b"@"):
            break  # quality is wrapped as its sequence is: this line begins the next record
        missing -= len(line.rstrip())
        num_lines += 1
    if missing:
        raise ValueError(
            f"{place}: {len(sequence)} letters but {len(sequence) - missing} qualities; the file "
            "is damaged: get it again or remove the record"
        )
    return head[1:], sequence
