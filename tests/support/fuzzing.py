"""Broken and odd inputs, and what must come of them by a slow reading of docs/data.md."""

import bz2
import gzip
import io
import lzma
import shutil
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from openrinalmo.data_prep.config import DataConfig
from openrinalmo.data_prep.products import open_records
from openrinalmo.data_prep.records import build_records
from openrinalmo.data_prep.steps import run_step

LIMIT_SECONDS = 20
MAX_MESSAGE = 2_000
EXPECTED_ERRORS = (ValueError, RuntimeError, OSError)
"""What the entry turns into one line; whatever else is raised would be a traceback."""

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd_unchecked": zstandard.ZstdCompressor(write_content_size=False).compress,
}


class Expected(NamedTuple):
    """What the record step must count and keep."""

    read: int
    rejected: Counter[str]
    accepted: list[tuple[str | None, bytes]]
    """Identifier, None where its encoding leaves open what it is, and sequence."""


class Hang(BaseException):  # not an error that anything expects, or catches
    """A case took longer than `LIMIT_SECONDS`."""


def expect(text: bytes, name: str, *, lengths: tuple[int, int] = (16, 8192)) -> Expected | None:
    """Return what must come of FASTA text, or None where it must be refused; a letter at a time."""
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")  # a byte-order mark is no text
    while lines and not lines[0].strip():
        lines.pop(0)
    if not lines or not lines[0].startswith(b">"):
        return None
    records: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line.startswith(b">"):
            records.append((line[1:], b""))
        else:
            records[-1] = (records[-1][0], records[-1][1] + line)
    rejected: Counter[str] = Counter()
    accepted = []
    for number, (header, letters) in enumerate(records, start=1):
        if 0 in header or any(
            letter < 9 or 13 < letter < 32 or letter == 127 for letter in letters
        ):
            return None
        sequence = "".join(
            {"T": "U"}.get(letter.upper(), letter.upper()) if letter.isascii() else letter
            for letter in letters.decode("latin-1")
            if letter not in " \t\r\v\f-."
        )
        sequence = sequence[:-1] if sequence.endswith("*") else sequence
        common = sum(letter in "ACGU" for letter in sequence)
        if not sequence:
            rejected["empty"] += 1
        elif any(letter not in "ACGUIRYKMSWBDHVN" for letter in sequence):
            rejected["letters"] += 1
        elif len(sequence) < lengths[0]:
            rejected["too_short"] += 1
        elif len(sequence) > lengths[1]:
            rejected["too_long"] += 1
        elif 10 * (len(sequence) - common) > len(sequence):
            rejected["ambiguous"] += 1
        else:
            words = header.split()
            is_plain = all(32 <= letter < 127 or letter in b"\t\r" for letter in header)
            identifier = words[0].decode() if is_plain and words else f"{name}:{number}"
            accepted.append((identifier if is_plain else None, sequence.encode()))
    return Expected(len(records), rejected, accepted) if accepted else None


def check_case(
    data: bytes, folder: Path, expected: Expected | None, *, may_refuse: bool = False
) -> str:
    """Run the record step on a file of `data`; return "refused" or "read".

    Raises `AssertionError` at a message that is not clear, a wrong count or half a product, `Hang`
    at a hang, and lets what would be a traceback through.
    """
    path = folder / "case.fasta"
    path.write_bytes(data)
    steps = folder / "steps"
    shutil.rmtree(steps, ignore_errors=True)
    refused: BaseException | None = None
    report: dict[str, Any] = {}
    try:
        with limited():
            report = run_records(path, steps)
    except EXPECTED_ERRORS as error:
        refused = error
    if refused:
        check_message(refused, path)
        assert not (steps / "records").exists(), "a refused input leaves a finished step"
        assert expected is None or may_refuse, f"refused a legal file: {refused}"
        return "refused"
    assert expected is not None, f"read a file that must be refused: {report}"
    check_counts(report, steps, expected)
    return "read"


def run_records(path: Path, steps: Path) -> dict[str, Any]:
    """Make the first step."""
    config = DataConfig(inputs=(path,), out=steps.parent)
    return run_step(steps / "records", {}, partial(build_records, config=config))


def check_message(error: BaseException, path: Path) -> None:
    """Require the file's name and a length that can be read."""
    assert path.name in str(error), f"{type(error).__name__} names no file: {error}"
    assert len(str(error)) < MAX_MESSAGE, f"a message of {len(str(error))} letters"


def check_counts(report: dict[str, Any], steps: Path, expected: Expected) -> None:
    """Compare the step's report and product with what must come."""
    rejected = Counter({reason: n for reason, n in report["rejected"].items() if n})
    assert (report["read"], rejected) == (expected.read, expected.rejected)
    assert report["accepted"] == len(expected.accepted)
    assert report["accepted_nt"] == sum(len(sequence) for _, sequence in expected.accepted)
    table = open_records(steps)
    assert table.column("sequence").to_pylist() == [sequence for _, sequence in expected.accepted]
    for identifier, (wanted, _) in zip(
        table.column("id").to_pylist(), expected.accepted, strict=True
    ):
        assert wanted is None or identifier == wanted


@contextmanager
def limited(seconds: int = LIMIT_SECONDS) -> Iterator[None]:
    """Raise `Hang` in the main thread when the body takes longer."""

    def stop(*_: object) -> None:
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def unpack(data: bytes) -> bytes | None:
    """Unpack with the readers of the standard library; None where they refuse.

    They let junk after a stream pass, and zstd's a stream that ends early: what is read beyond
    this is wrong, what is refused beyond this need not be.
    """
    for whole in (data, data.rstrip(b"\0")):  # zeros may pad
        try:
            if whole.startswith(b"\x1f\x8b"):
                return gzip.decompress(whole)
            if whole.startswith(b"BZh"):
                return bz2.decompress(whole)
            if whole.startswith(b"\xfd7zXZ\0"):
                return lzma.open(io.BytesIO(whole)).read()
            if whole.startswith(b"\x28\xb5\x2f\xfd"):
                decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
                return decompressor.stream_reader(whole, read_across_frames=True).read()
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError):
            continue
        else:
            return whole
    return None
