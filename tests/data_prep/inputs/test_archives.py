import bz2
import gzip
import io
import itertools
import lzma
import random
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


def test_reads_a_pipe_that_gives_little_at_a_time(packer):
    pipe: Any = Trickle(PACKERS[packer](b">a\nACGU\n"))
    with open_unpacked(pipe) as file:
        assert file.read() == b">a\nACGU\n"


@pytest.mark.parametrize("data", [b"", b">", b">a\nACGU\n"])
def test_reads_a_plain_pipe(data):
    pipe: Any = Trickle(data)
    with open_unpacked(pipe) as file:
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
