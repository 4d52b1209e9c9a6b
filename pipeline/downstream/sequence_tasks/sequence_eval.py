"""Evaluate a checkpoint on a task of whole sequences: every system, regime and split, each once."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..devices import choose_device
from ..fitting.regime_config import Regime, describe_regime
from ..representations.embed import Checkpoint
from ..representations.held_folder import hold_folder
from ..structure_folds.fold_results import build_key
from ..task_report import TaskReport
from ..tasks.task import Split, TaskData
from .predictions import write_predictions
from .sequence_config import SequenceConfig, SequenceSystem, choose_fit
from .sequence_fit import EvaluatedTask
from .sequence_report import Evaluation, build_report
from .sequence_runs import VERSION_OF_NUMBERS, SequenceRun, load_run, save_run
from .sequence_sources import ENCODERS, Job, Source
from .splits import draw_limited

logger = logging.getLogger(__name__)


def evaluate_sequence_task(
    task: EvaluatedTask,
    checkpoint: Checkpoint,
    config: SequenceConfig,
    *,
    data: Path | None,
    out: Path,
) -> TaskReport:
    """The report of every system on every split of the task; `data` is the folder of benchmarks.

    Each result is written under `out` as soon as it is known; one that is there is not computed
    again. What every system says of every tested sequence is written to `out/sequences.csv`.
    """
    device = choose_device(config.device)
    read = task.read(data)
    whole = task.split(read, seed=config.seed)
    splits = [_draw(split, task, read, config) for split in whole]
    runs: list[SequenceRun] = []
    pending: list[Job] = []
    for system in config.systems:
        for regime in _list_regimes(system, task, config):
            for split in splits:
                key = _build_run_key(
                    task, read, split, (system, regime), checkpoint, config, device
                )
                known = load_run(out / "runs", system, regime, split.name, key)
                if known is None:
                    pending.append(Job(system, regime, split, key))
                else:
                    runs.append(known)
    if runs:
        total = len(runs) + len(pending)
        logger.info("%s: %d of %d results were there already", task.name, len(runs), total)
    out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(pending), desc=task.name, unit="fit", disable=None) as progress:
        for system in config.systems:
            jobs = [job for job in pending if job.system == system]
            if not jobs:
                continue
            with hold_folder(out / ".rows", build_key({"runs": [job.key for job in jobs]})) as rows:
                for run in _iter_runs(task, read, checkpoint, config, jobs, rows, out, device):
                    runs.append(run)
                    progress.update()
    systems: list[str] = list(config.systems)
    runs.sort(key=lambda run: (systems.index(run.system), run.regime, run.split))
    report = build_report(
        Evaluation(
            task=task,
            data=read,
            whole=whole,
            splits=splits,
            runs=runs,
            checkpoint=checkpoint,
            config=config,
            device=device,
        )
    )
    write_predictions(task.kind, read, splits, runs, out)
    return report


def _iter_runs(
    task: EvaluatedTask,
    data: TaskData,
    checkpoint: Checkpoint,
    config: SequenceConfig,
    jobs: list[Job],
    scratch: Path,
    out: Path,
    device: torch.device,
) -> Iterator[SequenceRun]:
    """Results of one system, each in its file before the next one is begun."""
    source = Source(task, data, checkpoint, config, jobs=jobs, folder=scratch, device=device)
    for job in jobs:
        fitted = source.fit(job, out / "fits")
        run = SequenceRun(
            key=job.key,
            system=job.system,
            regime=job.regime,
            split=job.split.name,
            outputs=fitted.outputs,
            facts=fitted.facts,
        )
        save_run(run, out / "runs")
        yield run


def _list_regimes(
    system: SequenceSystem, task: EvaluatedTask, config: SequenceConfig
) -> tuple[Regime, ...]:
    """Regimes a system has: an encoder all, k-mers one, one-hot the one its task gives it."""
    if system in ENCODERS:
        return config.regimes
    reads_letters = system == "one-hot" and task.encode_one_hot is None
    return ("frozen",) if reads_letters else ("linear",)


def _draw(split: Split, task: EvaluatedTask, data: TaskData, config: SequenceConfig) -> Split:
    """The split within the limits; tests are drawn as they come, so that their mix stays."""

    def draw(indices: tuple[int, ...], limit: int, *, evenly: bool) -> tuple[int, ...]:
        return draw_limited(data.examples, indices, limit, seed=config.seed, by_target=evenly)

    is_classes = task.kind != "regression"
    train = draw(split.train, config.max_train, evenly=is_classes)
    validation = draw(split.validation, config.max_validation, evenly=is_classes)
    tests = {part: draw(test, config.max_test, evenly=False) for part, test in split.tests.items()}
    parts = {"train": train, "validation": validation, **tests}
    if empty := [part for part, indices in parts.items() if not indices]:
        raise ValueError(
            f"{task.name}: split {split.name} has no sequence in {', '.join(empty)}; give more data"
        )
    return replace(split, train=train, validation=validation, tests=tests)


def _build_run_key(
    task: EvaluatedTask,
    data: TaskData,
    split: Split,
    job: tuple[SequenceSystem, Regime],
    checkpoint: Checkpoint,
    config: SequenceConfig,
    device: torch.device,
) -> str:
    """Changes with all that a run's outputs depend on, and with nothing else."""
    system, regime = job
    identity: dict[str, object] = {}
    if system == "pretrained":
        identity = {"weights": checkpoint.sha256}
    elif system == "random encoder":
        identity = {"sizes": asdict(checkpoint.encoder.config), "seed": config.seed}
    elif system == "k-mer":
        identity = {"kmer_nt": config.kmer_nt}
    if regime != "linear":
        identity |= {"fit": describe_regime(choose_fit(config, regime)), "seed": config.seed}
    if regime in ("lora", "full"):
        # What `precision=auto` means depends on where it runs.
        identity["device"] = device.type
    if system in ENCODERS and regime in ("linear", "frozen"):
        identity["held_as"] = config.embed.dtype
    return build_key(
        {
            "version": VERSION_OF_NUMBERS,
            "task": task.name,
            "data": data.sha256,
            "system": system,
            "regime": regime,
            "identity": identity,
            "split": [split.train, split.validation, split.tests],
        }
    )
