"""What `compare` shows of two checkpoints: a page, and a table for the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from .comparison import ComparedScore, ComparedTask
from .page_html import Markup, format_fold, format_list, format_note, format_page, format_table
from .scorecard_files import align
from .scorecard_tables import (
    CONTROL,
    LOWER_IS_BETTER,
    NOT_FITTED,
    SUBJECT,
    format_gain,
    format_interval,
    format_p,
    format_value,
)

PAGE = "compare.html"
INCOMPARABLE = "not comparable"


def write_comparison(
    tasks: Sequence[ComparedTask], names: tuple[str, str], notes: Sequence[str], folder: Path
) -> Path:
    """Write `compare.html` into `folder`; it appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    scratch = path.with_name(path.name + ".partial")
    scratch.write_text(format_comparison(tasks, names, notes), encoding="utf-8")
    scratch.replace(path)
    return path


def format_comparison(
    tasks: Sequence[ComparedTask], names: tuple[str, str], notes: Sequence[str]
) -> str:
    """Return the page of two checkpoints, A and B."""
    title = f"{names[0]} and {names[1]}"
    summary = [(task, score) for task in tasks for score in _select_primary(task)]
    parts = [
        "<h1>Two checkpoints side by side</h1>",
        format_list([f"A: {names[0]}", f"B: {names[1]}", *notes]),
        format_note(
            "Differences are B less A; p: two-sided paired permutation test over the same "
            "sequences or families, where both scorecards have results by sequence. Grey: "
            "measured differently, so nothing is subtracted."
        ),
        "<h2>Primary scores</h2>",
        _tabulate(summary, has_task=True) if summary else format_note("There are none in both."),
    ]
    for task in tasks:
        parts.append("\n".join(_iter_task(task)))
    return format_page(title, parts)


def format_text(tasks: Iterable[ComparedTask], notes: Sequence[str]) -> str:
    """Return the primary scores of both as text."""
    rows = [["task", "system", "part", "metric", "A", "B", "B - A", "interval", "p"]]
    conflicts = []
    for task in tasks:
        if task.conflicts:
            conflicts.append(f"{task.title}: {INCOMPARABLE}, {'; '.join(task.conflicts)}")
        conflicts += [f"{task.title}, {row}" for row in _list_row_conflicts(task)]
        for one in _select_primary(task):
            rows.append(
                [
                    task.title,
                    _label(one),
                    one.first.part,
                    one.first.metric,
                    format_value(one.first.value),
                    format_value(one.second.value),
                    INCOMPARABLE if _is_grey(task, one) else format_gain(one.difference),
                    format_interval(one.paired.low, one.paired.high) if one.paired else "",
                    format_p(one.paired.p_value) if one.paired else "",
                ]
            )
    return "\n".join([align(rows), *conflicts, *notes])


def _iter_task(task: ComparedTask) -> Iterator[str]:
    yield f"<h2>{escape(task.title)}</h2>"
    if task.conflicts:
        yield format_list([f"{INCOMPARABLE}: {conflict}" for conflict in task.conflicts])
    if rows := _list_row_conflicts(task):
        yield format_list(rows)
    primary = {one.first.metric for one in task.scores if one.first.is_primary}
    encoders = [
        (task, one)
        for one in task.scores
        if one.first.system in (SUBJECT, CONTROL) and one.first.metric in primary
    ]
    encoders.sort(key=lambda row: row[1].first.system != SUBJECT)
    rest = [(task, one) for one in task.scores if (task, one) not in encoders]
    if encoders:
        yield _tabulate(encoders)
    if rest:
        yield format_fold(f"Other systems and metrics ({len(rest)})", _tabulate(rest))
    for name, count in (("A", task.num_only_first), ("B", task.num_only_second)):
        if count:
            yield format_note(f"{count} scores are in {name} alone.")


def _tabulate(rows: Sequence[tuple[ComparedTask, ComparedScore]], *, has_task: bool = False) -> str:
    cells = [
        _format_row(one, title=task.title if has_task else "", is_grey=_is_grey(task, one))
        for task, one in rows
    ]
    head = ["task" if has_task else "system", "A", "B", "B − A", "p"]
    return format_table(head, cells, ["grey" if _is_grey(*row) else "" for row in rows])


def _is_grey(task: ComparedTask, one: ComparedScore) -> bool:
    return bool(task.conflicts or one.conflict)


def _list_row_conflicts(task: ComparedTask) -> list[str]:
    """Rows that differ in the version of their program, each once."""
    rows = {one.first.system: one.conflict for one in task.scores if one.conflict}
    return [f"{system}: {INCOMPARABLE}, {conflict}" for system, conflict in rows.items()]


def _select_primary(task: ComparedTask) -> list[ComparedScore]:
    """Primary scores, without baselines that the checkpoint left as they were."""
    primary = (one for one in task.scores if one.first.is_primary)
    return [one for one in primary if one.first.system in (SUBJECT, CONTROL) or one.difference]


def _label(one: ComparedScore) -> str:
    regime = one.first.regime
    return one.first.system if regime == NOT_FITTED else f"{one.first.system}, {regime}"


def _format_row(one: ComparedScore, *, title: str, is_grey: bool) -> list[str]:
    metric = one.first.metric
    metric += " (lower is better)" if metric in LOWER_IS_BETTER else ""
    difference, p_value = INCOMPARABLE, "–"
    if not is_grey:
        difference = format_gain(one.difference)
    if one.paired is not None:
        interval = escape(format_interval(one.paired.low, one.paired.high))
        difference = Markup(f"{difference}<small>{interval}</small>")
        p_value = Markup(f"{escape(format_p(one.paired.p_value))}<small>{one.paired.unit}</small>")
    about = [_label(one)] if title else []
    about += [f"{metric}, {one.first.part}"]
    small = "".join(f"<small>{escape(words)}</small>" for words in about)
    return [
        Markup(escape(title or _label(one)) + small),
        *(
            Markup(
                f"{format_value(score.value)}"
                f"<small>{escape(format_interval(score.low, score.high))}</small>"
            )
            for score in (one.first, one.second)
        ),
        difference,
        p_value,
    ]
