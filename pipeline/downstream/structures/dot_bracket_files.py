"""Dot-bracket files: FASTA-like, ViennaRNA's output, bpRNA's `.st` and `.dbn`, RNA STRAND's `.dp`.

A record is a sequence and then its structure, each on one line or wrapped over several, in blocks
or not. What follows a structure on its line may be an energy, as ViennaRNA writes it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .dot_bracket import parse_dot_bracket
from .raw_structure import RawStructure, read_name

_HAS_MARK = re.compile(r"[.()\[\]{}<>:,_|]")
_LETTERS = re.compile(r"[A-Za-z-]+")
_BLOCK = re.compile(r"[A-Za-z.()\[\]{}<>:,_-]+")
_NUMBER = r"[-+]?\d*\.?\d+"
_ENERGY = re.compile(
    rf"(\s*(\(\s*{_NUMBER}\s*\)|\[[^\[\]]*\d[^\[\]]*\]|\{{[^{{}}]*\d[^{{}}]*\}})|\s+{_NUMBER})+$"
)
"""`(-12.30)`, `( -2.30)`, `[-12.5]`, `{-12.0 d=1.0}` or a bare number: no mark is a digit."""
_NAME = re.compile(r"#\s*name\s*:\s*(\S+)", re.IGNORECASE)


@dataclass(kw_only=True, slots=True)
class _Draft:
    line: int
    id: str
    is_annotated: bool = False
    """Whether it began with `#Name:`, as bpRNA's files do: annotation follows the structure."""
    sequence: list[str] = field(default_factory=list)
    structure: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        return sum(map(len, self.sequence))

    @property
    def is_complete(self) -> bool:
        return 0 < self.length <= sum(map(len, self.structure))


def read_dot_brackets(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Records in order; `#` and `;` begin comments, but `#Name: x` begins the record x."""
    draft: _Draft | None = None
    for number, full in enumerate(lines, start=1):
        line = full.strip()
        if not line or line.startswith(";"):
            continue
        if line.startswith(">"):
            if draft:
                yield _finish(draft)
            draft = _Draft(line=number, id=read_name(line[1:]))
        elif line.startswith("#"):
            if name := _NAME.match(line):
                if draft:
                    yield _finish(draft)
                draft = _Draft(line=number, id=name[1], is_annotated=True)
        else:
            draft = draft or _Draft(line=number, id="")
            _add(draft, line, number)
    if draft:
        yield _finish(draft)


def _add(draft: _Draft, line: str, number: int) -> None:
    words = line.split()
    if draft.is_complete:
        if not draft.is_annotated:
            raise ValueError(
                f"line {number}: {words[0][:20]!r} follows a structure as long as its sequence; "
                "begin each record with a line `>id`, and give one structure to each"
            )
        return
    if "&" in line:
        raise ValueError(f"line {number}: '&' joins two strands: give one RNA of one strand")
    # A line of `-` alone is structure once letters have come; before, it is an aligned gap.
    is_structure = (
        draft.structure
        or _HAS_MARK.search(words[0])
        or (draft.sequence and set("".join(words)) == {"-"})
    )
    if is_structure and not draft.sequence:
        raise ValueError(
            f"line {number}: {line[:20]!r} where a sequence must stand; the sequence comes first, "
            "letters and '-' only, and its structure after it"
        )
    if is_structure:
        draft.structure.append(_read_structure_line(line, number))
    elif words[1:] and not all(map(_LETTERS.fullmatch, words)):
        raise ValueError(
            f"line {number}: {line[:40]!r} is neither letters alone nor dot-bracket; give the "
            "sequence a line of its own, and its structure the next"
        )
    else:
        draft.sequence += words


def _read_structure_line(line: str, number: int) -> str:
    """Marks of a line, which may be in blocks, less an energy."""
    blocks = _ENERGY.sub("", line).split()
    for block in blocks[1:]:
        if not _BLOCK.fullmatch(block):
            raise ValueError(
                f"line {number}: {block[:20]!r} after the structure is neither dot-bracket nor an "
                "energy such as (-12.30); remove it"
            )
    return "".join(blocks)


def _finish(draft: _Draft) -> RawStructure:
    sequence, structure = "".join(draft.sequence), "".join(draft.structure)
    where = f"line {draft.line}" + (f" ({draft.id})" if draft.id else "")
    if not sequence:
        raise ValueError(f"{where}: a record without a sequence")
    if not structure:
        raise ValueError(f"{where}: a sequence of {len(sequence)} nt but no structure after it")
    if len(sequence) != len(structure):
        raise ValueError(f"{where}: {len(sequence)} nt but a structure of {len(structure)}")
    try:
        pairs = parse_dot_bracket(structure).tolist()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return RawStructure(
        line=draft.line, id=draft.id, sequence=sequence, pairs=[(i, j) for i, j in pairs]
    )
