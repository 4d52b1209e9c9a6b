"""Stockholm alignments: a member's own structure, else the consensus projected onto it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .dot_bracket import parse_dot_bracket
from .raw_structure import GAP, RawStructure

HEADER = re.compile(r"#\s*STOCKHOLM(\s+\d|\s*$)", re.IGNORECASE)
"""`# STOCKHOLM 1.0`, with which an alignment begins."""
_GAPS = str.maketrans("._~", GAP * 3)
_LOOSE = str.maketrans("~", ".")
"""WUSS writes `~` for columns outside a local structure; dot-bracket has no such mark."""
_CONSENSUS = re.compile(r"SS_cons(_pk)?(_?\d+)?")
"""`SS_cons`, and the helices that cross it: R-scape's `SS_cons_1`, `_2`, …, others' `SS_cons2`."""


@dataclass(kw_only=True, slots=True)
class _Row:
    """What a name has in all blocks of an alignment."""

    line: int
    blocks: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.blocks)


class _Structure(NamedTuple):
    pairs: list[tuple[int, int]]
    num_columns: int
    num_conflicts: int = 0


@dataclass(kw_only=True, slots=True)
class _Alignment:
    line: int
    accession: str = ""
    identifier: str = ""
    consensus: dict[str, _Row] = field(default_factory=dict)
    """By the name of the line; `SS_cons` comes first."""
    members: dict[str, _Row] = field(default_factory=dict)
    structures: dict[str, _Row] = field(default_factory=dict)
    """Of single members."""

    @property
    def family(self) -> str:
        return self.identifier or self.accession


def read_stockholm(lines: Iterable[str]) -> Iterator[RawStructure]:
    """Members of every alignment of a file, in order; blocks may be interleaved.

    A member is called `family/name`, as one region may be in several families. Its structure is
    its `#=GR … SS`, or else `#=GC SS_cons` with `SS_cons_1` and so on, whose pairs are left out
    where they share a base with an earlier line's. A pair stays where both of its columns are
    letters in the member, whether or not these can pair.
    """
    alignment: _Alignment | None = None
    for number, full in enumerate(lines, start=1):
        line = full.strip()
        if HEADER.match(line):
            if alignment and alignment.members:
                raise ValueError(f"line {number}: the alignment before has no closing //")
            alignment = _Alignment(line=number)
        elif not line or (alignment is None and re.match(r"#(?!=)", line)):
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
    elif words[0] == "#=GC" and len(words) > 2 and _CONSENSUS.fullmatch(words[1]):
        _append(alignment.consensus, words[1], words[2:], number)
    elif words[0] == "#=GR" and len(words) > 3 and words[2] == "SS":
        _append(alignment.structures, words[1], words[3:], number)
    elif words[0].startswith("#"):
        return
    elif len(words) != 2:
        raise ValueError(f"line {number}: a member's line is a name and a sequence")
    else:
        _append(alignment.members, words[0], words[1:], number)


def _append(rows: dict[str, _Row], name: str, blocks: list[str], number: int) -> None:
    rows.setdefault(name, _Row(line=number)).blocks += blocks


def _iter_members(alignment: _Alignment) -> Iterator[RawStructure]:
    consensus = _merge(alignment.consensus)
    for name, row in alignment.structures.items():
        if name not in alignment.members:
            raise ValueError(f"line {row.line}: `#=GR {name} SS` is of no member of the alignment")
    for name, row in alignment.members.items():
        sequence = row.text.translate(_GAPS)
        own = alignment.structures.get(name)
        structure = _parse(own, f"SS of {name}") if own else consensus
        if structure is None:
            raise ValueError(
                f"line {alignment.line} ({alignment.family or 'unnamed alignment'}): the alignment "
                f"has no `#=GC SS_cons`, nor {name} a `#=GR {name} SS`"
            )
        if len(sequence) != structure.num_columns:
            raise ValueError(
                f"line {row.line} ({name}): {len(sequence)} columns, "
                f"but {'its SS' if own else 'SS_cons'} has {structure.num_columns}"
            )
        yield RawStructure(
            line=row.line,
            id=f"{alignment.family}/{name}" if alignment.family else name,
            family=alignment.family,
            sequence=sequence,
            pairs=structure.pairs,
            num_conflicts=structure.num_conflicts,
        )


def _merge(consensus: Mapping[str, _Row]) -> _Structure | None:
    """Pairs of all lines in the order of their names, each base in the first that pairs it."""
    pairs: list[tuple[int, int]] = []
    paired: set[int] = set()
    num_stated = num_columns = 0
    for name in sorted(consensus, key=lambda name: (len(name), name)):
        layer = _parse(consensus[name], name)
        if num_columns and layer.num_columns != num_columns:
            raise ValueError(
                f"line {consensus[name].line}: {name} has {layer.num_columns} columns, "
                f"the line before it {num_columns}"
            )
        num_columns = layer.num_columns
        num_stated += len(layer.pairs)
        for pair in layer.pairs:
            if paired.isdisjoint(pair):
                paired.update(pair)
                pairs.append(pair)
    return _Structure(sorted(pairs), num_columns, num_stated - len(pairs)) if consensus else None


def _parse(row: _Row, name: str) -> _Structure:
    try:
        pairs = parse_dot_bracket(row.text.translate(_LOOSE)).tolist()
    except ValueError as error:
        raise ValueError(f"line {row.line}: {name}: {error}") from error
    return _Structure([(i, j) for i, j in pairs], len(row.text))
