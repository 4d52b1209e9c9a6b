"""What a scorecard's tables hold, whatever they are written as: summary, gap, metric by part."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..structure_folds.structure_config import LABELS
from ..task_report import PairedGain, PublishedScore, Score, TaskReport

SUBJECT, CONTROL = LABELS["pretrained"], LABELS["random"]
"""The gap between these two is shown for every task."""
SYSTEMS = tuple(LABELS.values())
"""Order of the columns; others follow as they come."""
LOWER_IS_BETTER = ("MSE", "MAE")
NOT_FITTED = "none"
SAME_GAIN = 1e-4
"""How far a paired gain may be from the difference of the two scores it stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """The pretrained encoder's number less that of its untrained twin."""

    gain: float
    paired: PairedGain | None
    """The comparison on the same units, where the task made one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """The primary metric of one task on one part, in one regime."""

    task: str
    title: str
    part: str
    metric: str
    regime: str
    scores: Mapping[str, Score]
    """By system."""
    gap: Gap | None
    """None where the task has no score of the one or the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricTable:
    """One metric of one task: systems down, parts across."""

    metric: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, Mapping[str, Score]], ...]
    """Label of a system and its scores by part."""
    published: tuple[tuple[str, Mapping[str, PublishedScore]], ...]
    """The same of others' systems, on these parts only."""


def build_summary(reports: Iterable[TaskReport]) -> list[SummaryRow]:
    """The summary's rows: one for each primary part, metric and regime of the pretrained encoder.

    Systems that are not an encoder stand in the row of every regime. A task without a primary
    score has no row.
    """
    rows = []
    for report in reports:
        primary = [score for score in report.scores if score.is_primary]
        for part, metric in dict.fromkeys((score.part, score.metric) for score in primary):
            scores = [s for s in primary if (s.part, s.metric) == (part, metric)]
            subjects = [score for score in scores if score.system == SUBJECT]
            for regime in dict.fromkeys(score.regime for score in subjects or scores[:1]):
                chosen = _choose(scores, regime)
                rows.append(
                    SummaryRow(
                        task=report.task,
                        title=report.title,
                        part=part,
                        metric=metric,
                        regime=regime,
                        scores=chosen,
                        gap=_find_gap(report, chosen),
                    )
                )
    return rows


def list_systems(rows: Iterable[SummaryRow]) -> list[str]:
    """Every system of the rows, in the order of the columns."""
    return sort_systems(dict.fromkeys(system for row in rows for system in row.scores))


def sort_systems(systems: Iterable[str]) -> list[str]:
    """Known systems in their order, then the others as they come."""
    found = list(systems)
    return [s for s in SYSTEMS if s in found] + [s for s in found if s not in SYSTEMS]


def find_best(scores: Mapping[str, Score]) -> set[str]:
    """Keys of the best scores, all among equals; NaN is never best, one alone is not marked."""
    finite = {key: score.value for key, score in scores.items() if math.isfinite(score.value)}
    if len(finite) < 2:
        return set()
    is_lower = next(iter(scores.values())).metric in LOWER_IS_BETTER
    best = min(finite.values()) if is_lower else max(finite.values())
    return {key for key, value in finite.items() if value == best}


def list_metrics(report: TaskReport) -> list[str]:
    """A report's metrics, the primary ones first."""
    primary = [score.metric for score in report.scores if score.is_primary]
    return list(dict.fromkeys([*primary, *(score.metric for score in report.scores)]))


def build_metric_table(report: TaskReport, metric: str) -> MetricTable:
    """One metric's table; published numbers only where the same part is measured here."""
    scores = [score for score in report.scores if score.metric == metric]
    parts = tuple(dict.fromkeys(score.part for score in scores))
    by_label: dict[str, dict[str, Score]] = {}
    for system in sort_systems(dict.fromkeys(score.system for score in scores)):
        for score in scores:
            if score.system == system:
                by_label.setdefault(label_system(score, report), {})[score.part] = score
    published: dict[str, dict[str, PublishedScore]] = {}
    for one in report.published:
        if one.metric == metric and one.part in parts:
            key = f"{one.system}\n{one.source}"  # one system may stand in two papers
            published.setdefault(key, {})[one.part] = one
    return MetricTable(
        metric=metric,
        parts=parts,
        rows=tuple(by_label.items()),
        published=tuple((key.partition("\n")[0], cells) for key, cells in published.items()),
    )


def count_unmatched(report: TaskReport) -> int:
    """How many published numbers have no counterpart here and are shown nowhere."""
    measured = {(score.part, score.metric) for score in report.scores}
    return sum((one.part, one.metric) not in measured for one in report.published)


def label_system(score: Score, report: TaskReport) -> str:
    """A system's name, with its regime where the report has it in several."""
    regimes = {other.regime for other in report.scores if other.system == score.system}
    return f"{score.system}, {score.regime}" if len(regimes) > 1 else score.system


def format_value(value: float | None) -> str:
    """Three decimals, or whole numbers with thousands apart; a dash for none, n/a for NaN."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return "0.000" if text == "-0.000" else text


def format_interval(low: float | None, high: float | None) -> str:
    """`[low, high]`, empty where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{format_value(low)}, {format_value(high)}]"


def format_gain(gain: float) -> str:
    """A difference with its sign."""
    text = format_value(gain)
    return text if text[0] in "-n∞" or text == "0.000" else f"+{text}"


def format_p(p_value: float) -> str:
    """A p-value to two digits that matter."""
    if math.isnan(p_value):
        return "n/a"
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def escape_cell(text: str) -> str:
    """Keep names from being read as HTML or as the marks of a Markdown table."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(text.split())


def _choose(scores: Sequence[Score], regime: str) -> dict[str, Score]:
    """One score a system: of this regime; of a system that is no encoder, whichever it has."""
    chosen = {}
    for system in sort_systems(dict.fromkeys(score.system for score in scores)):
        own = [score for score in scores if score.system == system]
        fitting = [score for score in own if score.regime == regime]
        if system not in (SUBJECT, CONTROL):
            fitting = fitting or own
        if fitting:
            chosen[system] = fitting[0]
    return chosen


def _find_gap(report: TaskReport, scores: Mapping[str, Score]) -> Gap | None:
    if SUBJECT not in scores or CONTROL not in scores:
        return None
    subject = scores[SUBJECT]
    difference = subject.value - scores[CONTROL].value
    # With several regimes, gains of sequence tasks name each system's.
    names = [(SUBJECT, CONTROL), tuple(f"{one} ({subject.regime})" for one in (SUBJECT, CONTROL))]
    paired = [
        one
        for one in report.gains
        if (one.system, one.baseline) in names
        and (one.part, one.metric) == (subject.part, subject.metric)
    ]
    # Those of others do not say it: it is the one of this very difference.
    nearest = min(paired, key=lambda one: abs(one.gain - difference), default=None)
    if nearest is not None and not abs(nearest.gain - difference) <= SAME_GAIN:
        nearest = None
    return Gap(gain=difference, paired=nearest)
