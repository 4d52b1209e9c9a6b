"""CT and BPSEQ: one line a base, with the number of its partner."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from .raw_structure import RawStructure, read_name, resolve_multiplets


class _Base(NamedTuple):
    line: int
    position: int
    letter: str
    partner: int
    """1-based; 0 where it has none."""


def read_ct(lines: Iterable[str]) -> list[RawStructure]:
    """Records of a connect-table file, one after the other; pseudoknots are as good as others.

    A record is a line with the number of bases and a title, then a line for each base: number,
    letter, two neighbours, partner, number again (this last may be absent). The first word of the
    title, less an energy, is the id; a single record goes by its file's name, as titles are free.
    Lines before the first record that begin with no number are comments, as in CRW's files; so are
    lines that begin with `#`, `;` or `>` anywhere.
    """
    records = list(_iter_ct(lines))
    return records if len(records) > 1 else [replace(record, id="") for record in records]


def _iter_ct(lines: Iterable[str]) -> Iterator[RawStructure]:
    header: tuple[int, int, str] | None = None
    bases: list[_Base] = []
    has_begun = False
    for number, full in enumerate(lines, start=1):
        words = full.split()
        if not words or words[0][0] in "#;>" or not (has_begun or words[0].isdecimal()):
            continue
        has_begun = True
        if header is None:
            header = (number, *_read_header(words, number))
            continue
        if len(words) < 5:
            raise ValueError(
                f"line {number}: a CT line has at least 5 columns, got {len(words)}: "
                f"base {len(bases) + 1} of {header[1]} of the record of line {header[0]}"
            )
        bases.append(_read_base(words[0], words[1], words[4], number))
        if bases[-1].position != len(bases):
            raise ValueError(
                f"line {number}: base {bases[-1].position} where {len(bases)} of {header[1]} "
                f"must stand in the record of line {header[0]}"
            )
        if len(bases) == header[1]:
            yield _build(bases, line=header[0], name=header[2])
            header, bases = None, []
    if header:
        raise ValueError(
            f"line {header[0]}: the CT record of {header[1]} bases ends after {len(bases)}"
        )


def _read_header(words: Sequence[str], number: int) -> tuple[int, str]:
    size = _read_int(words[0], number, "the number of bases that begins a CT record")
    if size < 1:
        raise ValueError(f"line {number}: a CT record of {size} bases")
    if size == 1 and len(words) > 4 and all(word.isdecimal() for word in words[2:5]):
        raise ValueError(
            f"line {number}: a base, but no number of bases before it; begin a CT record with a "
            "line such as `24 title`"
        )
    return size, read_name(" ".join(words[1:]))


def read_bpseq(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Records of a BPSEQ file: number, letter, partner; a number of 1 begins the next record.

    Lines before the first base are comments (CRW's files have four); so are lines that begin with
    `#` or `>` anywhere. A number that is repeated states another pair of the same base.
    """
    bases: list[_Base] = []
    for number, full in enumerate(lines, start=1):
        words = full.split()
        if not words or words[0][0] in "#>" or not (bases or words[0].isdecimal()):
            continue
        if len(words) != 3:
            raise ValueError(f"line {number}: a BPSEQ line has 3 columns, got {len(words)}")
        base = _read_base(words[0], words[1], words[2], number)
        last = bases[-1].position if bases else 0
        if base.position == 1 and last > 1:
            yield _build(bases, line=bases[0].line)
            bases, last = [], 0
        if base.position not in (last, last + 1) or base.position == 0:
            raise ValueError(f"line {number}: base {base.position} follows base {last}")
        if base.position == last and base.letter != bases[-1].letter:
            raise ValueError(
                f"line {number}: base {base.position} is {base.letter}, "
                f"but {bases[-1].letter} on line {bases[-1].line}"
            )
        bases.append(base)
    if bases:
        yield _build(bases, line=bases[0].line)


def _read_base(position: str, letter: str, partner: str, line: int) -> _Base:
    if len(letter) != 1:
        raise ValueError(f"line {line}: {letter!r} is not one letter")
    return _Base(
        line,
        _read_int(position, line, "the number of a base"),
        letter,
        _read_int(partner, line, "the number of a partner (0 for none)"),
    )


def _read_int(word: str, line: int, what: str) -> int:
    if not word.removeprefix("-").isdecimal():
        raise ValueError(f"line {line}: {word[:20]!r} is not {what}")
    return int(word)


def _build(bases: list[_Base], *, line: int, name: str = "") -> RawStructure:
    letters = {base.position: base.letter for base in bases}
    partners: dict[int, set[int]] = {}
    for base in bases:
        if base.partner:
            partners.setdefault(base.position, set()).add(base.partner)
    for base in bases:
        _check(base, len(letters), partners)
    stated = [(base.position - 1, base.partner - 1) for base in bases if base.partner]
    pairs, num_conflicts = resolve_multiplets(stated)
    return RawStructure(
        line=line,
        id=name,
        sequence="".join(letters.values()),
        pairs=pairs,
        num_conflicts=num_conflicts,
    )


def _check(base: _Base, length: int, partners: Mapping[int, set[int]]) -> None:
    if not base.partner:
        return
    if not 0 < base.partner <= length:
        raise ValueError(
            f"line {base.line}: base {base.position} pairs with {base.partner}, "
            f"but there are {length} bases"
        )
    if base.partner == base.position:
        raise ValueError(f"line {base.line}: base {base.position} pairs with itself")
    if not partners.get(base.partner):
        raise ValueError(
            f"line {base.line}: base {base.position} pairs with {base.partner}, "
            f"which has no partner; write {base.position} there, or 0 here"
        )
