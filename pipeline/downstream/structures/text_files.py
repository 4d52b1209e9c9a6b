"""Text files of users: opened plain or packed, and the rows of their tables; errors say where."""

import csv
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

OPENERS = {".xz": lzma.open, ".gz": gzip.open}


@contextmanager
def open_text(path: Path, *, errors: Literal["strict", "replace"] = "strict") -> Iterator[TextIO]:
    """Open a text file, plain or packed with gzip or xz, to read.

    A damaged file is an error that names it, as is one that is no UTF-8 unless `errors` are to be
    replaced.
    """
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    opener = OPENERS.get(path.suffix.lower(), open)
    try:
        # utf-8-sig: editors on Windows put a byte-order mark before the first letter.
        with opener(path, "rt", encoding="utf-8-sig", errors=errors) as lines:
            yield lines  # type: ignore[misc]
    except (
        *(lzma.LZMAError, zlib.error, gzip.BadGzipFile),
        *(EOFError, UnicodeDecodeError),
    ) as error:
        raise ValueError(f"{path} cannot be read ({error}); fetch it again") from error


def strip_packing(name: str) -> str:
    """A file's name without `.gz` or `.xz`, in any case."""
    return Path(name).stem if Path(name).suffix.lower() in OPENERS else name


def iter_values(
    lines: Iterable[str],
    *,
    separator: str,
    first_line: int = 1,
    place: str = "line ",
    strict: bool = False,
) -> Iterator[tuple[int, list[str]]]:
    """Values of each row with the line it begins on; an error begins with `place` and the line.

    `strict` refuses a quote that is not closed or not doubled, and drops blanks before a value.
    """
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=strict, strict=strict)
    number = first_line
    try:
        for values in reader:
            yield number, values
            number = first_line + reader.line_num
    except csv.Error as error:
        if "field limit" in str(error) and number == first_line + reader.line_num - 1:
            cure = "such a value is no part of an RNA; take it out"
        else:
            cure = "a quote that opens a value must close it, and one inside it is written twice"
        raise ValueError(f"{place}{number}: {error}; {cure}") from error
