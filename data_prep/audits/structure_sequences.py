"""Sequences of FASTA and of structure files: CT, BPSEQ, dot-bracket, Stockholm.

Of structures no more is read than what tells them from sequences. An error begins with the line.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import dropwhile, islice
from typing import NamedTuple

_NUM_LINES_SEEN = 100
_BPSEQ_LINE = re.compile(r"\s*(1\s+[A-Za-z]\s+\S+|\d+\s+[A-Za-z]\s+\d+)\s*$")
_CT_HEADER = re.compile(r"\s*\d+(\s|$)")
_CT_FIRST_BASE = re.compile(r"\s*1\s+[A-Za-z]\s+\d+\s+\d+\s+\d+")
# What programs that fold write before a title.
_ENERGY = re.compile(
    r"^(initial\s+)?(energy|dg)\s*=\s*([-+]?[\d.]+(?!\S)\s*)?(kcal/mol\s*)?(\[initially\s[^]]*\])?",
    re.IGNORECASE,
)
_BASES = re.compile(r"[ACGTUIRYKMSWBDHVNXacgtuirykmswbdhvnx\s-]+")
_BRACKET = re.compile(r"[()\[\]{}<>]")
_MARK = re.compile(r"[.()\[\]{}<>:,_|]")
_MARKS = re.compile(r"[A-Za-z.()\[\]{}<>:,_|-]*")
_NAME = re.compile(r"#\s*name\s*:\s*(\S+)", re.IGNORECASE)
_GAPS = str.maketrans("", "", "._~-")


class Entry(NamedTuple):
    """One sequence as its file states it."""

    id: str
    """Empty where the file gives none."""
    letters: str
    family: str = ""
    partition: str = ""


Reader = Callable[[Sequence[str]], Iterator[Entry]]


def find_reader(lines: Sequence[str]) -> Reader | None:
    """Return which reader takes a text, seen in its first lines, None if none does."""
    for place, line in enumerate(lines[:_NUM_LINES_SEEN]):
        if line.startswith("# STOCKHOLM"):
            return read_stockholm
        if line.startswith(">") or _NAME.match(line):
            return read_fasta
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if _BPSEQ_LINE.match(line):
            return read_bpseq
        rest = [text for text in lines[place + 1 : place + _NUM_LINES_SEEN] if text.strip()]
        if _CT_HEADER.match(line) and rest and _CT_FIRST_BASE.match(rest[0]):
            return read_ct
        if _BASES.fullmatch(line):
            after = next(dropwhile(_BASES.fullmatch, rest), "").split()
            if after and _MARK.match(after[0]) and _MARKS.fullmatch(after[0]):
                return read_fasta
    return None


class _Draft:
    """A record of FASTA or dot-bracket."""

    def __init__(self, number: int, name: str, *, is_annotated: bool = False) -> None:
        self.number, self.name = number, name
        self.is_annotated = is_annotated
        """Whether it began with `#Name:`, as bpRNA's files do: annotation follows the structure."""
        self.letters = self.structure = ""

    def add(self, line: str, number: int, *, is_dot_bracket: bool) -> None:
        words = line.split()
        text = "".join(words)
        is_mark = bool(_MARK.search(words[0])) or set(text) == {"-"}
        if not self.structure and not (is_dot_bracket and self.letters and is_mark):
            self.letters += text
        elif len(self.structure) < len(self.letters) or self.is_annotated:
            self.structure += text
        elif _BASES.fullmatch(line):
            raise ValueError(
                f"line {number}: {line[:20]!r} follows a structure as long as its sequence; begin "
                "each record with a line `>id`"
            )

    def finish(self) -> Entry:
        marks = self.structure[: len(self.letters)]  # an energy may follow, or annotation
        if marks and not (len(marks) == len(self.letters) and _MARKS.fullmatch(marks)):
            raise ValueError(
                f"line {self.number}{f' ({self.name})' if self.name else ''}: {len(self.letters)} "
                f"letters and no structure of as many after them, but {self.structure[:40]!r}"
            )
        return Entry(self.name, self.letters)


def read_fasta(lines: Sequence[str]) -> Iterator[Entry]:
    """FASTA or dot-bracket: a structure, on one line or wrapped, is passed over.

    Where no line but headers holds a bracket, dots are gaps. `;` and `#` begin comments, but
    `#Name: x` the record x.
    """
    is_dot_bracket = any(
        _BRACKET.search(line) for line in lines if not line.startswith((">", ";", "#"))
    )
    draft: _Draft | None = None
    for number, full in enumerate(lines, start=1):
        line = full.strip()
        name = _NAME.match(line)
        if line.startswith(">") or name:
            if draft:
                yield draft.finish()
            words = [name[1]] if name else _ENERGY.sub("", line[1:].strip()).split()
            draft = _Draft(number, next(iter(words), ""), is_annotated=bool(name))
        elif line and not line.startswith((";", "#")):
            draft = draft or _Draft(number, "")
            draft.add(line, number, is_dot_bracket=is_dot_bracket)
    if draft:
        yield draft.finish()


def read_ct(lines: Sequence[str]) -> Iterator[Entry]:
    """Connect tables: records of a line `number title` and a line for each base.

    A record alone goes by its file's name, as titles are free.
    """
    entries = list(_iter_ct(lines))
    yield from entries if len(entries) > 1 else [entry._replace(id="") for entry in entries]


def _iter_ct(lines: Sequence[str]) -> Iterator[Entry]:
    rows = ((number, line.split()) for number, line in enumerate(lines, start=1))
    rows = (row for row in rows if row[1] and row[1][0][0] not in "#;")
    rows = dropwhile(lambda row: not row[1][0].isdecimal(), rows)
    for number, words in rows:
        if not words[0].isdecimal():
            raise ValueError(f"line {number}: {words[0][:20]!r} is not the number of bases of a CT")
        bases = list(islice(rows, int(words[0])))
        for place, (line, base) in enumerate(bases, start=1):
            if len(base) < 5 or base[0] != str(place) or len(base[1]) != 1:
                raise ValueError(
                    f"line {line}: {' '.join(base)[:40]!r} where base {place} of {words[0]} of the "
                    f"CT record of line {number} must stand"
                )
        if not bases or len(bases) < int(words[0]):
            raise ValueError(
                f"line {number}: the CT record of {words[0]} bases ends after {len(bases)}"
            )
        title = _ENERGY.sub("", " ".join(words[1:])).split()
        yield Entry(next(iter(title), ""), "".join(base[1] for _, base in bases))


def read_bpseq(lines: Sequence[str]) -> Iterator[Entry]:
    """BPSEQ: number, letter, partner; a number of 1 begins a record, one repeated says no more."""
    letters: list[str] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#") or not (letters or words[0].isdecimal()):
            continue
        if len(words) != 3 or not words[0].isdecimal() or len(words[1]) != 1:
            raise ValueError(f"line {number}: {line[:40]!r} is not number, letter, partner")
        if words[0] == "1" and len(letters) > 1:
            yield Entry("", "".join(letters))
            letters = []
        if int(words[0]) == len(letters) + 1:
            letters.append(words[1])
        elif int(words[0]) != len(letters) or words[1] != letters[-1]:
            raise ValueError(f"line {number}: base {words[0]} follows base {len(letters)}")
    yield Entry("", "".join(letters))


def read_stockholm(lines: Sequence[str]) -> Iterator[Entry]:
    """Members of alignments without gaps, called `family/name`; blocks may be interleaved."""
    start, names, members = 0, {}, {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if line.startswith("# STOCKHOLM") and not members:
            start, names = number, {}
        elif line.startswith("#=GF") and len(words) > 2:
            names[words[1]] = words[2]
        elif not words or (words[0].startswith("#") and not line.startswith("# STOCKHOLM")):
            continue
        elif not start or line.startswith("# STOCKHOLM"):
            raise ValueError(
                f"line {number}: an alignment begins with `# STOCKHOLM 1.0` and ends with `//`"
            )
        elif words == ["//"]:
            family = names.get("ID") or names.get("AC", "")
            for name, letters in members.items():
                yield Entry(f"{family}/{name}" if family else name, letters, family)
            start, members = 0, {}
        elif len(words) != 2:
            raise ValueError(f"line {number}: a member's line is a name and a sequence")
        else:
            members[words[0]] = members.get(words[0], "") + words[1].translate(_GAPS)
    if start:
        raise ValueError(f"line {start}: the alignment has no closing //")
