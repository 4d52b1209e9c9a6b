"""Two checkpoints' results by sequence: the paired gain of a score, where both tables give it."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..scores.bootstrap import BootstrapConfig
from ..scores.paired import build_family_gain, build_gain, build_metric_gain
from ..scores.signature import parse_bootstrap
from ..scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES
from ..scores.unit_table import TABLE, read_table
from ..sequence_tasks.predictions import Predictions, read_predictions
from ..sequence_tasks.sequence_report import ScoredPart
from ..task_report import PairedGain, Score, TaskReport
from ..tasks.task import SequenceTask
from .scorecard_tables import SAME_GAIN

Pair = Callable[[Score, Score], PairedGain | None]
"""The second score less the first on the same units; None where the tables do not give both."""
Tables = tuple[Mapping[tuple[str, str], Mapping[tuple[str, str], Mapping[str, str]]], ...]
"""Of either checkpoint: by system and regime (empty: not said), then by part and id, the row."""
NAMES = ("second", "first")


def build_pair(
    folders: tuple[Path, Path], reports: tuple[TaskReport, TaskReport], task: SequenceTask | None
) -> Pair:
    """How scores of a task are paired; `task` is given where its metrics are of predictions."""
    config = parse_bootstrap(reports[0].signature)
    if task is not None:
        first, second = (
            read_predictions(task.kind, report.settings.get("classes", ()), folder / report.task)
            for folder, report in zip(folders, reports, strict=True)
        )
        return lambda one, other: _pair_predictions(one, other, (first, second), task, config)
    tables = tuple(map(_read_values, folders, reports))
    return lambda one, other: _pair_values(one, other, tables, config)


def _read_values(
    folder: Path, report: TaskReport
) -> dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]]:
    """Rows of a task's table, without those of another report that lay there."""
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]] = {}
    for row in read_table(folder / report.task / TABLE, ("system", "part", "id")):
        if row.get("signature") in (None, report.signature):
            by_id = found.setdefault((row["system"], row.get("regime", "")), {})
            by_id[row["part"], row["id"]] = row
    return found


def _pair_values(
    first: Score, second: Score, tables: Tables, config: BootstrapConfig
) -> PairedGain | None:
    """Of a metric that is a mean over sequences, each with its value in the table."""
    keys = (first.system, first.regime), (first.system, "")
    rows, others = (next((some[key] for key in keys if key in some), {}) for some in tables)
    column = _name_column(first.metric, next(iter(rows.values()), {}))
    if column is None or rows.keys() != others.keys():
        return None
    firsts: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for key, row in rows.items():
        if first.part in (key[0], MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES):
            firsts.setdefault(key[0], []).append(float(row[column]))
            seconds.setdefault(key[0], []).append(float(others[key][column]))
    mine, theirs = (list(chain(*values.values())) for values in (seconds, firsts))
    if not mine or not all(map(math.isfinite, (*mine, *theirs))):
        return None  # the part is no mean of rows
    if mine == theirs:
        return None  # a system that the checkpoint left as it was
    about = {"names": NAMES, "part": first.part, "metric": first.metric}
    if first.part == MEAN_OF_FAMILIES:
        gain = build_family_gain(seconds, firsts, config, **about)
    else:
        gain = build_gain(mine, theirs, config, **about)
    # Else the rows are not what the score is the mean of.
    return gain if abs(gain.gain - (second.value - first.value)) < SAME_GAIN else None


def _name_column(metric: str, row: Mapping[str, str]) -> str | None:
    """Column of a metric: its name, or of structures `strict_f1` for `F1 strict`."""
    name, _, scoring = metric.partition(" ")
    return next((one for one in (metric, f"{scoring}_{name}".lower()) if one in row), None)


def _pair_predictions(
    first: Score,
    second: Score,
    tables: Sequence[Mapping[tuple[str, str, str], Predictions]],
    task: SequenceTask,
    config: BootstrapConfig,
) -> PairedGain | None:
    """Of the primary metric, computed anew on resampled and on exchanged predictions."""
    key = (first.system, first.regime, first.part)
    theirs, mine = (some.get(key) for some in tables)
    if not first.is_primary or theirs is None or mine is None:
        return None
    is_same = mine.ids == theirs.ids and np.array_equal(mine.targets_N, theirs.targets_N)
    if not is_same or np.array_equal(mine.outputs_NO, theirs.outputs_NO):
        return None  # other sequences, or a system that the checkpoint left as it was

    def compute(outputs_NO: NDArray, targets_N: NDArray) -> float:
        return task.score(outputs_NO, targets_N)[first.metric]

    for score, some in ((first, theirs), (second, mine)):
        if not abs(compute(some.outputs_NO, some.targets_N) - score.value) < SAME_GAIN:
            return None  # the rows are not what this score is of
    scored = ScoredPart.build(mine.targets_N, mine.groups if any(mine.groups) else None)
    return build_metric_gain(
        compute,
        (mine.outputs_NO, theirs.outputs_NO),
        scored.targets_N,
        config,
        names=NAMES,
        part=first.part,
        metric=first.metric,
        groups_N=scored.groups_N,
        unit=scored.unit,
    )
