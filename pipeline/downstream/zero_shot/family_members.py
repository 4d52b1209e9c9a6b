"""RNAs and the families they are of: read from tables, and drawn to be compared."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..structures.records import describe_structures_lack, read_structures
from ..structures.structure_tables import is_table_header
from ..structures.text_files import iter_values, open_text

FAMILY_COLUMNS = ("family", "rfam_id", "rfam_acc", "class", "label")
"""The first of these that a table has names the family."""


class FamilyMember(NamedTuple):
    """One RNA: upper case, U for T."""

    family: str
    sequence: str


def describe_members_lack(data: Path) -> str:
    """What keeps RNAs from being read; empty where nothing is seen to."""
    return "" if data.is_file() and _read_header(data)[0] else describe_structures_lack(data)


def read_members(source: Path) -> list[FamilyMember]:
    """RNAs of a table with a header, tabs or commas, or of any structure files.

    A table needs a `sequence` and one of `FAMILY_COLUMNS`, and no structure.
    """
    if source.is_file():
        columns, mark = _read_header(source)
        if columns:
            with open_text(source, errors="replace") as lines:
                next(lines)
                return list(_iter_members(lines, source, columns, mark))
    return [
        FamilyMember(one.family, one.sequence)
        for one in read_structures(source, require_families=True)
    ]


def _read_header(path: Path) -> tuple[list[str], str]:
    """Columns of a table with a `sequence`, none of another file, and what separates them."""
    with open_text(path, errors="replace") as lines:
        header = lines.readline().rstrip("\r\n")
    mark = "\t" if "\t" in header else ","
    columns = next(csv.reader([header], delimiter=mark)) if is_table_header(header) else []
    return (columns if "sequence" in columns else []), mark


def _iter_members(
    lines: Iterable[str], source: Path, columns: Sequence[str], mark: str
) -> Iterator[FamilyMember]:
    family = next((name for name in FAMILY_COLUMNS if name in columns), None)
    if family is None:
        raise ValueError(
            f"{source} has no column that names the family: one of {', '.join(FAMILY_COLUMNS)}"
        )
    for number, row in iter_values(lines, separator=mark, first_line=2, place=f"{source}:"):
        if len(row) != len(columns):
            raise ValueError(f"{source}:{number} has {len(row)} columns, must be {len(columns)}")
        one = dict(zip(columns, row, strict=True))
        if not one[family] or not one["sequence"]:
            raise ValueError(f"{source}:{number} has an empty {family} or sequence")
        yield FamilyMember(one[family], one["sequence"].upper().replace("T", "U"))


def choose_members(
    members: Sequence[FamilyMember],
    *,
    min_family_size: int,
    max_families: int,
    max_per_family: int,
    max_length_nt: int,
    seed: int,
) -> tuple[list[FamilyMember], list[str]]:
    """The RNAs that are compared, family by family, and sentences on what was left out. Pure.

    A sequence counts once; one that stands in two families is left out of both.
    """
    families_of: dict[str, set[str]] = defaultdict(set)
    for family, sequence in members:
        families_of[sequence].add(family)
    by_family: dict[str, list[str]] = defaultdict(list)
    too_long = 0
    for sequence, families in families_of.items():
        too_long += len(sequence) > max_length_nt
        if len(families) == 1 and len(sequence) <= max_length_nt:
            by_family[min(families)].append(sequence)
    large = {name: found for name, found in by_family.items() if len(found) >= min_family_size}
    names = sorted(large, key=lambda name: (-len(large[name]), name))
    names = sorted(names[: max_families or None])
    if len(names) < 2:
        raise ValueError(
            f"comparing families takes two of at least min_family_size={min_family_size} "
            f"distinct RNAs, got {', '.join(names) or 'none'}"
        )
    generator = np.random.default_rng(seed)
    chosen: list[FamilyMember] = []
    for name in names:
        order = generator.permutation(len(large[name]))[: max_per_family or None]
        chosen += [FamilyMember(name, large[name][place]) for place in order.tolist()]
    ambiguous = sum(len(families) > 1 for families in families_of.values())
    notes = [
        "Nothing is fitted, but pretraining may have seen these sequences (not their families).",
        f"Left out: {len(members) - len(families_of)} exact repeats, {ambiguous} sequences that "
        f"stand in several families, {too_long} RNAs of more than {max_length_nt} nt, "
        f"{len(by_family) - len(names)} families (small, or beyond max_families). Near copies "
        "stay: a nearest neighbour may be one.",
    ]
    return chosen, notes
