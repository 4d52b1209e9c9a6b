"""Which files hold structures, and in which format each is: seen in its first lines."""

import glob
import gzip
import itertools
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from .connect_files import read_bpseq, read_ct
from .dot_bracket_files import read_dot_brackets
from .raw_structure import RawStructure
from .stockholm import read_stockholm
from .structure_tables import is_comment, is_table_header, read_table

SUFFIXES = frozenset(
    {
        *(".tsv", ".csv", ".ct", ".bpseq", ".sto", ".stk", ".stockholm", ".seed"),
        *(".dbn", ".db", ".dot", ".st", ".dp", ".vienna"),
    }
)
"""What is read of a folder, plain or packed; a file given by name may be called anything."""
OPENERS = {".xz": lzma.open, ".gz": gzip.open}
_NUM_LINES_SEEN = 100
_BPSEQ_LINE = re.compile(r"\s*(1\s+[A-Za-z]\s+\S+|\d+\s+[A-Za-z]\s+\d+)\s*$")
_CT_LINE = re.compile(r"\s*\d+(\s|$)")
_LETTERS_LINE = re.compile(r"[A-Za-z\s-]+$")
_STRUCTURE_LINE = re.compile(r"\s*[.()\[\]{}<>:,_-]")


class _Format(NamedTuple):
    name: str
    read: Callable[[Iterable[str]], Iterable[RawStructure]]


_TABLE = _Format("table", read_table)
_STOCKHOLM = _Format("Stockholm", read_stockholm)
_DOT_BRACKET = _Format("dot-bracket", read_dot_brackets)
_CT = _Format("CT", read_ct)
_BPSEQ = _Format("BPSEQ", read_bpseq)


def list_structure_files(source: Path) -> list[Path]:
    """Files of a file, a folder (with those in it, by suffix) or a glob, in order of name."""
    if source.is_file():
        return [source]
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.is_file() and _is_ours(path))
        if not found:
            raise FileNotFoundError(
                f"no structure file in {source}: none ends in {' '.join(sorted(SUFFIXES))}, "
                "plain or with .gz or .xz"
            )
        return found
    found = sorted(Path(name) for name in glob.glob(str(source), recursive=True))  # noqa: PTH207
    files = [path for path in found if path.is_file()]
    if not files:
        raise FileNotFoundError(f"no data at {source}: give a structure file, a folder or a glob")
    return files


def iter_raw_structures(path: Path) -> Iterator[RawStructure]:
    """Records of one file of any of the formats; an error names the file and the line."""
    try:
        with open_text(path) as lines:
            first = list(itertools.islice(lines, _NUM_LINES_SEEN))
            yield from _choose_format(first).read(itertools.chain(first, lines))
    except (lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is broken ({error}); fetch it again") from error
    except ValueError as error:
        # A reader says "line 7: …"; the file before it makes that a place an editor can open.
        raise ValueError(f"{path}:{str(error).removeprefix('line ')}") from error


def _choose_format(lines: Iterable[str]) -> _Format:
    has_letters = is_beyond_first = False
    for line in lines:
        if line.startswith("# STOCKHOLM"):
            return _STOCKHOLM
        if is_comment(line) or line.startswith(";"):
            continue
        if not is_beyond_first and is_table_header(line):
            return _TABLE
        is_beyond_first = True
        if line.startswith(">") or (has_letters and _STRUCTURE_LINE.match(line)):
            return _DOT_BRACKET
        if _BPSEQ_LINE.match(line):
            return _BPSEQ
        if _CT_LINE.match(line):
            return _CT
        # Letters alone are a sequence, or a title before one of the formats with numbers.
        has_letters = has_letters or bool(_LETTERS_LINE.match(line))
    if has_letters:
        return _DOT_BRACKET
    raise ValueError(
        "line 1: neither a table (columns id family sequence structure, separated by tabs or "
        "commas), nor dot-bracket, CT, BPSEQ or Stockholm"
    )


def _is_ours(path: Path) -> bool:
    name = path.name.lower()
    for packed in OPENERS:
        name = name.removesuffix(packed)
    return Path(name).suffix in SUFFIXES


def open_text(path: Path) -> TextIO:
    """Lines of a text file, plain or packed with gzip or xz."""
    if not path.exists():
        raise FileNotFoundError(f"no structure file {path}")
    # utf-8-sig: editors on Windows put a byte-order mark before the first letter. Names of authors
    # in Rfam's comments are in another encoding; in a sequence such a letter is refused later.
    opener = OPENERS.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8-sig", errors="replace")  # type: ignore[return-value]
