"""Follow a run: evaluate every checkpoint once as it appears, and let TensorBoard show it.

What a run is on disk belongs to pretraining, so the run is told as three functions.
"""

import fcntl
import json
import logging
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch.utils.tensorboard import SummaryWriter

from .reports.scorecard_files import write_scorecard
from .reports.scorecard_tables import build_summary
from .task_report import TaskReport, read_task_report, write_task_report

WATCH = "watch"
EVENTS = Path("tensorboard", WATCH)
"""Below the run's own events, not among them: TensorBoard reads one growing file a folder, and
would show nothing more of the training once a second one was there."""
DONE, LOCK, WEIGHTS = "watched.json", "lock", "model.safetensors"

logger = logging.getLogger(__name__)


class Evaluate(Protocol):
    """What evaluates a checkpoint on tasks by name; keeps what it may reuse below `out`."""

    def __call__(
        self, checkpoint: Path, names: Sequence[str], preset: str, data: Path | None, out: Path
    ) -> Sequence[TaskReport]:
        """Return one report a name or more."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRun:
    """A run's folder and how to read it."""

    folder: Path
    list_checkpoints: Callable[[], Mapping[int, str]]
    """Digest of every checkpoint by its step."""
    export: Callable[[int, Path], object]
    """Writes a step's weights to a file; `OSError` or `ValueError` if it cannot be read."""
    is_finished: Callable[[], bool]
    """Whether the run has made all its steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchConfig:
    """What a watched run is evaluated on, and how often to look."""

    tasks: tuple[str, ...]
    preset: str = "quick"
    data: Path | None = None
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("watch.tasks is empty: name one task or more")
        if not self.every_seconds > 0:
            raise ValueError(f"watch.every_seconds must be positive, got {self.every_seconds}")


class WatchOutcome(NamedTuple):
    """What became of the checkpoints that a watch saw."""

    done: list[int]
    """Steps that were evaluated."""
    failed: list[int]
    """Steps whose evaluation failed; the next watch tries them again."""


def watch_run(
    run: WatchedRun,
    evaluate: Evaluate,
    config: WatchConfig,
    *,
    once: bool = False,
    wait: Callable[[float], object] = time.sleep,
) -> WatchOutcome:
    """Evaluate checkpoints, the oldest first, until the run is finished.

    `once` ends with those that are there. A step whose weights were replaced, after a roll-back,
    is evaluated again. One that cannot be evaluated is logged and left for the next watch.
    """
    if not run.folder.is_dir():
        raise FileNotFoundError(f"no run at {run.folder}: give a run's folder (its out=)")
    done: list[int] = []
    failed: list[int] = []
    passed_over: set[tuple[int, str]] = set()
    with _claim(run.folder / WATCH):
        while True:
            is_finished = run.is_finished()  # asked first: what it saved last is listed below
            waiting = [
                (step, digest)
                for step, digest in sorted(run.list_checkpoints().items())
                if (step, digest) not in passed_over and _find_missing(run, step, digest, config)
            ]
            if waiting:
                step, digest = waiting[0]
                try:
                    is_done = evaluate_step(run, step, digest, evaluate, config)
                except (ValueError, RuntimeError):
                    logger.exception("passing over step %d: its evaluation failed", step)
                    failed.append(step)
                    is_done = False
                if is_done:
                    done.append(step)
                else:
                    passed_over.add((step, digest))
            elif once or is_finished:
                return WatchOutcome(done, failed)
            else:
                wait(config.every_seconds)


def evaluate_step(
    run: WatchedRun, step: int, digest: str, evaluate: Evaluate, config: WatchConfig
) -> bool:
    """Evaluate one checkpoint on the tasks it lacks; False where it could not be read.

    Raises `RuntimeError` where a task failed; the others are done then.
    """
    folder = _name_folder(run, step)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS
    try:
        if not _export(run, step, digest, weights):
            return False
        _evaluate(run, step, digest, evaluate, config)
    finally:
        weights.unlink(missing_ok=True)
        _remove_empty(folder)
    return True


def _export(run: WatchedRun, step: int, digest: str, weights: Path) -> bool:
    """Write a step's weights; False, and a line in the log, where they are gone or damaged."""
    try:
        run.export(step, weights)
    except (OSError, ValueError) as error:
        is_there = run.list_checkpoints().get(step) == digest
        if is_there and isinstance(error, OSError):
            raise  # a full disk, not a checkpoint that is gone
        fate = f"cannot be read ({error})" if is_there else "was deleted meanwhile"
        logger.warning("passing over the checkpoint of step %d: it %s", step, fate)
        return False
    return True


def _evaluate(
    run: WatchedRun, step: int, digest: str, evaluate: Evaluate, config: WatchConfig
) -> None:
    """Each task by itself: what is evaluated stays, whatever becomes of the others."""
    folder = _name_folder(run, step)
    work = run.folder / WATCH / "work"
    failed = []
    for name in _find_missing(run, step, digest, config):
        logger.info("evaluating step %d on %s", step, name)
        try:
            new = evaluate(folder / WEIGHTS, [name], config.preset, config.data, work)
        except (ValueError, RuntimeError, FileNotFoundError):
            logger.exception("step %d: %s failed", step, name)
            failed.append(name)
        else:
            _keep(run, step, digest, name, new, config)
            _remove_own(work)
    if failed:
        raise RuntimeError(f"step {step}: {', '.join(failed)} failed, the log says why")


def _keep(
    run: WatchedRun,
    step: int,
    digest: str,
    name: str,
    new: Sequence[TaskReport],
    config: WatchConfig,
) -> None:
    """Reports, then events, then the mark that a task is done: a kill between repeats little."""
    folder = _name_folder(run, step)
    known = _read_mark(folder)
    is_replaced = known is not None and not _is_same(known, digest, config)
    if is_replaced:
        for path in folder.glob("*.json"):
            path.unlink()
        known = None
    for report in new:
        write_task_report(report, folder)
    tasks = [*(known["tasks"] if known else []), name]
    files = [*(known["files"] if known else []), *(f"{report.task}.json" for report in new)]
    write_scorecard([read_task_report(folder / name) for name in dict.fromkeys(files)], folder)
    _write_events(run.folder / EVENTS, step, new, is_replaced=is_replaced)
    _write_mark(folder, {**_describe(digest, config), "tasks": tasks, "files": files})


def _remove_own(work: Path) -> None:
    """Remove what only this checkpoint's evaluation can read again: that of its own rows.

    Of the random encoder, the letters and the programs all checkpoints share the results.
    """
    for path in [*work.rglob("pretrained.*"), *work.glob("*/fits")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def name_scalars(reports: Sequence[TaskReport]) -> dict[str, float]:
    """Primary scores and gaps by TensorBoard's tag `downstream/<task>/<metric>/<system>`.

    Part and regime follow where one metric of a task has several. NaN is left out.
    """
    rows = build_summary(reports)
    scalars: dict[str, float] = {}
    for row in rows:
        alike = [r for r in rows if (r.task, r.metric) == (row.task, row.metric)]
        ending = [row.part] if len({r.part for r in alike}) > 1 else []
        ending += [row.regime] if len({r.regime for r in alike}) > 1 else []
        values = {system: score.value for system, score in row.scores.items()}
        if row.gap is not None:
            values["gap"] = row.gap.gain
        for name, value in values.items():
            if math.isfinite(value):
                words = ("downstream", row.task, row.metric, name, *ending)
                scalars["/".join(re.sub(r"[^-\w.]+", "_", word) for word in words)] = value
    return scalars


def _write_events(
    folder: Path, step: int, reports: Sequence[TaskReport], *, is_replaced: bool
) -> None:
    writer = SummaryWriter(str(folder), purge_step=step if is_replaced else None)
    for tag, value in name_scalars(reports).items():
        writer.add_scalar(tag, value, step)
    writer.close()


def _find_missing(run: WatchedRun, step: int, digest: str, config: WatchConfig) -> list[str]:
    """Tasks that this very checkpoint has not been evaluated on."""
    known = _read_mark(_name_folder(run, step))
    if known is None or not _is_same(known, digest, config):
        return list(config.tasks)
    return [task for task in config.tasks if task not in known["tasks"]]


def _name_folder(run: WatchedRun, step: int) -> Path:
    return run.folder / WATCH / f"step-{step:08d}"


def _describe(digest: str, config: WatchConfig) -> dict[str, str]:
    return {"checkpoint": digest, "preset": config.preset, "data": str(config.data or "sample")}


def _is_same(known: Mapping[str, object], digest: str, config: WatchConfig) -> bool:
    return all(known[name] == value for name, value in _describe(digest, config).items())


def _read_mark(folder: Path) -> dict | None:
    path = folder / DONE
    if not path.exists():
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {name: known[name] for name in ("checkpoint", "preset", "data", "tasks", "files")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete {folder} to evaluate again"
        ) from error


def _write_mark(folder: Path, known: Mapping[str, object]) -> None:
    scratch = folder / f"{DONE}.partial"
    scratch.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    scratch.replace(folder / DONE)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _claim(folder: Path) -> Iterator[None]:
    """Hold the watch's lock; the kernel frees it however this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process watches {folder.parent}: stop it first") from None
        yield
