"""One RNA as a structure file states it, before gaps are dropped and letters are checked."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ....model.alphabet import ID_OF_BYTE, UNK

GAP = "-"
_ENERGY = re.compile(
    r"^(initial\s+)?(energy|dg)\s*=\s*([-+]?[\d.]+(?!\S)\s*)?(kcal/mol\s*)?(\[initially\s[^]]*\])?",
    re.IGNORECASE,
)
"""`ENERGY = -5.2`, where the number may be absent, and mfold's `dG = -5.20 [initially  -6.00]`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RawStructure:
    """One record of a file; readers yield these."""

    line: int
    """Where the record begins, counted from 1."""
    id: str = ""
    """Empty where the format has no place for it, or the file left it out."""
    family: str = ""
    partition: str = ""
    sequence: str
    """As written; a `-` is a gap."""
    pairs: Sequence[tuple[int, int]]
    """0-based positions of `sequence`, gaps counted, i < j, each in one pair at most."""
    num_conflicts: int = 0
    """Pairs dropped because a base of theirs has another one (`resolve_multiplets`)."""


def read_name(title: str) -> str:
    """The first word of a title, less the energy that programs that fold write before it."""
    return next(iter(_ENERGY.sub("", title.strip()).split()), "")


def drop_gaps(sequence: str, pairs: Iterable[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """Take gaps out of an aligned sequence, and with them the pairs that have an end in one."""
    place = {
        column: number
        for number, column in enumerate(n for n, letter in enumerate(sequence) if letter != GAP)
    }
    kept = [(place[i], place[j]) for i, j in pairs if i in place and j in place]
    return sequence.replace(GAP, ""), kept


def normalise(sequence: str) -> str:
    """Upper case with U for T; what is no nucleotide or IUPAC code is an error with its place.

    X, an unknown base in older files, becomes N.
    """
    sequence = sequence.upper().replace("T", "U").replace("X", "N")
    for position, letter in enumerate(sequence):
        if ord(letter) > 127 or ID_OF_BYTE[ord(letter)] == UNK:
            raise ValueError(
                f"letter {letter!r} at position {position + 1} of {len(sequence)} is no "
                "nucleotide or IUPAC code; write N for an unknown or modified base"
            )
    return sequence


def resolve_multiplets(
    stated: Iterable[tuple[int, int]],
) -> tuple[list[tuple[int, int]], int]:
    """Pairs with one partner a base, ordered, and how many were dropped for that.

    `stated` holds (i, partner of i) for every base that names one. A pair that both of its bases
    state goes before one that a single base states; among equals the one with the 5'-most base.
    """
    count: dict[tuple[int, int], int] = {}
    for i, j in dict.fromkeys(stated):
        pair = (min(i, j), max(i, j))
        count[pair] = count.get(pair, 0) + 1
    used: set[int] = set()
    kept: list[tuple[int, int]] = []
    for pair in sorted(count, key=lambda pair: (-count[pair], pair)):
        if not used.intersection(pair):
            used.update(pair)
            kept.append(pair)
    return sorted(kept), len(count) - len(kept)
