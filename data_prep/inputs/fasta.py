"""FASTA: blocks of records, found with NumPy in blocks of bytes.

Text is held with the line end before its first `>`, so that every record begins with `\\n>`.
"""

import io
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..filters import GAPS, LONGEST_NT
from ..type_words import ENSEMBL_WORDS
from .archives import ArchiveError, open_unpacked
from .blocks import RecordBlock, Source

BLOCK_BYTES = 2**20  # fits the cache: blocks of 8 MB take half as long again

_IS_CONTROL = bytes(byte in (*range(9), *range(14, 32), 127) for byte in range(256))
"""Bytes of no text: NUL alone marks a header as binary, since old NCBI headers hold ^A."""
_DEL = b"\x7f"
_TEXT_BLANKS = b"\x1c\x1d\x1e\x1f"  # white space to `str.split`, not to `bytes.split`
_TYPE_MARK, _ENSEMBL_MARK = b"rna_type=", b"transcript_biotype:"
_BLANK = ord(" ")
# Never the first word: that is the identifier.
_RNA_TYPE = re.compile(rb"(?<=\S)\s+(?:%b|(%b))(\S*)" % (_TYPE_MARK, _ENSEMBL_MARK))
_ENSEMBL_WORDS = {word.encode(): ours.encode() for word, ours in ENSEMBL_WORDS.items()}
_NEXT_HEADER = b"\x01"  # ^A: NCBI's nt joins the headers of equal sequences by it


class _Place(NamedTuple):
    """Where a text begins."""

    source: str
    number: int
    """Records before it."""
    line: int
    """Lines before it, that of the line end it begins with included in the text."""
    hidden: int = 0
    """Lines that were dropped from its first record."""


def iter_fasta_blocks(
    source: Source, on_read: Callable[[int], object] = int, /
) -> Iterator[RecordBlock]:
    """Yield the records of one FASTA file or stream; memory is a few blocks, whatever it holds.

    What is not FASTA, holds binary data or ends inside its archive stops with a `ValueError` that
    says where; a bad record does not, the filters reject it. A record of more than twice
    `LONGEST_NT` letters is shortened, which changes neither its verdict nor the reason.
    """
    name = str(source) if isinstance(source, Path) else "the input stream"
    file = open_unpacked(source, on_read) if isinstance(source, Path) else source
    place, rest = _Place(name, 0, 0), b"\n"
    try:
        for piece in _iter_pieces(file):
            text = rest + piece
            if not place.number and not rest.startswith(b"\n>"):
                text, place = _skip_blank_lines(text, place)
            cut = text.rfind(b"\n>")
            if cut > 0:
                block = _parse(text[: cut + 1], place)
                yield block
                # NumPy counts in an eighth of the time of `bytes.count`.
                line_ends = np.count_nonzero(np.frombuffer(text, np.uint8, cut) == ord("\n"))
                lines = place.line + place.hidden + int(line_ends)
                place = _Place(name, place.number + len(block.ids), lines)
            rest, hidden = _shorten(text[max(cut, 0) :], place)
            place = place._replace(hidden=place.hidden + hidden)
    except ArchiveError as error:
        lines = rest.count(b"\n") - 1  # whole ones; a header counts when its line is whole
        number = place.number + (lines > 0 and rest.startswith(b"\n>"))
        line = place.line + place.hidden + lines
        raise ValueError(f"{name}, record {number}, line {line} (unpacked): {error}") from error
    finally:
        if isinstance(source, Path):
            file.close()
    if not rest.startswith(b"\n>"):
        raise ValueError(
            f"{name}: holds no FASTA record; remove it from the inputs or get it again"
        )
    yield _parse(rest if rest.endswith(b"\n") else rest + b"\n", place)


def _iter_pieces(file: BinaryIO | io.BufferedIOBase) -> Iterator[bytes]:
    """Yield all bytes in pieces of one size; those before a fault are yielded before it is raised.

    The size does not depend on how the file is packed, and so neither do the blocks.
    """
    read = file.read1 if isinstance(file, io.BufferedIOBase) else file.read
    parts: list[bytes] = []
    size, fault = 0, None
    while fault is None:
        try:
            part = read(BLOCK_BYTES - size)
        except ArchiveError as error:
            part, fault = b"", error
        parts.append(part)
        size += len(part)
        if size == BLOCK_BYTES or (size and not part):
            yield b"".join(parts)
            parts, size = [], 0
        elif not part:
            break
    if fault is not None:
        raise fault


def _parse(text: bytes, place: _Place) -> RecordBlock:
    """Split whole records, the last line end included, into headers and letters."""
    array = np.frombuffer(text, np.uint8)
    lows = np.flatnonzero(array <= _BLANK)  # one pass finds all that is looked for
    kinds = array[lows]
    line_ends, blanks = lows[kinds == ord("\n")], lows[kinds == _BLANK]
    first_lines = np.flatnonzero(array[line_ends[:-1] + 1] == ord(">"))
    starts, header_ends = line_ends[first_lines], line_ends[first_lines + 1]
    stops = np.append(starts[1:], len(array) - 1)
    bodies = np.minimum(header_ends + 1, stops)  # a record without letters has one line end
    letters = _join_pieces(text, bodies, stops)
    ends = np.cumsum(stops - bodies)
    is_plain = len(line_ends) + len(blanks) == len(lows) and text.isascii() and _DEL not in text
    if not is_plain:
        _refuse_binary(text, place, starts + 2, header_ends, letters, ends)
    if is_plain and _ENSEMBL_MARK not in text and not np.any(array[starts + 2] == _BLANK):
        ids, rna_types = _split_simple_headers(text, array, blanks, starts + 2, header_ends)
    else:
        headers = _read_headers(text, starts + 2, header_ends, is_plain=is_plain)
        ids = [(header.split(None, 1) or [b""])[0] for header in headers]
        has_types = _TYPE_MARK in text or _ENSEMBL_MARK in text
        rna_types = [read_type(header) if has_types else None for header in headers]
    return RecordBlock(ids, rna_types, letters, ends, place.number + 1)


def _split_simple_headers(
    text: bytes,
    array: NDArray[np.uint8],
    blanks: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
) -> tuple[list[bytes], list[bytes | None]]:
    """Return the identifiers and RNA types of headers that begin with a word, between blanks.

    Most files' headers do, and their blanks and marks are found in NumPy.
    """
    blanks = np.append(blanks, len(array))
    ids = _cut(text, starts, np.minimum(blanks[np.searchsorted(blanks, starts)], stops))
    marks = np.flatnonzero(blanks + len(_TYPE_MARK) < len(array))
    for offset, letter in enumerate(_TYPE_MARK, start=1):
        marks = marks[array[blanks[marks] + offset] == letter]
    owners = np.searchsorted(starts, blanks[marks], side="right") - 1
    is_inside = blanks[marks] < stops[owners]
    owners, first = np.unique(owners[is_inside], return_index=True)
    marks = marks[is_inside][first]
    begins, ends = np.zeros((2, len(ids)), np.int64)
    begins[owners] = blanks[marks] + 1 + len(_TYPE_MARK)
    ends[owners] = np.minimum(blanks[marks + 1], stops[owners])
    return ids, [word or None for word in _cut(text, begins, ends)]


def _read_headers(
    text: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64], *, is_plain: bool
) -> list[bytes]:
    """Return headers of any kind with nothing but white space of `bytes` between their words."""
    headers = _cut(text, starts, stops)
    if not is_plain and _NEXT_HEADER in text:
        headers = [header.partition(_NEXT_HEADER)[0] for header in headers]
    if not is_plain and (not text.isascii() or any(blank in text for blank in _TEXT_BLANKS)):
        headers = [" ".join(h.decode(errors="replace").split()).encode() for h in headers]
    return headers


def _cut(text: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[bytes]:
    return [text[i:j] for i, j in zip(starts.tolist(), stops.tolist(), strict=True)]


def read_type(header: bytes) -> bytes | None:
    """Return the RNA type that a header states after its first word, None if it states none."""
    match = _RNA_TYPE.search(header)
    if not match:
        return None
    is_ensembls, word = match.groups()
    return (_ENSEMBL_WORDS.get(word, word) if is_ensembls else word) or None


def _join_pieces(
    text: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Join `text[start:stop]` of ascending pieces, in Arrow: no Python object a piece."""
    offsets = np.stack([starts, stops], axis=1).ravel()  # every other piece is between two of ours
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    pieces = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
    joined = pieces.take(pa.array(np.arange(0, len(pieces), 2)))
    return np.frombuffer(joined.buffers()[2], np.uint8, int((stops - starts).sum()))


def _refuse_binary(
    text: bytes,
    place: _Place,
    header_starts: NDArray[np.int64],
    header_ends: NDArray[np.int64],
    letters: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Raise for the first record with NUL in its header or control characters in its letters."""
    is_control = letters.tobytes().translate(_IS_CONTROL)
    if b"\0" not in text and b"\1" not in is_control:
        return
    headers = zip(header_starts.tolist(), header_ends.tolist(), strict=True)
    bodies = pairwise([0, *ends.tolist()])
    for index, (header, body) in enumerate(zip(headers, bodies, strict=True)):
        if b"\0" in text[slice(*header)] or b"\1" in is_control[slice(*body)]:
            line = place.line + text.count(b"\n", 0, header[0])
            line += place.hidden if index else 0
            raise ValueError(
                f"{place.source}, record {place.number + index + 1}, line {line}: holds binary "
                "data; the file is damaged or not FASTA: get it again or remove the record"
            )


def _skip_blank_lines(text: bytes, place: _Place) -> tuple[bytes, _Place]:
    """Drop what precedes the first header; refuse a text that begins otherwise."""
    blank = len(text) - len(text.lstrip())
    start = text.rfind(b"\n", 0, blank)
    place = place._replace(line=place.line + text.count(b"\n", 0, start))
    if blank == len(text):
        return text[start : start + 2], place  # of a blank line that goes on, one blank
    text = text[start:]
    if not text.startswith(b"\n>"):
        first_line = text[1 : text.find(b"\n", 1) + 1 or None]
        raise ValueError(
            f"{place.source}, line {place.line + 1}: not FASTA, the first line must begin with "
            f"`>`; it begins with {first_line[:20]!r}"
        )
    return text, place


def _shorten(text: bytes, place: _Place) -> tuple[bytes, int]:
    """Bound one unfinished record; return it and how many lines were dropped.

    Of letters after the first `LONGEST_NT`, one of each kind stays, in the order in which they are
    met last, and a second `*`: enough to tell a wrong letter and the end.
    """
    if len(text) <= 2 * LONGEST_NT:
        return text, 0
    header, _, body = text[1:].partition(b"\n")
    if len(header) > LONGEST_NT:
        raise ValueError(
            f"{place.source}, record {place.number + 1}, line {place.line + 1}: its header is "
            f"longer than {LONGEST_NT} bytes; the file is damaged or not FASTA: get it "
            "again or remove the record"
        )
    letters = body.translate(None, GAPS)
    tail = letters[LONGEST_NT + 1 :]
    kinds = sorted(set(tail), key=tail.rfind)
    stars = b"*" if tail.count(b"*") > 1 else b""
    end = b"\n" if body.endswith(b"\n") else b""
    short = b"\n" + header + b"\n" + letters[: LONGEST_NT + 1] + stars + bytes(kinds) + end
    return short, text.count(b"\n") - short.count(b"\n")
