"""Write a scorecard's files: page, Markdown, CSV of every score, JSON of the whole."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from ..baselines import find_viennarna
from ..scores.signature import describe_levels
from ..task_report import Score, TaskReport
from .scorecard_page import format_scorecard, name_checkpoint
from .scorecard_tables import (
    CONTROL,
    NOT_FITTED,
    SUBJECT,
    SummaryRow,
    build_metric_table,
    build_summary,
    escape_cell,
    find_best,
    format_gain,
    format_interval,
    format_p,
    format_value,
    list_metrics,
    list_systems,
)

PAGE, MARKDOWN, SCORES, FACTS = "scorecard.html", "scorecard.md", "scorecard.csv", "scorecard.json"
COLUMNS = (
    *("task", "system", "regime", "part", "metric", "value", "low", "high"),
    *("units", "unit", "is_primary", "signature"),
)


def write_scorecard(reports: Sequence[TaskReport], folder: Path) -> list[Path]:
    """Write every form of the scorecard into `folder`; returns the files.

    Each appears whole or not at all. Two reports of one task are an error.
    """
    names = [report.task for report in reports]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"a scorecard has one report of each task, got two of {', '.join(twice)}")
    has_cases = any(report.cases for report in reports)
    texts = {
        PAGE: format_scorecard(reports, find_viennarna() if has_cases else None),
        MARKDOWN: format_markdown(reports),
        SCORES: _format_csv(reports),
        FACTS: json.dumps(_build_facts(reports), indent=1, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        scratch = folder / f"{name}.partial"
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(folder / name)
    return [folder / name for name in texts]


def format_markdown(reports: Sequence[TaskReport]) -> str:
    """Return the summary and every task's primary tables in Markdown."""
    lines = [f"# Scorecard: {escape_cell(name_checkpoint(reports))}", ""]
    rows = build_summary(reports)
    if rows:
        systems = list_systems(rows)
        head = ["task", "metric", "regime", *systems, f"{SUBJECT} − {CONTROL}"]
        lines += _tabulate(head, [_summarise(row, systems) for row in rows])
        level = describe_levels(report.signature for report in reports)
        lines += ["", f"Bold: best of the row. [low, high]: {level} intervals."]
    for report in reports:
        lines += ["", f"## {escape_cell(report.title)}", ""]
        lines += [f"- {escape_cell(note)}" for note in report.notes]
        for metric in list_metrics(report):
            lines += _format_metric(report, metric)
        if report.gains:
            lines += ["", "### Paired gains", "", *_tabulate_gains(report)]
        lines += ["", f"`{report.signature}`"]
    return "\n".join(lines) + "\n"


def format_summary(reports: Sequence[TaskReport]) -> str:
    """Return the summary as a text table for a terminal."""
    rows = build_summary(reports)
    if not rows:
        return "no task reports a primary score"
    systems = list_systems(rows)
    table = [["task", "metric", "regime", *systems, "gap"]]
    table += [[cell.replace("**", "") for cell in _summarise(row, systems)] for row in rows]
    return align(table)


def align(table: Sequence[Sequence[str]]) -> str:
    """Return rows as text whose columns stand under one another."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def iter_scores(reports: Sequence[TaskReport]) -> Iterator[dict[str, Any]]:
    """Yield every score with its task and signature, as the CSV has them."""
    for report in reports:
        for score in report.scores:
            yield {"task": report.task, **asdict(score), "signature": report.signature}


def _summarise(row: SummaryRow, systems: Sequence[str]) -> list[str]:
    best = find_best(row.scores)
    cells = [_cell(row.scores.get(system), is_best=system in best) for system in systems]
    gap = "not measured"
    if row.gap is not None:
        gap = format_gain(row.gap.gain)
        if paired := row.gap.paired:
            interval = format_interval(paired.low, paired.high)
            gap += f" {interval} p {format_p(paired.p_value)}"
    regime = "" if row.regime == NOT_FITTED else row.regime
    return [row.title, f"{row.metric}, {row.part}", regime, *cells, gap]


def _format_metric(report: TaskReport, metric: str) -> list[str]:
    table = build_metric_table(report, metric)
    rows = [[label, *(_cell(row.get(p)) for p in table.parts)] for label, row in table.rows]
    for system, cells in table.published:
        source = next(iter(cells.values())).source
        values = (format_value(cells[p].value) if p in cells else "–" for p in table.parts)
        rows.append([f"published: {system} ({source})", *values])
    return ["", f"### {escape_cell(metric)}", "", *_tabulate(["system", *table.parts], rows)]


def _tabulate_gains(report: TaskReport) -> list[str]:
    rows = [
        [
            f"{one.system} − {one.baseline}",
            one.part,
            one.metric,
            f"{format_gain(one.gain)} {format_interval(one.low, one.high)}",
            format_p(one.p_value),
        ]
        for one in report.gains
    ]
    return _tabulate(["systems", "part", "metric", "gain", "p"], rows)


def _cell(score: Score | None, *, is_best: bool = False) -> str:
    if score is None:
        return "–"
    value = format_value(score.value)
    value = f"**{value}**" if is_best else value
    return f"{value} {format_interval(score.low, score.high)}".rstrip()


def _tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| {} |".format(" | ".join(map(escape_cell, line))) for line in lines]


def _format_csv(reports: Sequence[TaskReport]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(iter_scores(reports))
    return text.getvalue()


def _build_facts(reports: Sequence[TaskReport]) -> dict[str, Any]:
    """All but what only pictures need; numbers JSON cannot say become null."""
    summary = [
        {
            "task": row.task,
            "part": row.part,
            "metric": row.metric,
            "regime": row.regime,
            "scores": {system: asdict(score) for system, score in row.scores.items()},
            "gap": asdict(row.gap) if row.gap else None,
        }
        for row in build_summary(reports)
    ]
    tasks = [
        {name: value for name, value in asdict(report).items() if name not in ("cases", "curves")}
        for report in reports
    ]
    return _clean({"summary": summary, "tasks": tasks})


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
