"""Dot-bracket with pseudoknots, read to pairs and written back; a list of pairs beyond it."""

import string
from collections.abc import Sequence

import numpy as np

from ..structure import Pairs

BRACKETS = tuple(zip("([{<" + string.ascii_uppercase, ")]}>" + string.ascii_lowercase, strict=True))
"""Opening and closing mark of each layer; pairs of one layer do not cross."""
UNPAIRED = ".-_:,"

PAIR_LIST = "pairs "
"""How a structure begins that no dot-bracket can say: `pairs 1-20 2-30`, positions from 1."""

_CLOSING_OF = dict(BRACKETS)
_OPENING_OF = {closing: opening for opening, closing in BRACKETS}


class TooManyLayersError(ValueError):
    """Pairs that cross in more layers than there are marks for."""


def parse_dot_bracket(dot_bracket: str) -> Pairs:
    """Pairs (P, 2), 0-based with i < j, ordered by i; an unmatched mark is an error."""
    open_positions: dict[str, list[int]] = {}
    pairs: list[tuple[int, int]] = []
    for position, mark in enumerate(dot_bracket):
        if mark in UNPAIRED:
            continue
        if mark in _CLOSING_OF:
            open_positions.setdefault(mark, []).append(position)
        elif mark in _OPENING_OF:
            if not open_positions.get(_OPENING_OF[mark]):
                raise ValueError(
                    f"{mark!r} at position {position + 1} of {len(dot_bracket)} closes nothing: "
                    f"no {_OPENING_OF[mark]!r} is open"
                )
            pairs.append((open_positions[_OPENING_OF[mark]].pop(), position))
        else:
            raise ValueError(
                f"{mark!r} at position {position + 1} of {len(dot_bracket)} is no dot-bracket "
                "mark; use . and ()[]{}<> or letters Aa, Bb, ..."
            )
    for mark, positions in open_positions.items():
        if positions:
            raise ValueError(
                f"{mark!r} at position {positions[-1] + 1} of {len(dot_bracket)} is never closed"
            )
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def build_dot_bracket(pairs: Pairs | Sequence[Sequence[int]], length: int) -> str:
    """Dot-bracket of `pairs`: each goes to the first layer in which it crosses nothing."""
    marks = ["."] * length
    layers: list[list[tuple[int, int]]] = [[] for _ in BRACKETS]
    for i, j in sorted(
        (min(pair), max(pair)) for pair in np.asarray(pairs).reshape(-1, 2).tolist()
    ):
        if not 0 <= i < j < length:
            raise ValueError(f"pair ({i}, {j}) does not fit a sequence of {length} nt")
        if marks[i] != "." or marks[j] != ".":
            raise ValueError(
                f"pair ({i}, {j}) shares a base with another: dot-bracket cannot say it"
            )
        layer = next(
            (n for n, others in enumerate(layers) if not any(a < i < b < j for a, b in others)),
            None,
        )
        if layer is None:
            raise TooManyLayersError(
                f"pair ({i}, {j}) crosses pairs of all {len(BRACKETS)} bracket layers"
            )
        layers[layer].append((i, j))
        marks[i], marks[j] = BRACKETS[layer]
    return "".join(marks)


def write_structure(pairs: Pairs, length: int) -> str:
    """Dot-bracket of `pairs`, or a list of them where they cross in more layers than it has marks.

    A greedy decoder on a head that knows little makes such structures of a few hundred bases.
    """
    try:
        return build_dot_bracket(pairs, length)
    except TooManyLayersError:
        return PAIR_LIST + " ".join(f"{i + 1}-{j + 1}" for i, j in np.asarray(pairs).tolist())


def read_structure(text: str) -> Pairs:
    """Pairs (P, 2) of what `write_structure` wrote, ordered by i."""
    if not text.startswith(PAIR_LIST):
        return parse_dot_bracket(text)
    listed = (pair.split("-") for pair in text.removeprefix(PAIR_LIST).split())
    return np.array(sorted((int(i) - 1, int(j) - 1) for i, j in listed), np.int64).reshape(-1, 2)
