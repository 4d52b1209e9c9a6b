"""Which files hold structures, and in which format each is: seen in its first lines."""

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .connect_files import read_bpseq, read_ct
from .dot_bracket_files import read_dot_brackets
from .raw_structure import RawStructure
from .stockholm import HEADER, read_stockholm
from .structure_tables import COLUMNS, is_comment, is_table_header, read_table
from .text_files import OPENERS, open_text, strip_packing

SUFFIXES = frozenset(
    {
        *(".tsv", ".csv", ".ct", ".bpseq", ".sto", ".stk", ".stockholm", ".seed"),
        *(".dbn", ".db", ".dot", ".st", ".dp", ".vienna"),
    }
)
"""What is read of a folder, plain or packed; a file given by name may be called anything."""
_TABLE_SUFFIXES = (".tsv", ".csv")
_NO_STRUCTURES = re.compile(r"(readme|licen[cs]e)|.*\.(md|pdf)$", re.IGNORECASE)
"""Files that nobody misses among structures."""
_ARCHIVERS = "__MACOSX"
"""Where macOS puts attributes of files into an archive."""
_NUM_LINES_SEEN = 100
_BINARY = re.compile(r"[\x00-\x08\x0e-\x19]")
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


class StructureFiles(NamedTuple):
    """What a source names."""

    files: list[Path]
    """In order of name."""
    root: Path
    """What folders of families and partitions lie in; of a glob, all before its marks."""
    left_out: list[Path]
    """Files of folders that are not read, as their suffix is of no format."""


def list_structure_files(source: Path) -> list[Path]:
    """Files of a file, a folder or a glob, in order of name."""
    return find_structure_files(source).files


def find_structure_files(source: Path) -> StructureFiles:
    """A file, what a glob matches, and of folders the files in them by suffix."""
    if source.is_file():
        return StructureFiles([source], source.parent, [])
    root, matches = source, [source]
    if not source.is_dir():
        found = map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
        matches = [path for path in found if path.name != _ARCHIVERS]
        while glob.has_magic(str(root)):
            root = root.parent
    inside = list(_iter_folders([path for path in matches if path.is_dir()]))
    for path in (*matches, *inside):
        if not path.exists():
            raise FileNotFoundError(f"{path} is a link to nothing; mend it or take it out")
    files = {path for path in matches if path.is_file()}
    files.update(path for path in inside if path.is_file() and _is_ours(path))
    if not files and matches:
        raise FileNotFoundError(
            f"no structure file in {source}: none ends in {' '.join(sorted(SUFFIXES))}, "
            f"plain or with {' or '.join(sorted(OPENERS))}"
        )
    if not files:
        raise FileNotFoundError(f"no data at {source}: give a structure file, a folder or a glob")
    left_out = {path for path in inside if not _NO_STRUCTURES.match(path.name)} - files
    return StructureFiles(sorted(files), root, sorted(left_out))


def _iter_folders(tops: Sequence[Path]) -> Iterator[Path]:
    """Files in folders and theirs, linked ones too, each folder once; none that is hidden.

    A link to a folder that holds `tops` is not followed.
    """
    real = {top.resolve() for top in tops}
    seen = {parent for top in real for parent in top.parents} - real
    for top in sorted(tops, key=_is_link):
        for name, folders, files in os.walk(top, followlinks=True):
            place = Path(name)
            if place.resolve() in seen:
                folders.clear()
                continue
            seen.add(place.resolve())
            # A folder under its own name goes before a link to it.
            folders[:] = sorted(filter(_is_shown, folders), key=lambda one: _is_link(place / one))
            yield from (place / one for one in files if _is_shown(one))


def _is_link(path: Path) -> tuple[bool, Path]:
    return path.is_symlink(), path


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name != _ARCHIVERS


def iter_raw_structures(path: Path) -> Iterator[RawStructure]:
    """Records of one file of any of the formats; an error names the file and the line."""
    # Names of authors in Rfam's comments are in another encoding; in a sequence such a letter is
    # refused later.
    with open_text(path, errors="replace") as lines:
        try:
            first = list(itertools.islice(lines, _NUM_LINES_SEEN))
            is_table = _get_suffix(path) in _TABLE_SUFFIXES
            yield from _choose_format(first, is_table=is_table).read(itertools.chain(first, lines))
        except ValueError as error:
            # A reader says "line 7: …"; the file before it makes that a place an editor can open.
            raise ValueError(f"{path}:{str(error).removeprefix('line ')}") from error


def _choose_format(lines: Sequence[str], *, is_table: bool) -> _Format:
    """The format of a file that begins with `lines`; where it is a table by name, no other."""
    if any(map(_BINARY.search, lines)):
        raise ValueError(
            "line 1: this is no text (an archive, a pickle or a spreadsheet?); unpack it, or write "
            "a table id,sequence,structure"
        )
    has_title = has_letters = is_beyond_first = False
    commented = 0
    for number, line in enumerate(lines, start=1):
        if HEADER.match(line):
            return _STOCKHOLM
        if is_comment(line) or line.startswith(";"):
            commented = number if is_table_header(line.lstrip("#")) else commented
            continue
        if line.startswith(">"):
            has_title = True
            continue
        if not (has_title or is_beyond_first):
            if is_table_header(line):
                return _TABLE
            if commented:
                raise ValueError(
                    f"line {commented}: a header that begins with '#' is a comment; take the '#' "
                    "out"
                )
            if is_table:
                raise ValueError(
                    f"line {number}: no header with sequence and structure: a table must begin "
                    f"with the columns {' '.join(COLUMNS)}, separated by tabs or commas; if it "
                    "holds no structures, take it out of the folder"
                )
        is_beyond_first = True
        if _BPSEQ_LINE.match(line):
            return _BPSEQ
        if _CT_LINE.match(line):
            return _CT
        if has_title or (has_letters and _STRUCTURE_LINE.match(line)):
            return _DOT_BRACKET
        # Letters alone are a sequence, or a title before one of the formats with numbers.
        has_letters = has_letters or bool(_LETTERS_LINE.match(line))
    if has_title or has_letters:
        return _DOT_BRACKET
    raise ValueError(
        "line 1: neither a table (columns id family sequence structure, separated by tabs or "
        "commas), nor dot-bracket, CT, BPSEQ or Stockholm"
    )


def _is_ours(path: Path) -> bool:
    return _get_suffix(path) in SUFFIXES


def _get_suffix(path: Path) -> str:
    """What a name ends in before `.gz` or `.xz`, in lower case."""
    return Path(strip_packing(path.name)).suffix.lower()
