"""Every task under its name: read its data, evaluate a checkpoint on it, report."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...model.weights import LoadedModel, load_masked_lm
from ..overrides import apply_overrides
from .pretraining_data import describe_pretraining_data, refuse_seen_families
from .reports.corpus_audit import find_audit
from .reports.report import write_report
from .reports.scorecard import build_scorecard
from .representations.embed import Checkpoint
from .sequence_tasks.sequence_config import build_sequence_config, refuse_idle
from .sequence_tasks.sequence_eval import evaluate_sequence_task
from .sequence_tasks.sequence_fit import EvaluatedTask
from .structure_folds.evaluate import evaluate_benchmark
from .structure_folds.folds import Benchmark
from .structure_folds.structure_config import StructureConfig, apply_structure_settings
from .structure_folds.structure_report import build_structure_report
from .structures.records import describe_structures_lack
from .task_report import TaskReport, read_task_report, write_task_report
from .tasks.classification import ClassificationTask
from .tasks.embeddings import evaluate_embeddings
from .tasks.families import build_families_config, read_benchmark
from .tasks.intra_family import (
    build_intra_family_config,
    describe_intra_family_lack,
    read_intra_family,
)
from .tasks.mutation_effects import evaluate_mutation_effects
from .tasks.out_of_family import (
    build_out_of_family_config,
    describe_out_of_family_lack,
    read_out_of_family,
)
from .tasks.ribosome_load import RibosomeLoadTask
from .tasks.splice import SpliceTask
from .tasks.zero_shot_structure import evaluate_zero_shot_structure
from .zero_shot.family_members import describe_members_lack
from .zero_shot.zero_shot_settings import (
    EFFECT_PRESETS,
    EMBEDDING_PRESETS,
    STRUCTURE_PRESETS,
    choose_preset,
)

logger = logging.getLogger(__name__)

FAMILIES = "families"
SEQUENCE_TASKS: Mapping[str, Callable[[], EvaluatedTask]] = {
    "splice-donor": partial(SpliceTask, "donor"),
    "splice-acceptor": partial(SpliceTask, "acceptor"),
    "ribosome-load": RibosomeLoadTask,
    "ribosome-load-published": partial(RibosomeLoadTask, "published"),
    "classification-sample": partial(ClassificationTask, "sample"),
    "classification-nrc13": partial(ClassificationTask, "nrc13"),
    "classification-riboswitch32": partial(ClassificationTask, "riboswitch32"),
    "classification-rfam-family": partial(ClassificationTask, "rfam-family"),
    "classification-rfam-type": partial(ClassificationTask, "rfam-type"),
}
"""Tasks on whole sequences, and what makes each."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """What a checkpoint is to be asked, whatever the task."""

    loaded: LoadedModel
    preset: str
    data: Path | None
    out: Path
    """Each task works in a folder of its own name inside it."""
    settings: Sequence[str] = ()
    """`path=value` settings of the task."""
    folds: Sequence[str] = ()
    """Of `families`: only these are held out."""
    tests: Mapping[str, Path] = field(default_factory=dict)
    """Of `out-of-family`: sets of the user's own, by name."""
    assays: Path | None = None
    """Of `mutation-effects`: a table of measured variants."""
    heads: Path | None = None
    """Of structure tasks: a file or folder of fitted heads, to use instead of new fits."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The encoder alone."""
        return Checkpoint(self.loaded.model.encoder, self.loaded.metadata)


def evaluate_tasks(
    checkpoint: Path, names: Sequence[str], preset: str, data: Path | None, out: Path
) -> list[TaskReport]:
    """Evaluate a weights file or a run's folder on tasks by name, in their order.

    Results that are in `out` already are not computed again.
    """
    check_names(names)
    request = Request(loaded=load_masked_lm(checkpoint), preset=preset, data=data, out=out)
    return [evaluate_task(name, request) for name in names]


def evaluate_task(name: str, request: Request) -> TaskReport:
    """Evaluate one task; its report is written to `out` as `<name>.json`."""
    check_names([name])
    logger.info("task %s, preset %s", name, request.preset)
    report = TASKS[name](name, request)
    audit = f"Audit: {find_audit(report.checkpoint, report.sources)}"
    pretraining_data = describe_pretraining_data(report.checkpoint)
    report = replace(report, notes=(*report.notes, pretraining_data, audit))
    write_task_report(report, request.out)
    return report


def collect_reports(out: Path, sha256: str) -> list[TaskReport]:
    """Return the reports in a folder that are of the weights with this hash, in order of `TASKS`.

    So tasks that were evaluated one after the other make one scorecard.
    """
    reports = []
    for name in TASKS:
        path = out / f"{name}.json"
        if not path.exists():
            continue
        try:
            report = read_task_report(path)
        except ValueError as error:
            logger.warning("left out of the scorecard: %s", error)
            continue
        if report.checkpoint.get("sha256") == sha256:
            reports.append(report)
        else:
            logger.warning("%s is of other weights and left out of the scorecard", path)
    return reports


def check_data(names: Sequence[str], data: Path | None) -> None:
    """Refuse tasks that the sample, or `data`, has nothing for, before anything is computed."""
    for name in names:
        lack = "the sample has no data for it" if name not in WITHOUT_DATA else ""
        if lack := _describe_lack(name, data) if data else lack:
            raise FileNotFoundError(f"task {name}: {lack}; give --data a folder that has it")


def check_names(names: Sequence[str]) -> None:
    """Refuse names of no task, repeated ones and none at all, before anything is computed."""
    if not names or len(set(names)) != len(names):
        raise ValueError(f"tasks must name each task once, got {','.join(names) or 'none'}")
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"no task {', '.join(unknown)}; there are {', '.join(TASKS)}")


def _evaluate_structure(
    config: StructureConfig, benchmark: Benchmark, request: Request, folder: Path
) -> TaskReport:
    checkpoint = request.checkpoint
    if request.heads and "pretrained" not in config.systems:
        raise ValueError("--heads decides nothing without pretrained in systems: leave it out")
    results = evaluate_benchmark(benchmark, checkpoint, config, out=folder, heads=request.heads)
    card = build_scorecard(benchmark, checkpoint.metadata, config, results)
    write_report(card, folder)
    return build_structure_report(card)


def _evaluate_families(name: str, request: Request) -> TaskReport:
    config = apply_structure_settings(build_families_config(request.preset), request.settings)
    benchmark = read_benchmark(request.data, config, request.folds)
    if config.require_unseen:
        refuse_seen_families(benchmark.parts, request.loaded.metadata)
    return _evaluate_structure(config, benchmark, request, request.out / name)


def _evaluate_intra_family(name: str, request: Request) -> TaskReport:
    config = apply_structure_settings(build_intra_family_config(request.preset), request.settings)
    _refuse_require_unseen(name, config)
    benchmark = read_intra_family(request.data, config)
    return _evaluate_structure(config, benchmark, request, request.out / name)


def _evaluate_out_of_family(name: str, request: Request) -> TaskReport:
    config = apply_structure_settings(build_out_of_family_config(request.preset), request.settings)
    _refuse_require_unseen(name, config)
    benchmark = read_out_of_family(request.data, config, tests=request.tests)
    return _evaluate_structure(config, benchmark, request, request.out / name)


def _refuse_require_unseen(name: str, config: StructureConfig) -> None:
    if config.require_unseen:
        raise ValueError(f"require_unseen=true decides nothing in {name}: it holds no family out")


def _evaluate_sequences(name: str, request: Request) -> TaskReport:
    task = SEQUENCE_TASKS[name]()
    usual = build_sequence_config(request.preset, task.published_fit)
    config = apply_overrides(usual, request.settings)
    refuse_idle(config, usual)
    return evaluate_sequence_task(
        task,
        request.checkpoint,
        config,
        data=request.data,
        out=request.out / name,
    )


def _evaluate_zero_shot_structure(name: str, request: Request) -> TaskReport:
    config = apply_overrides(choose_preset(STRUCTURE_PRESETS, request.preset), request.settings)
    out = request.out / name
    return evaluate_zero_shot_structure(request.data, request.loaded, config, out=out)


def _evaluate_mutation_effects(name: str, request: Request) -> TaskReport:
    config = apply_overrides(choose_preset(EFFECT_PRESETS, request.preset), request.settings)
    return evaluate_mutation_effects(
        request.data, request.loaded, config, out=request.out / name, assays=request.assays
    )


def _evaluate_embeddings(name: str, request: Request) -> TaskReport:
    config = apply_overrides(choose_preset(EMBEDDING_PRESETS, request.preset), request.settings)
    return evaluate_embeddings(request.data, request.loaded, config, out=request.out / name)


TASKS: Mapping[str, Callable[[str, Request], TaskReport]] = {
    FAMILIES: _evaluate_families,
    "intra-family": _evaluate_intra_family,
    "out-of-family": _evaluate_out_of_family,
    **dict.fromkeys(SEQUENCE_TASKS, _evaluate_sequences),
    "zero-shot-structure": _evaluate_zero_shot_structure,
    "mutation-effects": _evaluate_mutation_effects,
    "embeddings": _evaluate_embeddings,
}
"""What can be asked, in the order in which `all` asks."""

WITHOUT_DATA = (
    *(FAMILIES, "intra-family", "classification-sample"),
    *("zero-shot-structure", "mutation-effects", "embeddings"),
)
"""Tasks that the embedded sample has data for."""
ALTERNATIVES = ("ribosome-load-published", "classification-sample")
"""Left out of `all` where there is data: the same data by another protocol, and the sample."""


def list_all(data: Path | None) -> list[str]:
    """The names that `all` stands for: tasks that the sample, or `data`, has something for.

    Why others are left out is logged; data for none is an error.
    """
    if data is None:
        return list(WITHOUT_DATA)
    lacks = {name: _describe_lack(name, data) for name in TASKS if name not in ALTERNATIVES}
    if all(lacks.values()):
        raise FileNotFoundError(f"{data} has data for no task; for {FAMILIES}: {lacks[FAMILIES]}")
    for name, lack in lacks.items():
        if lack:
            logger.warning("%s is left out of `all`: %s", name, lack)
    return [name for name, lack in lacks.items() if not lack]


def _describe_lack(name: str, data: Path) -> str:
    """What `data` lacks for a task, without reading it; empty where it has that."""
    if name in SEQUENCE_TASKS:
        return SEQUENCE_TASKS[name]().describe_lack(data)
    return _STRUCTURE_LACKS.get(name, describe_structures_lack)(data)


_STRUCTURE_LACKS: Mapping[str, Callable[[Path], str]] = {
    "intra-family": describe_intra_family_lack,
    "out-of-family": describe_out_of_family_lack,
    "embeddings": describe_members_lack,
}
"""Of tasks that read other structures than `families` does, or read them otherwise."""
