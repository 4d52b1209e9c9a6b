"""`scorecard.html`: every task's report on one page that loads nothing."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from types import ModuleType

from ..scores.signature import describe_levels
from ..task_report import TaskReport
from .page_html import Markup, format_note, format_page, format_table
from .scorecard_tables import (
    CONTROL,
    NOT_FITTED,
    SUBJECT,
    SummaryRow,
    build_summary,
    find_best,
    format_gain,
    format_interval,
    format_p,
    list_systems,
)
from .task_section import format_score, format_task, say_direction

logger = logging.getLogger(__name__)


def format_scorecard(reports: Sequence[TaskReport], viennarna: ModuleType | None) -> str:
    """Return the page; without ViennaRNA structures are drawn as arcs only."""
    if viennarna is None and any(report.cases for report in reports):
        logger.warning("structures are drawn as arcs only: ViennaRNA is not installed")
    links = "\n".join(
        f'<a href="#task-{place}">{escape(report.title)}</a>'
        for place, report in enumerate(reports)
    )
    parts = [
        f"<h1>Scorecard: {escape(name_checkpoint(reports))}</h1>",
        f"<nav>{links}</nav>" if len(reports) > 1 else "",
        *_iter_summary(reports),
    ]
    for place, report in enumerate(reports):
        parts.append(format_task(report, viennarna, name=f"task-{place}"))
    parts += _iter_checkpoints(reports)
    title = f"Scorecard: {name_checkpoint(reports)}"
    return format_page(title, [part for part in parts if part])


def name_checkpoint(reports: Sequence[TaskReport]) -> str:
    """Run, step and hash of what was scored, as far as its metadata knows them."""
    names = dict.fromkeys(describe_checkpoint(report.checkpoint) for report in reports)
    return " and ".join(names) or "nothing was evaluated"


def describe_checkpoint(checkpoint: Mapping[str, str]) -> str:
    """Return one checkpoint's name for people."""
    words = [
        str(checkpoint.get("run") or checkpoint.get("file") or "unnamed weights"),
        f"step {checkpoint['step']}" if checkpoint.get("step") else "",
        str(checkpoint.get("sha256", ""))[:8],
    ]
    return ", ".join(word for word in words if word)


def _iter_summary(reports: Sequence[TaskReport]) -> Iterator[str]:
    rows = build_summary(reports)
    yield "<h2>Summary</h2>"
    if rows:
        systems = list_systems(rows)
        place = sum(system in (SUBJECT, CONTROL) for system in systems)  # beside what it is of
        gap = Markup(f"gap<small>{SUBJECT} − {CONTROL}</small>")
        yield format_table(
            ["task", *systems[:place], gap, *systems[place:]],
            [_summarise(row, systems, place, reports) for row in rows],
        )
        level = describe_levels(report.signature for report in reports)
        yield format_note(
            f"The primary metric of each task with its {level} interval; "
            "underlined: best of the row. "
            f"The gap is what pretraining added: the same encoder with random weights is "
            f"“{CONTROL}”; its interval and p are of paired resampling."
        )
    without = [report.title for report in reports if not any(s.is_primary for s in report.scores)]
    if without:
        yield format_note(f"No primary score: {', '.join(without)}.")
    if len({describe_checkpoint(report.checkpoint) for report in reports}) > 1:
        yield format_note("These tasks were not scored on one and the same checkpoint.")


def _summarise(
    row: SummaryRow, systems: Sequence[str], place: int, reports: Sequence[TaskReport]
) -> list[str]:
    number = next(i for i, report in enumerate(reports) if report.task == row.task)
    about = f"{row.metric}{say_direction(row.metric)}, {row.part}"
    about += f"; {row.regime}" if row.regime != NOT_FITTED else ""
    first = Markup(
        f'<a href="#task-{number}">{escape(row.title)}</a><small>{escape(about)}</small>'
    )
    best = find_best(row.scores)
    cells = []
    for system in systems:
        score = row.scores.get(system)
        cell = format_score(score, is_best=system in best)
        if score is not None and score.regime not in (row.regime, NOT_FITTED):
            cell = Markup(f"{cell}<small>{escape(score.regime)}</small>")
        cells.append(cell)
    return [first, *cells[:place], _format_gap(row), *cells[place:]]


def _format_gap(row: SummaryRow) -> str:
    if row.gap is None:
        return Markup("–<small>not measured</small>")
    text = format_gain(row.gap.gain)
    paired = row.gap.paired
    if paired is None:
        return Markup(f"{text}<small>not paired</small>")
    return Markup(
        f"{text}<small>{escape(format_interval(paired.low, paired.high))}</small>"
        f"<small>p {escape(format_p(paired.p_value))}</small>"
    )


def _iter_checkpoints(reports: Sequence[TaskReport]) -> Iterator[str]:
    yield "<h2>Run metadata</h2>"
    seen: dict[str, list[TaskReport]] = {}
    for report in reports:
        if report.checkpoint:
            seen.setdefault(str(sorted(report.checkpoint.items())), []).append(report)
    if not seen:
        yield format_note("The reports name no checkpoint.")
    for some in seen.values():
        rows = [
            [name, Markup(f"<code>{escape(str(value))}</code>")]
            for name, value in some[0].checkpoint.items()
        ]
        if len(seen) > 1:
            yield format_note(f"Of {', '.join(report.title for report in some)}:")
        yield format_table(["", "value"], rows)
