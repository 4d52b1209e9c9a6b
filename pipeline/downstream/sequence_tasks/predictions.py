"""What every system says of every tested sequence, as a table: written, and read to be compared.

Shape suffixes: N sequences, O outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..scores.unit_table import TABLE, read_table, write_table
from ..tasks.task import Kind, Split, TaskData
from .sequence_runs import SequenceRun

COLUMNS = ("system", "regime", "part", "id", "group", "target", "predicted")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """One system's, of one test set, in the order of the set."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Of each, what it is resampled with; empty where it is alone."""
    targets_N: NDArray[np.float64]
    outputs_NO: NDArray[np.float32]
    """As the task scores them; of classes 1 for the predicted one and 0 for others."""


def name_held_groups(data: TaskData, split: Split, part: str) -> list[str] | None:
    """Group of each sequence of a test set, where whole groups were held out of the fit.

    Those of one family or gene are right or wrong together; empty where a sequence is alone. None
    where no two share a group, and where the fit knows some of the groups.
    """
    groups = split.groups or [example.group for example in data.examples]
    names = [groups[index] for index in split.tests[part]]
    named = [name for name in names if name]
    fitted = {groups[index] for index in (*split.train, *split.validation)}
    return None if len(set(named)) == len(named) or fitted & set(named) else names


def write_predictions(
    kind: Kind, data: TaskData, splits: Sequence[Split], runs: Sequence[SequenceRun], folder: Path
) -> Path:
    """Write `sequences.csv` into a task's folder: a row a system, regime, test set and sequence.

    `predicted` is a class, a number in the targets' units, or the logit of class 1.
    """
    return write_table(folder / TABLE, _iter_rows(kind, data, splits, runs))


def _iter_rows(
    kind: Kind, data: TaskData, splits: Sequence[Split], runs: Sequence[SequenceRun]
) -> Iterator[dict[str, object]]:
    for split in splits:
        for part, test in split.tests.items():
            groups = name_held_groups(data, split, part) or [""] * len(test)
            for run in runs:
                if run.split != split.name:
                    continue
                for index, group, outputs_O in zip(test, groups, run.outputs[part], strict=True):
                    example = data.examples[index]
                    target, predicted = example.target, float(outputs_O[0])
                    if data.classes:
                        target = data.classes[int(target)]
                    if kind == "multiclass":
                        predicted = data.classes[int(outputs_O.argmax())]
                    values = (run.system, run.regime, part, example.id, group, target, predicted)
                    yield dict(zip(COLUMNS, values, strict=True))


def read_predictions(
    kind: Kind, classes: Sequence[str], folder: Path
) -> Mapping[tuple[str, str, str], Predictions]:
    """Read a task's `sequences.csv` by system, regime and test set; empty without one."""
    path = folder / TABLE
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in read_table(path, COLUMNS):
        rows.setdefault((row["system"], row["regime"], row["part"]), []).append(row)
    places = {name: place for place, name in enumerate(classes)}
    try:
        return {key: _parse(kind, some, places) for key, some in rows.items()}
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is no table of predictions of this task ({error}); evaluate again"
        ) from error


def _parse(kind: Kind, rows: Sequence[Mapping[str, str]], places: Mapping[str, int]) -> Predictions:
    targets = [places[row["target"]] if places else float(row["target"]) for row in rows]
    if kind == "multiclass":
        predicted = [places[row["predicted"]] for row in rows]
        outputs_NO = np.eye(len(places), dtype=np.float32)[predicted]
    else:
        outputs_NO = np.array([[float(row["predicted"])] for row in rows], np.float32)
    return Predictions(
        ids=tuple(row["id"] for row in rows),
        groups=tuple(row["group"] for row in rows),
        targets_N=np.array(targets, np.float64),
        outputs_NO=outputs_NO,
    )
