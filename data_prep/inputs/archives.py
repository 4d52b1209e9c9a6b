"""Read a file or stream whatever packs it: plain, gzip, bzip2, xz or zstd, by its first bytes.

One that ends early or is damaged raises `ArchiveError`, zstd included, whose own reader takes a
truncated file for a short one. Members one after another (bgzip, `cat a.gz b.gz`) are one stream.
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
}


def open_unpacked(
    source: Path | BinaryIO, on_read: Callable[[int], object] = int
) -> io.BufferedReader:
    """Open a file or a stream as its unpacked bytes; `on_read` hears of the packed ones as read.

    A stream is read to its end and not closed.
    """
    return io.BufferedReader(_BlockStream(_iter_blocks(source, on_read)), buffer_size=1 << 20)


def _iter_blocks(source: Path | BinaryIO, on_read: Callable[[int], object]) -> Iterator[bytes]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield from _iter_blocks(file, on_read)
        return
    blocks = _iter_file(source, on_read)
    start = b""
    while len(start) < MAGIC_BYTES and (block := next(blocks, b"")):  # a pipe gives what it has
        start += block
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
    for block in blocks:
        rest = block
        while rest := rest if decompressor else rest.lstrip(b"\0"):  # zeros may pad a member
            decompressor = decompressor or start_decompressor()
            try:
                yield decompressor.decompress(rest)
            except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:  # bz2's
                raise ArchiveError(
                    f"the {name} stream is damaged ({error}): download or copy it again"
                ) from error
            if not decompressor.eof:
                break
            rest, decompressor = decompressor.unused_data, None
    if decompressor:
        raise ArchiveError(f"the {name} stream ends early: download or copy it again")


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
