"""Pictures of one task's part of the scorecard: curves, maps of embeddings, structures."""

from collections.abc import Iterator, Sequence
from html import escape
from types import ModuleType

from ..task_report import Curve, StructureCase
from .page_charts import COLOURS, UNKNOWN, draw_curves
from .page_html import (
    fold_if_many,
    format_figure,
    format_fold,
    format_keys,
    format_note,
    format_panels,
)
from .page_map import draw_map, list_families
from .scorecard_tables import format_value
from .structure_drawing import draw_arcs, draw_planar


def iter_curves(curves: Sequence[Curve]) -> Iterator[str]:
    """Yield curves of probabilities by part, then maps of embeddings."""
    kinds = {
        "reliability": ("Reliability", "predicted probability", "observed share", True),
        "precision-recall": ("Precision against recall", "recall", "precision", False),
    }
    figures = []
    for kind, (title, x_name, y_name, has_diagonal) in kinds.items():
        chosen = [curve for curve in curves if curve.kind == kind]
        for part in dict.fromkeys(curve.part for curve in chosen):
            some = [curve for curve in chosen if curve.part == part]
            figures.append(
                format_figure(
                    draw_curves(some, x_name=x_name, y_name=y_name, has_diagonal=has_diagonal),
                    title=f"{title}: {part}",
                    caption=format_keys((COLOURS.get(c.system, UNKNOWN), c.system) for c in some),
                )
            )
    if figures:
        yield "<h3>Curves</h3>"
        yield fold_if_many(f"{len(figures)} curves", format_panels(figures), len(figures))
    if maps := [curve for curve in curves if curve.kind == "scatter"]:
        yield "<h3>Embedding maps</h3>"
        yield format_panels(_format_map(curve) for curve in maps)
    if unknown := {curve.kind for curve in curves} - {*kinds, "scatter"}:
        yield format_note(f"Not drawn: curves of kind {', '.join(sorted(unknown))}.")


def _format_map(curve: Curve) -> str:
    families = list_families(curve)
    keys = [(colour, f"{name} ({n:,})") for name, colour, n in families if colour != "grey"]
    others = [n for _, colour, n in families if colour == "grey"]
    if others:
        keys.append(("grey", f"{len(others)} others ({sum(others):,})"))
    return format_figure(
        draw_map(curve), title=f"{curve.system}, {curve.part}", caption=format_keys(keys)
    )


def iter_cases(cases: Sequence[StructureCase], viennarna: ModuleType | None) -> Iterator[str]:
    """Yield the cases part by part, the first part's open."""
    parts = list(dict.fromkeys(case.part for case in cases))
    for place, part in enumerate(parts):
        inner = "\n".join(_format_case(c, viennarna) for c in cases if c.part == part)
        yield inner if len(parts) == 1 else format_fold(part, inner, is_open=place == 0)


def _format_case(case: StructureCase, viennarna: ModuleType | None) -> str:
    title = (
        f"{case.label} of {case.system}: {case.id}, {case.part}, {len(case.sequence)} nt, "
        f"{case.metric} {format_value(case.f1)}"
    )
    planar = "" if viennarna is None else f"<figure>{draw_planar(case, viennarna)}</figure>"
    return (
        f'<div class="case"><h4>{escape(title)}</h4>{planar}'
        f"<figure>{draw_arcs(case)}</figure></div>"
    )
