"""Two checkpoints' task reports side by side: what may be compared, differences, and their p.

Two numbers are comparable where their signatures are equal but for the checkpoint. Where they are
not, the difference is named and nothing is subtracted.
"""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..scores.bootstrap import BootstrapConfig
from ..scores.paired import build_family_gain, build_gain
from ..scores.signature import parse_programs, parse_signature, select_deciding
from ..scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES
from ..task_report import PairedGain, Score, TaskReport, read_task_report
from .scorecard_page import describe_checkpoint
from .scorecard_tables import SAME_GAIN

SEQUENCES = "sequences.csv"
CHECKPOINT, HEADS, PROGRAMS, CONFIG = "ckpt", "heads", "programs", "config"
"""Facts of a signature that are not compared letter for letter."""

SequenceScores = Mapping[str, Mapping[tuple[str, str], Mapping[str, str]]]
"""Row of a `sequences.csv` by system, then by family (or part) and id."""


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
    first: Path, second: Path, config: BootstrapConfig
) -> tuple[list[ComparedTask], list[str]]:
    """Compare the tasks that both folders have; also returns sentences on the others."""
    reports, others = read_reports(first), read_reports(second)
    tasks = [
        compare_reports(
            report,
            others[name],
            sequences=(
                read_sequence_scores(first, report),
                read_sequence_scores(second, others[name]),
            ),
            config=config,
        )
        for name, report in reports.items()
        if name in others
    ]
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


def compare_reports(
    first: TaskReport,
    second: TaskReport,
    *,
    sequences: tuple[SequenceScores, SequenceScores] = ({}, {}),
    config: BootstrapConfig,
) -> ComparedTask:
    """Put the scores of one task beside one another: same system, regime, part and metric."""
    conflicts = find_conflicts(first, second)
    versions, others = (_read_programs(report) for report in (first, second))
    of_first, of_second = (
        {(s.system, s.regime, s.part, s.metric): s for s in report.scores}
        for report in (first, second)
    )
    regimes = {(system, regime) for system, regime, *_ in of_first}
    scores = []
    for key, score in of_first.items():
        if key not in of_second:
            continue
        # A sequence's row does not say its regime: it is clear only where there is one.
        is_clear = sum(system == score.system for system, _ in regimes) == 1
        programs = [some.get(score.system, "") for some in (versions, others)]
        conflict = " and ".join(programs) if all(programs) and programs[0] != programs[1] else ""
        is_comparable = not conflicts and not conflict
        paired = _pair(score, sequences, config) if is_clear and is_comparable else None
        if paired and not abs(paired.gain - (of_second[key].value - score.value)) < SAME_GAIN:
            paired = None  # the rows are not what this score is the mean of
        scores.append(
            ComparedScore(first=score, second=of_second[key], paired=paired, conflict=conflict)
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


def read_sequence_scores(folder: Path, report: TaskReport) -> SequenceScores:
    """Results by sequence of a structure task, empty where the folder has none of this task.

    They are `<task>/sequences.csv` or, if its rows are signed as the report is, `sequences.csv`.
    """
    found: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
    for path in (folder / report.task / SEQUENCES, folder / SEQUENCES):
        if not path.exists():
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            columns = rows.fieldnames or ()
            of_part = "family" if "family" in columns else "part"
            if missing := {"system", of_part, "id"} - set(columns):
                raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
            if "signature" not in columns and path.parent == folder:
                continue
            for row in rows:
                if row.get("signature") in (None, report.signature):
                    found.setdefault(row["system"], {})[row[of_part], row["id"]] = row
        if found:
            break
    return found


def _pair(
    score: Score, sequences: tuple[SequenceScores, SequenceScores], config: BootstrapConfig
) -> PairedGain | None:
    """The paired comparison of one score, if both have each of its sequences."""
    column = name_column(score.metric)
    rows, others = (some.get(score.system, {}) for some in sequences)
    if not rows or rows.keys() != others.keys() or column not in next(iter(rows.values())):
        return None
    firsts: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for key, row in rows.items():
        if score.part in (key[0], MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES):
            firsts.setdefault(key[0], []).append(float(row[column]))
            seconds.setdefault(key[0], []).append(float(others[key][column]))
    mine, theirs = (list(chain(*values.values())) for values in (seconds, firsts))
    if not mine or not all(map(math.isfinite, (*mine, *theirs))):
        return None  # the part is no mean of rows
    names = ("second", "first")
    if score.part == MEAN_OF_FAMILIES:
        return build_family_gain(
            seconds, firsts, config, names=names, part=score.part, metric=score.metric
        )
    return build_gain(mine, theirs, config, names=names, part=score.part, metric=score.metric)


def name_column(metric: str) -> str:
    """Column of a `sequences.csv` for a metric: `F1 strict` is in `strict_f1`."""
    name, _, scoring = metric.partition(" ")
    return f"{scoring}_{name}".lower()
