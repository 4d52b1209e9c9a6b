"""Checksums that sources state of their files, and what is checked where they state none."""

import hashlib
import re
from pathlib import Path
from typing import Literal, NamedTuple

from ..inputs.archives import ArchiveError, open_unpacked

PACKED_SUFFIXES = (".gz", ".bgz", ".bz2", ".xz", ".zst")
KIND_OF_HEX_DIGITS: dict[int, Literal["md5", "sha256"]] = {32: "md5", 64: "sha256"}


class Checksum(NamedTuple):
    """An MD5 or SHA-256 in hex, or what BSD `sum` prints: a 16-bit sum and a count of KiB."""

    kind: Literal["md5", "sha256", "sum"]
    value: str


def find_checksum(listing: str, name: str) -> Checksum:
    """Return a file's line in the output of `md5sum`, `sha256sum` or BSD `sum` (Ensembl's)."""
    for line in listing.splitlines():
        if match := re.fullmatch(r"([0-9a-fA-F]{32,64}) [ *](\S+)", line.strip()):
            digest, found = match.groups()
            if Path(found).name == name and len(digest) in KIND_OF_HEX_DIGITS:
                return Checksum(KIND_OF_HEX_DIGITS[len(digest)], digest.lower())
        elif match := re.fullmatch(r"(\d+)\s+(\d+)\s+(\S+)", line.strip()):
            value, kibibytes, found = match.groups()
            if Path(found).name == name:
                return Checksum("sum", f"{int(value)} {int(kibibytes)}")
    raise ValueError(f"no checksum of {name} among the {len(listing.splitlines())} lines listed")


def explain_damage(path: Path, checksum: Checksum | None, *, name: str = "") -> str | None:
    """Say how a file differs from its checksum; without one, whether its archive is not whole.

    `name` is what the file will be called, if it has another name so far.
    """
    if checksum is None:
        packed = (name or path.name).endswith(PACKED_SUFFIXES)
        return _explain_damaged_archive(path) if packed else None
    if checksum.kind == "sum":
        found = compute_bsd_sum(path)
    else:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, checksum.kind).hexdigest()
    if found == checksum.value:
        return None
    return f"its {checksum.kind} is {found}, its source states {checksum.value}"


def compute_bsd_sum(path: Path) -> str:
    """Return what `sum -r` prints: a rotating 16-bit sum, and the size in KiB, rounded up."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for byte in block:
                value = ((value >> 1) + ((value & 1) << 15) + byte) & 0xFFFF
    return f"{value} {-(-path.stat().st_size // 1024)}"


def _explain_damaged_archive(path: Path) -> str | None:
    try:
        with open_unpacked(path) as file:
            while file.read1(1 << 20):
                pass
    except ArchiveError as error:
        return str(error)
    return None
