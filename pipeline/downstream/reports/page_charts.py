"""Charts of a page as SVG, each the width of a phone: bars with intervals, and curves.

Colours are the page's CSS variables, so that one picture is right in light, dark and on paper.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..structure_folds.structure_config import LABELS, SystemName
from ..task_report import Curve

WIDTH = 360
UNKNOWN = "grey"
"""Of what is no row of ours: published numbers, and systems of one task alone."""
_COLOURS: Mapping[SystemName, str] = {
    "pretrained": "blue",
    "random": "orange",
    "one-hot": "brown",
    "k-mer": "sky",
    "viennarna": "green",
    "linearpartition": "vermilion",
    "eternafold": "indigo",
    "contrafold": "purple",
    "squarna": "rose",
    "squarna-fast": "ochre",
}
COLOURS = {LABELS[system]: colour for system, colour in _COLOURS.items()}
"""By what tables call a system."""

_LEFT, _RIGHT, _BAR, _STEP = 146, 54, 12, 19
_LABEL_LETTERS = 20
_PLOT_LEFT, _PLOT, _TOP, _PLOT_HEIGHT = 36, 312, 8, 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: a system's value and interval; published ones are hollow."""

    label: str
    colour: str
    value: float
    low: float | None = None
    high: float | None = None
    is_published: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """Ends of the bars' axis, the same in all panels of a metric."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """x of a value, at the axis' end where it lies past it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def build_axis(bars: Sequence[Bar]) -> Axis:
    """Zero to one where all lies there; otherwise what holds the bars, at most as far down as up.

    A hopeless R2 of -40 would leave no room for the others: its bar ends at the edge.
    """
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    finite = [end for end in ends if math.isfinite(end)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if low >= 0 and high <= 1:
        return Axis(low=0.0, high=1.0)
    high = _round_up(high) if high > 0 else 0.0
    low = -_round_up(-low) if low < 0 else 0.0
    if high > 0:
        low = max(low, -high)
    return Axis(low=low, high=high)


def draw_bars(bars: Sequence[Bar], axis: Axis, name: str) -> str:
    """Horizontal bars from zero, labelled, with whiskers and values."""
    height = _STEP * len(bars) + 22
    zero = axis.place(0.0)
    lines = [open_svg(height, name)]
    for value in (axis.low, 0.0, (axis.low + axis.high) / 2, axis.high):
        x = axis.place(value)
        lines.append(_line(x, 2, x, height - 18, "grid"))
        if value in (axis.low, axis.high) or (value == 0 and -axis.low > 0.15 * axis.high):
            lines.append(_text(x, height - 5, f"{value:g}", "middle", colour="soft"))
    for place, bar in enumerate(bars):
        lines += _draw_bar(bar, axis, zero=zero, y=4 + _STEP * place)
    return "\n".join([*lines, _line(zero, 2, zero, height - 18, "soft"), "</svg>"])


def shorten_label(label: str) -> str:
    """A label that fits; of a system in several regimes the regime stays: it tells bars apart."""
    system, comma, regime = label.replace("zero-shot: ", "").partition(", ")
    too_many = len(system) + len(comma) + len(regime) - _LABEL_LETTERS
    if too_many > 0:
        system = system[: max(len(system) - too_many - 1, 1)] + "…"
    return system + comma + regime


def draw_curves(curves: Sequence[Curve], *, x_name: str, y_name: str, has_diagonal: bool) -> str:
    """Curves of several systems over zero to one; points as large as what they stand for."""
    lines = [open_svg(_TOP + _PLOT_HEIGHT + 36, f"{y_name} against {x_name}")]
    for fifths in range(6):
        x, y = _place(fifths / 5, fifths / 5)
        lines += [
            _line(_PLOT_LEFT, y, _PLOT_LEFT + _PLOT, y, "grid"),
            _line(x, _TOP, x, _TOP + _PLOT_HEIGHT, "grid"),
            _text(_PLOT_LEFT - 6, y + 4, f"{fifths / 5:.1f}", "end", colour="soft"),
            _text(x, _TOP + _PLOT_HEIGHT + 15, f"{fifths / 5:.1f}", "middle", colour="soft"),
        ]
    if has_diagonal:
        lines.append(_line(*_place(0, 0), *_place(1, 1), "soft", more=' stroke-dasharray="4 4"'))
    for curve in curves:
        lines += _draw_curve(curve)
    middle = _PLOT_LEFT + _PLOT / 2
    lines.append(_text(middle, _TOP + _PLOT_HEIGHT + 31, x_name, "middle", colour="text"))
    lines.append(_text(_PLOT_LEFT + 6, _TOP + 12, y_name, "start", colour="text"))
    return "\n".join([*lines, "</svg>"])


def _draw_bar(bar: Bar, axis: Axis, *, zero: float, y: float) -> Iterator[str]:
    label = shorten_label(bar.label)
    colour = "soft" if bar.is_published else "text"
    yield _text(_LEFT - 7, y + 10, label, "end", colour=colour, title=bar.label)
    if not math.isfinite(bar.value):
        yield _text(zero + 5, y + 10, "n/a", "start", colour="soft")
        return
    end = axis.place(bar.value)
    left, width = min(zero, end), abs(end - zero)
    fill = (
        'fill="none" stroke="var(--soft)" stroke-dasharray="3 2"'
        if bar.is_published
        else f'fill="var(--{bar.colour})"'
    )
    hint = escape(f"{bar.label}: {bar.value:.4f}")
    yield (
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" {fill}>'
        f"<title>{hint}</title></rect>"
    )
    if not axis.low <= bar.value <= axis.high:  # the bar goes on past the edge
        x, mark = (end + 2, "«") if bar.value < 0 else (end - 2, "»")
        anchor = "start" if bar.value < 0 else "end"
        yield _text(x, y + 10, mark, anchor, colour="back")
    if bar.low is not None and bar.high is not None and math.isfinite(bar.low + bar.high):
        low, high = axis.place(bar.low), axis.place(bar.high)
        yield (
            f'<path d="M{low:.1f} {y + 3}v6m0 -3H{high:.1f}m0 -3v6" fill="none" '
            'stroke="var(--text)"/>'
        )
    is_small = abs(bar.value) < 100
    value = f"{bar.value:.3f}" if is_small else f"{bar.value:.4g}"
    yield _text(WIDTH - 2, y + 10, value, "end", colour=colour)


def _draw_curve(curve: Curve) -> Iterator[str]:
    colour = COLOURS.get(curve.system, UNKNOWN)
    sizes = curve.sizes or (0.0,) * len(curve.x)
    points = [
        (*_place(x, y), size)
        for x, y, size in zip(curve.x, curve.y, sizes, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    if not points:
        return
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    yield (
        f'<polyline points="{path}" fill="none" stroke="var(--{colour})" stroke-width="1.8">'
        f"<title>{escape(curve.system)}</title></polyline>"
    )
    largest = max(size for *_, size in points)
    if len(points) == 1 or largest > 0:
        for x, y, size in points:
            radius = 2 + 5 * math.sqrt(size / largest) if largest > 0 else 3
            title = f"<title>{escape(curve.system)}: {size:,.0f} predictions</title>"
            yield (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="var(--{colour})" '
                f'fill-opacity="0.55">{title if size else ""}</circle>'
            )


def _place(x: float, y: float) -> tuple[float, float]:
    x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
    return _PLOT_LEFT + _PLOT * x, _TOP + _PLOT_HEIGHT * (1 - y)


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if value <= step * power)


def open_svg(height: float, name: str) -> str:
    """Return the opening tag of a picture of this page's width."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(name)}" '
        'font-size="11">'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="var(--{colour})"{more}/>'
    )


def _text(x: float, y: float, words: str, anchor: str, *, colour: str, title: str = "") -> str:
    hint = f"<title>{escape(title)}</title>" if title and title != words else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--{colour})">'
        f"{escape(words)}{hint}</text>"
    )
