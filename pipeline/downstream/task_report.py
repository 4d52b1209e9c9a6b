"""What every task hands to the report: scores with intervals, comparisons, cases, one signature."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One number of one system on one part of a task."""

    system: str
    """`pretrained`, `random encoder`, `one-hot`, `k-mer`, `ViennaRNA`, …"""
    regime: str
    """`frozen`, `linear`, `lora`, `full`; `zero-shot: …`, a way of reading; `attention probe`;
    `none` where there is no model."""
    part: str
    """A fold, a test set, a species, a slice, or a mean over them, as the table names it."""
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    """Ends of the bootstrap interval; None where there is nothing to resample."""
    units: int = 0
    """How many `unit`s the value is over."""
    unit: str = "sequences"
    is_primary: bool = False
    """Whether the summary table shows it: one metric and part of each system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedGain:
    """The metric of one system less that of another on the same units."""

    system: str
    baseline: str
    part: str
    metric: str
    gain: float
    low: float | None
    high: float | None
    """Ends of the bootstrap interval; None where there is nothing to resample."""
    p_value: float
    """Two-sided, of a paired sign-flip permutation test."""
    unit: str = "sequences"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedScore:
    """A number that others published: shown only next to the same metric and part."""

    system: str
    part: str
    metric: str
    value: float
    source: str
    """Paper or table, and what differs (fine-tuned or frozen, data)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureCase:
    """One RNA to draw: known against predicted."""

    id: str
    part: str
    system: str
    """Whose prediction it is."""
    label: str
    """`best`, `median`, `worst`."""
    sequence: str
    known: str
    predicted: str
    """Dot-brackets; the predicted one as `dot_bracket.write_structure` has it."""
    metric: str
    """`F1 strict` or `F1 relaxed`: what the label goes by."""
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points to draw: a reliability curve, precision against recall, a map of points."""

    kind: str
    """`reliability`, `precision-recall`, `scatter`."""
    system: str
    part: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[str, ...] = ()
    """Of a scatter: the family of each point."""
    sizes: tuple[float, ...] = ()
    """Of a reliability curve: how many predictions each point stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskReport:
    """Everything that is known of one task after its evaluation; JSON there and back."""

    task: str
    title: str
    signature: str
    """All that decides the numbers: data, split, regime, metric, seeds, versions."""
    scores: tuple[Score, ...]
    gains: tuple[PairedGain, ...] = ()
    published: tuple[PublishedScore, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences a reader needs: what is held out, duplicates found, caveats, the audit's line."""
    cases: tuple[StructureCase, ...] = ()
    curves: tuple[Curve, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    """Seconds, or bytes, of each phase or part."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """sha256 of each file of known answers, or set of files, by its name: what audits are of."""


def write_task_report(report: TaskReport, folder: Path) -> Path:
    """Write `<task>.json` into `folder`; it appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.task}.json"
    scratch = path.with_name(path.name + ".partial")
    text = json.dumps({"version": VERSION, **asdict(report)}, indent=1, default=str)
    scratch.write_text(text + "\n", encoding="utf-8")
    scratch.replace(path)
    return path


def read_task_report(path: Path) -> TaskReport:
    """Read what `write_task_report` wrote; anything else is an error that names the file."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("version") != VERSION:
            raise ValueError(f"not of version {VERSION}")
        parts = {
            "scores": Score,
            "gains": PairedGain,
            "published": PublishedScore,
            "cases": StructureCase,
            "curves": Curve,
        }
        for name, kind in parts.items():
            stored[name] = tuple(kind(**_freeze(one)) for one in stored[name])
        return TaskReport(**(stored | {"notes": tuple(stored["notes"])}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no task report ({error}); evaluate the checkpoint again"
        ) from error


def _freeze(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
