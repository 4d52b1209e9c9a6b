"""One task's part of the scorecard: tables, bars, gains, curves, structures, costs, settings."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from types import ModuleType

from ..scores.signature import describe_levels, flatten
from ..task_report import PairedGain, Score, TaskReport
from .page_charts import COLOURS, UNKNOWN, Bar, build_axis, draw_bars
from .page_html import (
    Markup,
    fold_if_many,
    format_figure,
    format_fold,
    format_list,
    format_note,
    format_panels,
    format_table,
)
from .scorecard_tables import (
    LOWER_IS_BETTER,
    MetricTable,
    build_metric_table,
    count_unmatched,
    find_best,
    format_gain,
    format_interval,
    format_p,
    format_value,
    list_metrics,
)
from .structure_drawing import format_legend
from .task_pictures import iter_cases, iter_curves


def format_task(report: TaskReport, viennarna: ModuleType | None, *, name: str) -> str:
    """Return a task's section under the anchor `name`."""
    inner = "\n".join(part for part in _iter_task(report, viennarna) if part)
    return f'<section id="{name}">\n<h2>{escape(report.title)}</h2>\n{inner}\n</section>'


def format_score(score: Score | None, *, is_best: bool = False) -> str:
    """Return a cell: the value over its interval; the best of its row or column underlined."""
    if score is None:
        return "–"
    value = format_value(score.value)
    interval = format_interval(score.low, score.high)
    small = f"<small>{escape(interval)}</small>" if interval else ""
    return Markup((f"<b>{value}</b>" if is_best else value) + small)


def say_direction(metric: str) -> str:
    """Return words for a metric to be made small; none for the others."""
    return " (lower is better)" if metric in LOWER_IS_BETTER else ""


def _iter_task(report: TaskReport, viennarna: ModuleType | None) -> Iterator[str]:
    yield format_list(report.notes)
    metrics = list_metrics(report)
    tables = [build_metric_table(report, metric) for metric in metrics]
    primary = {score.metric for score in report.scores if score.is_primary} or set(metrics[:1])
    if not metrics:
        yield format_note("This task reports no scores.")
    for table in (one for one in tables if one.metric in primary):
        yield f"<h3>{escape(table.metric)}{say_direction(table.metric)}</h3>"
        yield _format_metric(table)
        yield _format_bars(table, report)
    others = [one for one in tables if one.metric not in primary]
    if others:
        inner = "\n".join(
            f"<h4>{escape(one.metric)}{say_direction(one.metric)}</h4>{_format_metric(one)}"
            for one in others
        )
        yield format_fold(f"Other metrics ({len(others)})", inner)
    if unmatched := count_unmatched(report):
        yield format_note(
            f"{unmatched} published numbers have no counterpart of the same part and metric here "
            "and are not shown."
        )
    yield _format_gains(report, primary)
    yield from iter_curves(report.curves)
    if report.cases:
        yield "<h3>Structures</h3>"
        yield f'<p class="soft">{format_legend(is_planar=viennarna is not None)}</p>'
        yield from iter_cases(report.cases, viennarna)
    yield _format_costs(report.costs)
    if report.settings:
        rows = [[path, str(value)] for path, value in flatten(report.settings)]
        yield format_fold("Settings", format_table(["setting", "value"], rows))
    yield f'<p class="soft">Signature<br><code>{escape(report.signature)}</code></p>'


def _format_metric(table: MetricTable) -> str:
    best = {
        part: find_best({label: row[part] for label, row in table.rows if part in row})
        for part in table.parts
    }
    rows = [
        [label, *(format_score(row.get(p), is_best=label in best[p]) for p in table.parts)]
        for label, row in table.rows
    ]
    marks = [""] * len(rows)
    sources: dict[str, int] = {}
    for system, cells in table.published:
        source = next(iter(cells.values())).source
        number = sources.setdefault(source, len(sources) + 1)
        first = Markup(f"{escape(system)}<small>published [{number}]</small>")
        values = (format_value(cells[p].value) if p in cells else "–" for p in table.parts)
        rows.append([first, *values])
        marks.append("published")
    heads = (
        Markup(f"{escape(p)}<small>{escape(_count_units(table, p))}</small>") for p in table.parts
    )
    notes = [f"[{number}] {source}" for source, number in sources.items()]
    if notes:
        notes.insert(0, "On tinted ground: published by others, not measured here.")
    return format_table(["system", *heads], rows, marks) + format_list(notes)


def _count_units(table: MetricTable, part: str) -> str:
    """How many of what a part holds; systems may have been tested on different numbers."""
    scores = [row[part] for _, row in table.rows if part in row and row[part].units]
    counts = []
    for unit in dict.fromkeys(score.unit for score in scores):
        numbers = sorted({score.units for score in scores if score.unit == unit})
        span = f"{numbers[0]:,}" + (f" to {numbers[-1]:,}" if len(numbers) > 1 else "")
        counts.append(f"{span} {unit}")
    return " or ".join(counts)


def _format_bars(table: MetricTable, report: TaskReport) -> str:
    by_part: dict[str, list[Bar]] = {}
    for label, row in table.rows:
        for part, score in row.items():
            by_part.setdefault(part, []).append(
                Bar(
                    label=label,
                    colour=COLOURS.get(score.system, UNKNOWN),
                    value=score.value,
                    low=score.low,
                    high=score.high,
                )
            )
    for system, cells in table.published:
        for part, one in cells.items():
            by_part[part].append(
                Bar(label=system, colour=UNKNOWN, value=one.value, is_published=True)
            )
    axis = build_axis([bar for bars in by_part.values() for bar in bars])
    figures = [
        format_figure(draw_bars(by_part[p], axis, f"{table.metric}, {p}"), title=p)
        for p in table.parts
    ]
    note = f"Whiskers: {describe_levels([report.signature])} intervals."
    note += " Hollow: published by others, not measured here." if table.published else ""
    inner = format_panels(figures) + format_note(note)
    return fold_if_many(f"{len(figures)} charts of {table.metric}", inner, len(figures))


def _format_gains(report: TaskReport, primary: Iterable[str]) -> str:
    if not report.gains:
        return ""
    parts = {score.part for score in report.scores if score.is_primary}
    chosen = [g for g in report.gains if g.metric in primary and g.part in parts]
    rest = [gain for gain in report.gains if gain not in chosen]
    shown = _tabulate_gains(chosen) if chosen else ""
    if rest:
        title = f"{len(rest)} {'more ' if chosen else ''}paired gains, by part and metric"
        shown += format_fold(title, _tabulate_gains(rest))
    note = format_note(
        "The first system less the second on the same units; p: two-sided paired permutation test."
    )
    return f"<h3>Paired gains</h3>{shown}{note}"


def _tabulate_gains(gains: Iterable[PairedGain]) -> str:
    rows = [
        [
            f"{one.system} − {one.baseline}",
            one.part,
            f"{one.metric}{say_direction(one.metric)}",
            Markup(
                f"{format_gain(one.gain)}"
                f"<small>{escape(format_interval(one.low, one.high))}</small>"
            ),
            format_p(one.p_value),
            one.unit,
        ]
        for one in gains
    ]
    return format_table(["systems", "part", "metric", "gain", "p", "over"], rows)


def _format_costs(costs: Mapping[str, float]) -> str:
    if not costs:
        return ""
    rows = [[name.replace("_", " "), format_cost(name, value)] for name, value in costs.items()]
    return format_fold("What it cost", format_table(["phase or part", "cost"], rows))


def format_cost(name: str, value: float) -> str:
    """Return a cost in the unit that its name says: bytes, seconds, or a plain number."""
    if "bytes" in name:
        return f"{value / 2**20:,.1f} MiB" if value < 2**30 else f"{value / 2**30:,.2f} GiB"
    if "seconds" in name:
        return f"{value:,.1f} s" if value < 600 else f"{value / 60:,.1f} min"
    return f"{value:,g}"
