"""An RNA's known structure against a predicted one, drawn as arcs and in the plane.

The plane's layout is ViennaRNA's (naview) of the known structure without its pseudoknots, which
are drawn over it. Its puzzler, which would avoid every overlap, ends the process on hairpins of
fewer than three bases (2.8.0), and known structures have those.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from types import ModuleType
from typing import NamedTuple

from ..structures.dot_bracket import BRACKETS, PAIR_LIST, read_structure
from ..task_report import StructureCase
from .page_charts import WIDTH
from .page_html import format_keys

HIT, MISSED, WRONG = "blue", "grey", "vermilion"
ARC_WIDTH, ARC_HEIGHT = 560, 130
MARK_WIDTH = 18
LEAST_LAID_OUT_NT = 2
"""naview gives NaN for one base and ends the process for none."""

_FIRST_LEVEL = BRACKETS[0][0]

Pair = tuple[int, int]
Point = tuple[float, float]


class PairClasses(NamedTuple):
    """Pairs of two structures, 0-based."""

    hit: list[Pair]
    missed: list[Pair]
    """Known, not predicted."""
    wrong: list[Pair]
    """Predicted, not known."""


def classify_pairs(case: StructureCase) -> PairClasses:
    """Compare a case's structures, strictly; both must have the sequence's length."""
    length = len(case.sequence)
    for name, dot_bracket in (("known", case.known), ("predicted", case.predicted)):
        if not dot_bracket.startswith(PAIR_LIST) and len(dot_bracket) != length:
            raise ValueError(
                f"case {case.id} of {case.part}: {length} nt, but its {name} structure has "
                f"{len(dot_bracket)}"
            )
    known, predicted = (
        {(i, j) for i, j in read_structure(text).tolist()} for text in (case.known, case.predicted)
    )
    return PairClasses(
        sorted(known & predicted), sorted(known - predicted), sorted(predicted - known)
    )


def format_legend(*, is_planar: bool) -> str:
    """What the colours mean, as HTML."""
    keys = format_keys(
        [(HIT, "known and predicted"), (MISSED, "missed (dashed)"), (WRONG, "wrong")]
    )
    planar = (
        "In the plane: laid out by the known structure, pseudoknots drawn over it. "
        if is_planar
        else "Drawings in the plane need ViennaRNA (the extra baselines). "
    )
    return f"{keys}<br>{planar}Arcs: known above the line, predicted below."


def draw_arcs(case: StructureCase) -> str:
    """Known pairs above the sequence, predicted ones below."""
    classes = classify_pairs(case)
    length = len(case.sequence)
    pitch = (ARC_WIDTH - 24) / max(length - 1, 1)
    pairs = [*classes.hit, *classes.missed, *classes.wrong]
    widest = max((j - i for i, j in pairs), default=1) * pitch / 2
    flat = min(1.0, ARC_HEIGHT / widest)
    reach = max(24.0, min(ARC_HEIGHT, widest))
    has_letters = pitch >= 7.5
    gap = 8 if has_letters else 2
    above, below = 8 + reach, 8 + reach + 2 * gap
    height = below + reach + 20
    lines = [
        f'<svg viewBox="0 0 {ARC_WIDTH} {height:.0f}" role="img" '
        f'aria-label="arcs of {escape(case.id)}" font-size="11">'
    ]

    def arcs(pairs: Sequence[Pair], y: float, sweep: int) -> str:
        return "".join(
            f"M{12 + i * pitch:.1f} {y:.1f}A{(j - i) * pitch / 2:.1f} "
            f"{(j - i) * pitch / 2 * flat:.1f} 0 0 {sweep} {12 + j * pitch:.1f} {y:.1f}"
            for i, j in pairs
        )

    width = min(1.4, max(0.5, 0.6 * pitch))  # stems of long RNAs stay apart
    lines += _draw_class(arcs(classes.missed, above, 1), MISSED, width=width, is_dashed=True)
    lines += _draw_class(arcs(classes.hit, above, 1), HIT, width=width)
    lines += _draw_class(arcs(classes.wrong, below, 0), WRONG, width=width)
    lines += _draw_class(arcs(classes.hit, below, 0), HIT, width=width)
    middle = (above + below) / 2
    if has_letters:
        lines += [
            _letter(12 + place * pitch, middle, letter, min(11.0, pitch * 1.25))
            for place, letter in enumerate(case.sequence)
        ]
    elif length:
        end = 12 + (length - 1) * pitch
        lines.append(
            f'<path d="M12 {middle:.1f}H{end:.1f}" stroke="var(--soft)" stroke-width="1.5"/>'
        )
    lines += _draw_ruler(length, pitch, height)
    return "\n".join([*lines, "</svg>"])


def lay_out(case: StructureCase, viennarna: ModuleType) -> list[Point]:
    """Coordinates of every base; a row where the RNA is too short for a layout."""
    length = len(case.sequence)
    if length < LEAST_LAID_OUT_NT:
        return [(0.0, 0.0)] * length
    marks = ["."] * length
    for i, j in find_nested(case.known):
        marks[i], marks[j] = "()"
    found = viennarna.naview_xy_coordinates("".join(marks))
    return [(found[place].X, found[place].Y) for place in range(length)]


def find_nested(dot_bracket: str) -> list[Pair]:
    """Pairs that cross none of those before them, those in round brackets first, if it has any."""
    pairs = [(i, j) for i, j in read_structure(dot_bracket).tolist()]
    nested: list[Pair] = []
    for i, j in sorted(pairs, key=lambda pair: dot_bracket[pair[0] :][:1] != _FIRST_LEVEL):
        if not any(a < i < b < j or i < a < j < b for a, b in nested):
            nested.append((i, j))
    return nested


def draw_planar(case: StructureCase, viennarna: ModuleType) -> str:
    """The known structure in the plane, with what was missed and what was wrong."""
    classes = classify_pairs(case)
    points, size, height = _fit(lay_out(case, viennarna))
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="structure of {escape(case.id)}" font-size="11">'
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines.append(
        f'<polyline points="{path}" fill="none" stroke="var(--grid)" '
        f'stroke-width="{max(1.2, size / 6):.1f}"/>'
    )

    def lines_of(pairs: Sequence[Pair]) -> str:
        return "".join(
            "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*points[i], *points[j]) for i, j in pairs
        )

    width = min(3.6, max(1.2, size / 5))
    lines += _draw_class(lines_of(classes.wrong), WRONG, width=1.1, opacity=0.75)
    lines += _draw_class(lines_of(classes.missed), MISSED, width=width, is_dashed=True)
    lines += _draw_class(lines_of(classes.hit), HIT, width=width)
    if size >= 10:
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        lines.append(
            f'<path d="{dots}" stroke="var(--back)" stroke-width="{size * 0.62:.1f}" '
            'stroke-linecap="round"/>'
        )
        lines += [
            _letter(x, y, letter, size * 0.6)
            for (x, y), letter in zip(points, case.sequence, strict=True)
        ]
    elif points:
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        lines.append(
            f'<path d="{dots}" stroke="var(--soft)" stroke-width="{max(1.6, size / 3):.1f}" '
            'stroke-linecap="round"/>'
        )
    lines += _mark_ends(points, size)
    return "\n".join([*lines, "</svg>"])


def _fit(points: Sequence[Point]) -> tuple[list[Point], float, float]:
    """Points in the picture's frame, pixels from base to base, and the picture's height."""
    margin = 18.0
    if not points:
        return [], 0.0, 2 * margin
    x_low, y_low = min(x for x, _ in points), min(y for _, y in points)
    wide, high = max(x for x, _ in points) - x_low, max(y for _, y in points) - y_low
    if high > 1.25 * wide:  # long ones lie down
        points = [(y, -x) for x, y in points]
        x_low, y_low, wide, high = y_low, -(x_low + wide), high, wide
    scale = min((WIDTH - 2 * margin) / max(wide, 1.0), 300 / max(high, 1.0), 1.6)
    left = (WIDTH - wide * scale) / 2
    placed = [(left + (x - x_low) * scale, margin + (y - y_low) * scale) for x, y in points]
    return placed, 15 * scale, high * scale + 2 * margin


def _draw_class(
    path: str, colour: str, *, width: float, is_dashed: bool = False, opacity: float = 1.0
) -> Iterator[str]:
    if path:
        dash = ' stroke-dasharray="3.5 2.5"' if is_dashed else ""
        clear = f' stroke-opacity="{opacity}"' if opacity < 1 else ""
        yield (
            f'<path class="{colour}" d="{path}" fill="none" stroke="var(--{colour})" '
            f'stroke-width="{width:.1f}"{dash}{clear}/>'
        )


def _draw_ruler(length: int, pitch: float, height: float) -> Iterator[str]:
    step = next((s for s in (5, 10, 20, 50, 100, 200, 500) if length / s <= 9), 1000)
    for number in (n for n in range(1, length + 1) if n == 1 or n % step == 0):
        x = 12 + (number - 1) * pitch
        yield (
            f'<text x="{x:.1f}" y="{height - 4:.0f}" text-anchor="middle" font-size="13" '
            f'fill="var(--soft)">{number}</text>'
        )


def _mark_ends(points: Sequence[Point], size: float) -> Iterator[str]:
    """5' and 3' beside the first and the last base, away from the bases around them."""
    if len(points) < LEAST_LAID_OUT_NT:
        return
    reach = 8 + size * 0.4
    places = []
    for x, y in (points[0], points[-1]):
        around = sorted(points, key=lambda point: (point[0] - x) ** 2 + (point[1] - y) ** 2)[:6]
        centre = [sum(axis) / len(around) for axis in zip(*around, strict=True)]
        away = math.atan2(y - centre[1], x - centre[0])
        places.append((x + reach * math.cos(away), y + reach * math.sin(away)))
    (left, top), (right, bottom) = places
    if math.hypot(right - left, bottom - top) < MARK_WIDTH:  # ends that meet
        middle = (left + right) / 2
        side = MARK_WIDTH / 2 if left <= right else -MARK_WIDTH / 2
        left, right = middle - side, middle + side
    for x, y, mark in ((left, top, "5′"), (right, bottom, "3′")):
        yield (
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="var(--text)" '
            f'font-weight="600">{mark}</text>'
        )


def _letter(x: float, y: float, letter: str, size: float) -> str:
    return (
        f'<text x="{x:.1f}" y="{y + size * 0.36:.1f}" text-anchor="middle" '
        f'font-size="{size:.1f}" fill="var(--text)">{escape(letter)}</text>'
    )
