"""Two checkpoints' task reports side by side: what may be compared, differences, and their p.

Two numbers are comparable where their signatures are equal but for the checkpoint. Where they are
not, the difference is named and nothing is subtracted.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..scores.signature import parse_programs, parse_signature, select_deciding
from ..task_report import PairedGain, Score, TaskReport, read_task_report
from ..tasks.task import SequenceTask
from .comparison_pairs import Pair, build_pair
from .scorecard_page import describe_checkpoint

CHECKPOINT, HEADS, PROGRAMS, CONFIG = "ckpt", "heads", "programs", "config"
"""Facts of a signature that are not compared letter for letter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedScore:
    """One system's number on one part, of both checkpoints."""

    first: Score
    second: Score
    paired: PairedGain | None
    """Second less first on the same units, where both have results by sequence."""
    conflict: str = ""
    """What this row alone differs in: the version of the program that it is of."""

    @property
    def difference(self) -> float:
        """Second less first."""
        return self.second.value - self.first.value


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedTask:
    """One task of both checkpoints."""

    task: str
    title: str
    conflicts: tuple[str, ...]
    """What the signatures differ in beside the checkpoint; empty where they are comparable."""
    scores: tuple[ComparedScore, ...]
    num_only_first: int
    num_only_second: int
    """Scores that the other has not."""


def read_reports(folder: Path) -> dict[str, TaskReport]:
    """Every task report of a scorecard's folder, by task; other JSON files are left alone."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: give a scorecard's, with its <task>.json")
    reports = {}
    for path in sorted(folder.glob("*.json")):
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is no JSON ({error}); evaluate the checkpoint again"
            ) from error
        if isinstance(stored, dict) and stored.get("task") == path.stem:
            reports[path.stem] = read_task_report(path)
    if not reports:
        raise ValueError(
            f"{folder} holds no task report (<task>.json); evaluate a checkpoint first"
        )
    return reports


def compare_folders(
    first: Path, second: Path, sequence_tasks: Mapping[str, Callable[[], SequenceTask]]
) -> tuple[list[ComparedTask], list[str]]:
    """Compare the tasks that both folders have; also returns sentences on the others.

    `sequence_tasks` makes by name the tasks whose metrics are of predictions, not means of rows.
    """
    reports, others = read_reports(first), read_reports(second)
    tasks = []
    for name, report in reports.items():
        if name in others:
            task = sequence_tasks[name]() if name in sequence_tasks else None
            pair = build_pair((first, second), (report, others[name]), task)
            tasks.append(compare_reports(report, others[name], pair))
    notes = [
        f"{letter} is {describe_checkpoint(next(iter(some.values())).checkpoint)}"
        for letter, some in (("A", reports), ("B", others))
    ]
    notes += [
        f"only in {folder}: {', '.join(sorted(left))}"
        for folder, left in (
            (first, reports.keys() - others.keys()),
            (second, others.keys() - reports.keys()),
        )
        if left
    ]
    return tasks, notes


def compare_reports(first: TaskReport, second: TaskReport, pair: Pair) -> ComparedTask:
    """Put the scores of one task beside one another: same system, regime, part and metric."""
    conflicts = find_conflicts(first, second)
    versions, others = (_read_programs(report) for report in (first, second))
    of_first, of_second = (
        {(s.system, s.regime, s.part, s.metric): s for s in report.scores}
        for report in (first, second)
    )
    scores = []
    for key, score in of_first.items():
        if key not in of_second:
            continue
        programs = [some.get(score.system, "") for some in (versions, others)]
        conflict = " and ".join(programs) if all(programs) and programs[0] != programs[1] else ""
        is_comparable = not conflicts and not conflict
        scores.append(
            ComparedScore(
                first=score,
                second=of_second[key],
                paired=pair(score, of_second[key]) if is_comparable else None,
                conflict=conflict,
            )
        )
    return ComparedTask(
        task=first.task,
        title=first.title,
        conflicts=tuple(conflicts),
        scores=tuple(scores),
        num_only_first=len(of_first) - len(scores),
        num_only_second=len(of_second) - len(scores),
    )


def find_conflicts(first: TaskReport, second: TaskReport) -> list[str]:
    """Say what two reports were measured by that differs, but for the checkpoint.

    Heads belong to a checkpoint, so only whether both were given some counts. Programs differ row
    by row. Where settings differ, each is named.
    """
    facts, others = (parse_signature(report.signature) for report in (first, second))
    found: list[str] = []
    for name in dict.fromkeys([*facts, *others]):
        values = [some.get(name, "absent") for some in (facts, others)]
        if values[0] == values[1] or name in (CHECKPOINT, PROGRAMS):
            continue
        if name == HEADS and "absent" not in values:
            continue
        settings = _diff_settings(first, second) if name == CONFIG else []
        found += settings or [f"{name}: {values[0]} and {values[1]}"]
    return list(dict.fromkeys(found))


def _diff_settings(first: TaskReport, second: TaskReport) -> list[str]:
    """Settings that may decide a number and differ, by path."""
    settings, others = (
        select_deciding(report.settings.get(CONFIG, report.settings)) for report in (first, second)
    )
    found: list[str] = []
    for path in dict.fromkeys([*settings, *others]):
        values = [some.get(path, "absent") for some in (settings, others)]
        if values[0] != values[1]:
            found.append(f"{path}: {values[0]} and {values[1]}")
    return found


def _read_programs(report: TaskReport) -> dict[str, str]:
    return parse_programs(parse_signature(report.signature).get(PROGRAMS, ""))
