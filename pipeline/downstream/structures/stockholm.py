"""Stockholm alignments: the consensus structure projected onto every member."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .dot_bracket import parse_dot_bracket
from .raw_structure import GAP, RawStructure

_GAPS = str.maketrans("._~", GAP * 3)
_LOOSE = str.maketrans("~", ".")
"""WUSS writes `~` for columns outside a local structure; dot-bracket has no such mark."""


@dataclass(kw_only=True, slots=True)
class _Alignment:
    line: int
    accession: str = ""
    identifier: str = ""
    consensus: list[str] = field(default_factory=list)
    members: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return self.identifier or self.accession


def read_stockholm(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Members of every alignment of a file, in order; blocks may be interleaved.

    A member is called `family/name`, as one region may be in several families. A pair stays where
    both of its columns are letters in the member, whether or not these can pair.
    """
    alignment: _Alignment | None = None
    for number, full in enumerate(lines, start=1):
        line = full.strip()
        if line.startswith("# STOCKHOLM"):
            if alignment and alignment.members:
                raise ValueError(f"line {number}: the alignment before has no closing //")
            alignment = _Alignment(line=number)
        elif not line:
            continue
        elif alignment is None:
            raise ValueError(f"line {number}: an alignment begins with `# STOCKHOLM 1.0`")
        elif line == "//":
            yield from _iter_members(alignment)
            alignment = None
        else:
            _add(alignment, line.split(), number)
    if alignment:
        raise ValueError(f"line {alignment.line}: the alignment has no closing //")


def _add(alignment: _Alignment, words: list[str], number: int) -> None:
    if words[0] == "#=GF" and len(words) > 2:
        if words[1] == "ID":
            alignment.identifier = words[2]
        elif words[1] == "AC":
            alignment.accession = words[2]
    elif words[:2] == ["#=GC", "SS_cons"]:
        alignment.consensus += words[2:]
    elif words[0].startswith("#"):
        return
    elif len(words) != 2:
        raise ValueError(f"line {number}: a member's line is a name and a sequence")
    else:
        alignment.members.setdefault(words[0], []).append(words[1])
        alignment.lines.setdefault(words[0], number)


def _iter_members(alignment: _Alignment) -> Iterator[RawStructure]:
    consensus = "".join(alignment.consensus)
    where = f"line {alignment.line} ({alignment.family or 'unnamed alignment'})"
    if not consensus:
        raise ValueError(f"{where}: the alignment has no `#=GC SS_cons`")
    try:
        pairs = [(i, j) for i, j in parse_dot_bracket(consensus.translate(_LOOSE)).tolist()]
    except ValueError as error:
        raise ValueError(f"{where}: SS_cons: {error}") from error
    for name, parts in alignment.members.items():
        sequence = "".join(parts).translate(_GAPS)
        if len(sequence) != len(consensus):
            raise ValueError(
                f"line {alignment.lines[name]} ({name}): {len(sequence)} columns, "
                f"but SS_cons has {len(consensus)}"
            )
        yield RawStructure(
            line=alignment.lines[name],
            id=f"{alignment.family}/{name}" if alignment.family else name,
            family=alignment.family,
            sequence=sequence,
            pairs=pairs,
        )
