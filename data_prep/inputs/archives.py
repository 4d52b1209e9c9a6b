"""Read a file or stream whatever packs it: plain, gzip, bzip2, xz or zstd, by its first bytes.

One that ends early or is damaged raises `ArchiveError`, zstd included, whose own reader takes a
truncated file for a short one. Members one after another (bgzip, `cat a.gz b.gz`) are one stream.
bgzip's stream can be cut between two members: its last one is empty, and one without that is cut.
"""

import bz2
import io
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import zstandard

BLOCK_BYTES = 256 * 1024  # each member's tail is copied once per block: larger blocks slow bgzip
MAGIC_BYTES = 8  # at least the longest first bytes of any format below
MAX_ZSTD_WINDOW_BYTES = 2**31  # what `zstd --long=31` needs
HEAD_BYTES = 16  # of a gzip member: as far as the extra field that marks bgzip's
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what editors on Windows put before UTF-8
REFUSED = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}


class ArchiveError(ValueError):
    """A packed stream that is damaged, ends early or is of a kind that we do not read."""


class _Decompressor(Protocol):
    """What zlib, lzma and zstandard decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _start_zstd() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES).decompressobj()


FORMATS: dict[bytes, tuple[str, Callable[[], _Decompressor]]] = {
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(wbits=31)),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMADecompressor),
    b"\x28\xb5\x2f\xfd": ("zstd", _start_zstd),
    **{bytes([0x50 + n, 0x2A, 0x4D, 0x18]): ("zstd", _start_zstd) for n in range(16)},  # pzstd's
}


def open_unpacked(
    source: Path | BinaryIO, on_read: Callable[[int], object] = int
) -> io.BufferedReader:
    """Open a file or a stream as its unpacked bytes; `on_read` hears of the packed ones as read.

    A stream is read to its end and not closed. A byte-order mark before the text is left out.
    """
    blocks = _skip_byte_order_mark(_iter_blocks(source, on_read))
    return io.BufferedReader(_BlockStream(blocks), buffer_size=1 << 20)


def _skip_byte_order_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield _take_start(blocks, len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
    yield from blocks


def _take_start(blocks: Iterator[bytes], size: int) -> bytes:
    """Return the first blocks joined, at least `size` bytes if there are: a pipe gives little."""
    start = b""
    while len(start) < size and (block := next(blocks, None)) is not None:
        start += block
    return start


def _iter_blocks(source: Path | BinaryIO, on_read: Callable[[int], object]) -> Iterator[bytes]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield from _iter_blocks(file, on_read)
        return
    blocks = _iter_file(source, on_read)
    start = _take_start(blocks, MAGIC_BYTES)
    blocks = itertools.chain([start], blocks)
    for magic, name in REFUSED.items():
        if start.startswith(magic):
            raise ArchiveError(f"is packed with {name}: pack it with gzip, xz or zstd instead")
    for magic, (name, start_decompressor) in FORMATS.items():
        if start.startswith(magic):
            yield from _iter_unpacked(blocks, name, start_decompressor)
            return
    yield from blocks


def _iter_file(file: BinaryIO, on_read: Callable[[int], object]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        on_read(len(block))
        yield block


def _iter_unpacked(
    blocks: Iterator[bytes], name: str, start_decompressor: Callable[[], _Decompressor]
) -> Iterator[bytes]:
    decompressor: _Decompressor | None = None  # none between two members
    head, unpacked_bytes = b"", 0  # of the last member
    for block in blocks:
        rest = block
        while rest := rest if decompressor else rest.lstrip(b"\0"):  # zeros may pad a member
            if decompressor is None:
                decompressor, head, unpacked_bytes = start_decompressor(), b"", 0
            head += rest[: HEAD_BYTES - len(head)]
            try:
                unpacked = decompressor.decompress(rest)
            except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:  # bz2's
                raise ArchiveError(
                    f"the {name} stream is damaged ({error}): download or copy it again"
                ) from error
            unpacked_bytes += len(unpacked)
            yield unpacked
            if not decompressor.eof:
                break
            rest, decompressor = decompressor.unused_data, None
    if decompressor:
        raise ArchiveError(f"the {name} stream ends early: download or copy it again")
    if unpacked_bytes and _is_bgzip(head):
        raise ArchiveError(
            "the bgzip stream ends early, without its empty last block: download or copy it again"
        )


def _is_bgzip(head: bytes) -> bool:
    """Say whether a member begins as gzip with an extra field `BC` of two bytes."""
    return head[:2] == b"\x1f\x8b" and head[3] & 4 > 0 and head[12:] == b"BC\2\0"


class _BlockStream(io.RawIOBase):
    """A raw stream over an iterator of blocks, so that `BufferedReader` splits lines in C."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
