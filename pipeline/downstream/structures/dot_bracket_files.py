"""Dot-bracket files: FASTA-like, ViennaRNA's output, bpRNA's `.st` and `.dbn`, RNA STRAND's `.dp`.

A record is a sequence and then its structure, each on one line or wrapped over several.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .dot_bracket import parse_dot_bracket
from .raw_structure import RawStructure

_HAS_MARK = re.compile(r"[.()\[\]{}<>:,_|]")
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
        return bool(self.structure) and sum(map(len, self.structure)) >= self.length


def read_dot_brackets(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Records in order; `#` lines are comments, except that `#Name: x` begins the record x."""
    draft: _Draft | None = None
    for number, full in enumerate(lines, start=1):
        line = full.strip()
        if not line:
            continue
        if line.startswith(">"):
            if draft:
                yield _finish(draft)
            draft = _Draft(line=number, id=(line[1:].split() or [""])[0])
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
    # ViennaRNA writes an energy after the structure.
    word = line.split()[0]
    if draft.is_complete:
        if not draft.is_annotated:
            raise ValueError(
                f"line {number}: {word[:20]!r} follows a structure as long as its sequence; begin "
                "each record with a line `>id`, and give one structure to each"
            )
        return
    # A line of `-` alone is structure once letters have come; before, it is an aligned gap.
    is_structure = (
        draft.structure or _HAS_MARK.search(word) or (draft.sequence and set(word) == {"-"})
    )
    (draft.structure if is_structure else draft.sequence).append(word)


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
