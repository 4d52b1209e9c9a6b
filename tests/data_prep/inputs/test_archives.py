import bz2
import gzip
import io
import itertools
import lzma
import random
import struct
import zlib
from typing import Any

import pytest
import zstandard

from openrinalmo.data_prep.inputs.archives import BLOCK_BYTES, ArchiveError, open_unpacked

PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}
NOISE = random.Random(0).randbytes(2 * BLOCK_BYTES)  # packs to more than one block
TEXT = b">a\nACGU\n" + NOISE


@pytest.fixture(params=PACKERS)
def packer(request):
    return request.param


def unpack(path):
    with open_unpacked(path) as file:
        return file.read()


def write(tmp_path, data, name="no_suffix"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_tells_the_format_by_its_first_bytes(tmp_path, packer):
    assert unpack(write(tmp_path, PACKERS[packer](TEXT), "misleading.txt")) == TEXT


def test_reads_plain_text(tmp_path):
    assert unpack(write(tmp_path, b">a\nACGU\n", "misleading.gz")) == b">a\nACGU\n"


def test_joins_members_and_skips_padding(tmp_path, packer):
    packed = PACKERS[packer](TEXT) + PACKERS[packer](b"ACGU\n") + b"\0" * 8
    assert unpack(write(tmp_path, packed)) == TEXT + b"ACGU\n"


@pytest.mark.parametrize("kept", [0.2, 0.999])
def test_refuses_a_truncated_stream(tmp_path, packer, kept):
    packed = PACKERS[packer](TEXT)
    with pytest.raises(ArchiveError, match=f"the {packer} stream ends early"):
        unpack(write(tmp_path, packed[: int(kept * len(packed))]))


def test_refuses_a_stream_cut_between_last_letter_and_checksum(tmp_path, packer):
    with pytest.raises(ArchiveError, match="ends early"):
        unpack(write(tmp_path, PACKERS[packer](TEXT)[:-1]))


def test_refuses_a_damaged_stream(tmp_path, packer):
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    packed = bytearray(compress(TEXT) if packer == "zstd" else PACKERS[packer](TEXT))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(ArchiveError, match=f"the {packer} stream is damaged"):
        unpack(write(tmp_path, bytes(packed)))


def test_refuses_junk_after_a_stream(tmp_path, packer):
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(write(tmp_path, PACKERS[packer](TEXT) + b"junk"))


def bgzip(*pieces):
    """Pack each piece as bgzip does: a gzip member whose extra field tells the member's size."""
    members = []
    for piece in pieces:
        compressor = zlib.compressobj(wbits=-15)
        body = compressor.compress(piece) + compressor.flush()
        head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\6\0BC\2\0"
        size = struct.pack("<H", len(head) + 2 + len(body) + 8 - 1)
        members.append(head + size + body + struct.pack("<2L", zlib.crc32(piece), len(piece)))
    return b"".join(members)


def test_bgzip_cut_between_two_blocks_is_refused(tmp_path):
    pieces = [NOISE[i : i + 60_000] for i in range(0, len(NOISE), 60_000)]
    packed = bgzip(*pieces)
    assert unpack(write(tmp_path, packed + bgzip(b""))) == NOISE
    last = "1f8b08040000000000ff0600424302001b0003000000000000000000"  # from its specification
    assert bgzip(b"").hex() == last
    assert unpack(write(tmp_path, bgzip(b""))) == b""
    for cut in (packed, gzip.compress(b">a\n") + packed):
        with pytest.raises(ArchiveError, match="the bgzip stream ends early, without its empty"):
            unpack(write(tmp_path, cut))
    joined = packed + bgzip(b"") + gzip.compress(b"ACGU\n")
    assert unpack(write(tmp_path, joined)) == NOISE + b"ACGU\n"


def test_gzip_with_names_and_other_extra_fields_needs_no_empty_block(tmp_path):
    with gzip.GzipFile(tmp_path / "named.gz", "wb") as file:
        file.write(TEXT)
    assert unpack(tmp_path / "named.gz") == TEXT
    member = bytearray(bgzip(TEXT[:1000]))
    member[12:14] = b"XY"
    assert unpack(write(tmp_path, bytes(member))) == TEXT[:1000]


@pytest.mark.parametrize("magic", [0x184D2A50, 0x184D2A5F])
def test_zstd_frames_that_are_skipped(tmp_path, magic):
    skipped = struct.pack("<2L", magic, 4) + b"abcd"
    packed = skipped + zstandard.compress(TEXT) + skipped + zstandard.compress(b"ACGU\n")
    assert unpack(write(tmp_path, packed)) == TEXT + b"ACGU\n"
    with pytest.raises(ArchiveError, match="the zstd stream ends early"):
        unpack(write(tmp_path, packed[:-30]))


@pytest.mark.parametrize("pack", [bytes, *PACKERS.values()])
def test_a_byte_order_mark_is_no_text(tmp_path, pack):
    mark = b"\xef\xbb\xbf"
    assert unpack(write(tmp_path, pack(mark + TEXT))) == TEXT
    for data in (mark, b"", b"\xef", b"A" + mark):
        expected = b"" if data == mark else data
        assert unpack(write(tmp_path, pack(data))) == expected
        with open_unpacked(as_pipe(pack(data))) as file:
            assert file.read() == expected


@pytest.mark.parametrize(("start", "name"), [(b"PK\x03\x04", "zip"), (b"7z\xbc\xaf", "7z")])
def test_names_a_format_that_is_not_read(tmp_path, start, name):
    with pytest.raises(ArchiveError, match=f"{name}: pack it with gzip, xz or zstd"):
        unpack(write(tmp_path, start + TEXT))


class Trickle(io.RawIOBase):
    """A pipe that gives one byte at a time, and cannot seek."""

    def __init__(self, data):
        self.bytes = iter(data)

    def read(self, size=-1):
        return bytes(itertools.islice(self.bytes, 1))


def as_pipe(data) -> Any:
    return Trickle(data)


def test_reads_a_pipe_that_gives_little_at_a_time(packer):
    with open_unpacked(as_pipe(PACKERS[packer](b">a\nACGU\n"))) as file:
        assert file.read() == b">a\nACGU\n"


@pytest.mark.parametrize("data", [b"", b">", b">a\nACGU\n"])
def test_reads_a_plain_pipe(data):
    with open_unpacked(as_pipe(data)) as file:
        assert file.read() == data


def test_a_truncated_pipe_is_refused(packer):
    packed = PACKERS[packer](TEXT)
    with (
        pytest.raises(ArchiveError, match="ends early"),
        open_unpacked(io.BytesIO(packed[:-1])) as f,
    ):
        f.read()


def test_reports_the_packed_bytes_read(tmp_path, packer):
    path = write(tmp_path, PACKERS[packer](TEXT))
    heard = []
    with open_unpacked(path, heard.append) as file:
        file.read()
    assert sum(heard) == path.stat().st_size
