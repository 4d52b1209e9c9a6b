"""Dot-bracket with pseudoknots, read to pairs and written back."""

import string
from collections.abc import Sequence

import numpy as np

from .structure import Pairs

BRACKETS = tuple(zip("([{<" + string.ascii_uppercase, ")]}>" + string.ascii_lowercase, strict=True))
"""Opening and closing mark of each layer; pairs of one layer do not cross."""
UNPAIRED = ".-_:,"

_CLOSING_OF = dict(BRACKETS)
_OPENING_OF = {closing: opening for opening, closing in BRACKETS}


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
            raise ValueError(f"pair ({i}, {j}) crosses pairs of all {len(BRACKETS)} bracket layers")
        layers[layer].append((i, j))
        marks[i], marks[j] = BRACKETS[layer]
    return "".join(marks)
