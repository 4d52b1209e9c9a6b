"""A map of embeddings as SVG: points coloured by family, the largest families named."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from statistics import median

from ..task_report import Curve
from .page_charts import WIDTH, open_svg

MAP_COLOURS = ("blue", "orange", "green", "vermilion", "purple", "sky", "ochre")
"""Of the largest families; the others are grey."""
MARGIN = 20
_LABEL_LETTERS = 22


def list_families(curve: Curve) -> list[tuple[str, str, int]]:
    """Families of a map as (name, colour, points), the largest first; past the palette grey."""
    counts = Counter(curve.labels)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    colours = [*MAP_COLOURS, *["grey"] * max(0, len(ordered) - len(MAP_COLOURS))]
    return [(name, colours[place], count) for place, (name, count) in enumerate(ordered)]


def draw_map(curve: Curve) -> str:
    """A map of points coloured by family, the largest families named where they lie."""
    labels = curve.labels or ("",) * len(curve.x)
    points = [
        (x, y, label)
        for x, y, label in zip(curve.x, curve.y, labels, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    height, lines = 2.0 * MARGIN, []
    if points:
        x_low, y_low = min(p[0] for p in points), min(p[1] for p in points)
        wide, high = max(p[0] for p in points) - x_low, max(p[1] for p in points) - y_low
        scale = (WIDTH - 2 * MARGIN) / (max(wide, high) or 1.0)  # one scale: distances are right
        height += high * scale
        at: dict[str, list[tuple[float, float]]] = {}
        for x, y, label in points:
            at.setdefault(label, []).append(
                (MARGIN + (x - x_low) * scale, MARGIN + (y - y_low) * scale)
            )
        families = list_families(curve) or [("", MAP_COLOURS[0], len(points))]
        known = [family for family in families if family[0] in at]
        lines += [_draw_points(at[name], colour, name) for name, colour, _ in reversed(known)]
        lines += _name_families(at, known, height)
    name = f"map of {curve.system}, {curve.part}"
    return "\n".join([open_svg(height, name), *lines, "</svg>"])


def _draw_points(places: Sequence[tuple[float, float]], colour: str, name: str) -> str:
    """All points of a family as one path of round dots: ten bytes a point."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    return (
        f'<path d="{path}" stroke="var(--{colour})" stroke-width="4.5" stroke-linecap="round" '
        f'stroke-opacity="0.75"><title>{escape(name)}</title></path>'
    )


def _name_families(
    at: dict[str, list[tuple[float, float]]], known: Sequence[tuple[str, str, int]], height: float
) -> Iterator[str]:
    """Names at the families' medians, moved where one would stand on another."""
    taken: list[tuple[float, float]] = []
    for name, _, _ in known[: len(MAP_COLOURS)]:
        label = name if len(name) <= _LABEL_LETTERS else name[: _LABEL_LETTERS - 1] + "…"
        half = 3.2 * len(label)
        x = min(max(median(p[0] for p in at[name]), half + 2), WIDTH - half - 2)
        middle = median(p[1] for p in at[name])
        places = [middle + step for step in (0, 12, -12, 24, -24, 36, -36)]
        free = (y for y in places if 8 < y < height - 6 and not _is_taken(x, y, taken))
        y = next(free, None)
        if y is None:  # the legend has it
            continue
        taken.append((x, y))
        yield (
            f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="11" font-weight="600" '
            'text-anchor="middle" fill="var(--text)" stroke="var(--back)" stroke-width="3" '
            f'paint-order="stroke">{escape(label)}</text>'
        )


def _is_taken(x: float, y: float, taken: Sequence[tuple[float, float]]) -> bool:
    return any(abs(x - other_x) < 70 and abs(y - other_y) < 12 for other_x, other_y in taken)
