"""One picture of a scorecard: F1 of each part with intervals, systems side by side."""

from collections.abc import Iterator
from html import escape

from ..scores.summary import POOLED_PAIRS, SCORINGS, Scoring
from ..structure_folds.structure_config import LABELS
from .scorecard import Scorecard
from .structure_signature import build_signature

COLOURS = {
    "pretrained": "#0072b2",
    "random": "#e69f00",
    "one-hot": "#999999",
    "k-mer": "#555555",
    "viennarna": "#009e73",
    "linearpartition": "#56b4e9",
    "eternafold": "#cc79a7",
    "contrafold": "#d55e00",
    "squarna": "#f0e442",
    "squarna-fast": "#8c7a00",
}
"""Okabe and Ito's palette, which is apart for every kind of colour vision, and shades beside it."""

BAR, GAP, LEFT, TOP, PANEL_HEIGHT, PANEL_STEP = 13, 16, 48, 62, 200, 290
"""Pixels: width of a bar, space between groups, margins, height of a panel, panel to panel."""
TEXT, FAINT = "#222222", "#dddddd"


def draw_parts(card: Scorecard) -> str:
    """A self-contained SVG: a panel for each scoring, a group of bars for each part."""
    scopes = [scope for scope in card.scopes if scope != POOLED_PAIRS]
    group = BAR * len(card.systems) + GAP
    width = max(LEFT + group * len(scopes) + 24, 560)
    height = TOP + PANEL_STEP * len(SCORINGS) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f"<title>{escape(build_signature(card))}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(card.benchmark.name)}: '
        f"{escape(card.benchmark.title)}; mean and bootstrap interval</text>",
        *_draw_legend(card.systems),
    ]
    for number, scoring in enumerate(SCORINGS):
        base = TOP + 30 + PANEL_STEP * number + PANEL_HEIGHT
        lines += _draw_axis(scoring, base, width)
        for place, scope in enumerate(scopes):
            lines += _draw_group(card, scope, scoring, x=LEFT + GAP // 2 + group * place, base=base)
    return "\n".join([*lines, "</svg>\n"])


def _draw_legend(systems: list[str]) -> Iterator[str]:
    x = LEFT
    for system in systems:
        yield f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[system]}"/>'
        yield f'<text x="{x + 17}" y="44">{LABELS[system]}</text>'
        x += 45 + 7 * len(LABELS[system])


def _draw_axis(scoring: Scoring, base: float, width: int) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{base - PANEL_HEIGHT - 10}" font-weight="bold">{scoring} F1</text>'
    for tenths in range(0, 11, 2):
        y = base - PANEL_HEIGHT * tenths / 10
        yield f'<line x1="{LEFT}" x2="{width - 16}" y1="{y}" y2="{y}" stroke="{FAINT}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tenths / 10:.1f}</text>'


def _draw_group(
    card: Scorecard, scope: str, scoring: Scoring, *, x: int, base: float
) -> Iterator[str]:
    for place, system in enumerate(card.systems):
        cell = card.find(system, scope, scoring)
        left, height = x + BAR * place, PANEL_HEIGHT * cell.f1
        yield (
            f'<rect x="{left}" y="{base - height:.1f}" width="{BAR - 2}" height="{height:.1f}" '
            f'fill="{COLOURS[system]}"><title>{LABELS[system]}, {escape(scope)}: {cell.f1:.3f}'
            "</title></rect>"
        )
        if cell.f1_low is not None and cell.f1_high is not None:
            centre = left + (BAR - 2) / 2
            top, bottom = (base - PANEL_HEIGHT * value for value in (cell.f1_high, cell.f1_low))
            yield (
                f'<path d="M{centre - 3} {top:.1f}h6m-3 0V{bottom:.1f}m-3 0h6" '
                f'stroke="{TEXT}" fill="none"/>'
            )
    middle = x + BAR * len(card.systems) / 2
    weight = "bold" if scope not in card.families else "normal"
    yield (
        f'<text x="{middle}" y="{base + 14}" text-anchor="end" font-size="11" '
        f'font-weight="{weight}" transform="rotate(-30 {middle} {base + 14})">'
        f"{escape(scope)}</text>"
    )
