"""From what every system put out to the report of a task: scores, intervals, gains, one signature.

Shape suffixes: N sequences, O outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from ..fitting.regime_config import Regime
from ..representations.embed import Checkpoint
from ..scores.bootstrap import BootstrapConfig, Estimate, iter_resamples
from ..scores.paired import build_metric_gain
from ..scores.signature import build_signature as join_facts
from ..scores.signature import describe_bootstrap, hash_settings
from ..structure_folds.fold_results import build_key
from ..task_report import PairedGain, Score, TaskReport
from ..tasks.task import SequenceTask, Split, TaskData
from .near_duplicates import count_leakage
from .predictions import name_held_groups
from .sequence_config import SequenceConfig, choose_fit
from .sequence_fit import read_targets
from .sequence_runs import VERSION_OF_NUMBERS, SequenceRun
from .splits import NotedSplit

PRETRAINED = "pretrained"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """All that a report is made of."""

    task: SequenceTask
    data: TaskData
    whole: Sequence[Split]
    """Splits before anything was drawn from them."""
    splits: Sequence[Split]
    """What was fitted and tested."""
    runs: Sequence[SequenceRun]
    checkpoint: Checkpoint
    config: SequenceConfig
    device: torch.device


def build_report(evaluation: Evaluation) -> TaskReport:
    """Scores of every run, gains of the pretrained encoder, published rows, leakage."""
    task, config = evaluation.task, evaluation.config
    scores: list[Score] = []
    gains: list[PairedGain] = []
    undefined: set[str] = set()
    for split in evaluation.splits:
        runs = [run for run in evaluation.runs if run.split == split.name]
        for part in split.tests:
            scored = ScoredPart.read(evaluation.data, split, part)
            for run in runs:
                found, missing = _score(task, run, part, scored, config.bootstrap)
                scores += found
                undefined |= {f"{metric} of {run.system} on {part}" for metric in missing}
            gains += _build_gains(task, runs, part, scored, config)
    drawn = _list_drawn(evaluation)
    shown = {(score.part, score.metric) for score in scores if score.part not in drawn}
    notes = [*evaluation.data.notes, *_list_notes(evaluation)]
    notes += [f"not defined, left out: {one}" for one in sorted(undefined)]
    return TaskReport(
        task=task.name,
        title=task.title,
        signature=build_signature(evaluation),
        scores=tuple(scores),
        gains=tuple(gains),
        published=tuple(one for one in task.published if (one.part, one.metric) in shown),
        notes=tuple(notes),
        costs={
            f"seconds of {run.system} ({run.regime}), {run.split}": run.facts["seconds"]
            for run in evaluation.runs
        },
        settings={
            "config": asdict(config),
            "classes": list(evaluation.data.classes),
            "fits": {
                f"{run.system} ({run.regime}), {run.split}": dict(run.facts)
                for run in evaluation.runs
            },
        },
        checkpoint=evaluation.checkpoint.metadata,
        sources=evaluation.data.sources,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredPart:
    """The examples of one test set, and what of them is resampled."""

    targets_N: NDArray[np.float64]
    groups_N: NDArray[np.int64] | None = None
    """Group of each, by number from 0, where whole groups were held out of the fit: examples of
    one family or gene are right or wrong together."""

    @classmethod
    def read(cls, data: TaskData, split: Split, part: str) -> "ScoredPart":
        """Of a part of a split."""
        targets_N = read_targets(data, split.tests[part])
        return cls.build(targets_N, name_held_groups(data, split, part))

    @classmethod
    def build(cls, targets_N: NDArray[np.float64], groups: Sequence[str] | None) -> "ScoredPart":
        """Of targets, and the name of each one's group where groups are resampled; empty: alone."""
        if groups is None:
            return cls(targets_N=targets_N)
        names = [name or f" {place}" for place, name in enumerate(groups)]
        return cls(targets_N=targets_N, groups_N=np.unique(names, return_inverse=True)[1])

    @property
    def num_units(self) -> int:
        """How many are resampled."""
        return len(self.targets_N) if self.groups_N is None else int(self.groups_N.max()) + 1

    @property
    def unit(self) -> str:
        """What is resampled."""
        return "sequences" if self.groups_N is None else "groups"


def estimate_metrics(
    task: SequenceTask, outputs_NO: NDArray, scored: ScoredPart, config: BootstrapConfig
) -> dict[str, Estimate]:
    """Every metric with its bootstrap interval, from one set of resamples.

    The resamples are those of `bootstrap.estimate_metric`. One on which a metric is not defined is
    left out of its interval; a metric that is not defined on all sequences is nan. One unit gives
    no interval.
    """
    targets_N = scored.targets_N
    whole = task.score(outputs_NO, targets_N)
    resampled = {metric: np.empty(config.num_resamples) for metric in whole}
    for row, drawn in enumerate(iter_resamples(len(targets_N), config, scored.groups_N)):
        for metric, value in task.score(outputs_NO[drawn], targets_N[drawn]).items():
            resampled[metric][row] = value
    tail = (1 - config.level) / 2
    estimates: dict[str, Estimate] = {}
    for metric, value in whole.items():
        defined = resampled[metric][~np.isnan(resampled[metric])]
        if scored.num_units > 1 and len(defined):
            low, high = np.quantile(defined, [tail, 1 - tail])
            estimates[metric] = Estimate(value, float(low), float(high))
        else:
            estimates[metric] = Estimate(value, None, None)
    return estimates


def build_signature(evaluation: Evaluation) -> str:
    """All that has to be equal for two tables to be comparable.

    `config` hashes every setting that may decide a number.
    """
    task, data, config = evaluation.task, evaluation.data, evaluation.config
    precisions = [choose_precision(one, config, evaluation.device) for one in config.regimes]
    splits = [
        (split.name, split.train, split.validation, split.tests) for split in evaluation.splits
    ]
    threshold = {"binary": "logit-0", "multiclass": "argmax", "regression": "none"}[task.kind]
    facts = {
        "task": task.name,
        "data": f"{data.name}@{data.sha256[:8]}",
        "split": "+".join(split.name for split in evaluation.splits),
        "drawn": build_key({"splits": splits})[:8],
        "fit": "+".join(
            f"{len(split.train)}/{len(split.validation)}" for split in evaluation.splits
        ),
        "preset": config.preset,
        "metric": task.primary_metric,
        "threshold": threshold,
        "precision": "+".join(dict.fromkeys(precisions)),
        **describe_bootstrap(config.bootstrap),
        "seed": config.seed,
        "numbers": VERSION_OF_NUMBERS,
        "config": hash_settings(asdict(config)),
        "ckpt": evaluation.checkpoint.sha256[:8],
        "v": version("openrinalmo"),
    }
    return join_facts(facts)


def choose_precision(regime: Regime, config: SequenceConfig, device: torch.device) -> str:
    """What an encoder computes in, with `auto` resolved; one that does not train is in fp32."""
    if regime not in ("lora", "full"):
        return "fp32"
    dtype = choose_fit(config, regime).choose_dtype(device)
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def _score(
    task: SequenceTask,
    run: SequenceRun,
    part: str,
    scored: ScoredPart,
    config: BootstrapConfig,
) -> tuple[list[Score], list[str]]:
    """Scores of one run on one test set, and the metrics that have no value there."""
    estimates = estimate_metrics(task, run.outputs[part], scored, config)
    scores = [
        Score(
            system=run.system,
            regime=run.regime,
            part=part,
            metric=metric,
            value=estimate.mean,
            low=estimate.low,
            high=estimate.high,
            units=scored.num_units,
            unit=scored.unit,
            is_primary=metric == task.primary_metric,
        )
        for metric, estimate in estimates.items()
        if not np.isnan(estimate.mean)
    ]
    return scores, [metric for metric, one in estimates.items() if np.isnan(one.mean)]


def _build_gains(
    task: SequenceTask,
    runs: Sequence[SequenceRun],
    part: str,
    scored: ScoredPart,
    config: SequenceConfig,
) -> list[PairedGain]:
    """The pretrained encoder in each regime less its random twin in the same, and less the rest."""
    metric = task.primary_metric

    def compute(outputs_NO: NDArray, targets_N: NDArray) -> float:
        return task.score(outputs_NO, targets_N)[metric]

    return [
        build_metric_gain(
            compute,
            (own.outputs[part], other.outputs[part]),
            scored.targets_N,
            config.bootstrap,
            groups_N=scored.groups_N,
            unit=scored.unit,
            names=(_name(own, config), _name(other, config)),
            part=part,
            metric=metric,
        )
        for own in runs
        if own.system == PRETRAINED
        for other in runs
        if other.system != PRETRAINED
        and (other.system != "random encoder" or other.regime == own.regime)
    ]


def _name(run: SequenceRun, config: SequenceConfig) -> str:
    """A system, with its regime where encoders have several."""
    is_encoder = run.system in (PRETRAINED, "random encoder")
    return f"{run.system} ({run.regime})" if is_encoder and config.regimes[1:] else run.system


def _list_notes(evaluation: Evaluation) -> list[str]:
    """What the splits left out, what was drawn from them, and what fit and tests still share."""
    examples = evaluation.data.examples
    notes: list[str] = []
    for whole, split in zip(evaluation.whole, evaluation.splits, strict=True):
        prefix = f"{split.name}: "
        if isinstance(whole, NotedSplit):
            notes += [prefix + note for note in whole.notes]
        drawn = _describe_draw(whole, split)
        if drawn:
            notes.append(prefix + drawn)
        fit = [examples[index].sequence for index in (*split.train, *split.validation)]
        for part, test in split.tests.items():
            leakage = count_leakage([examples[index].sequence for index in test], fit)
            notes.append(
                f"{prefix}of {len(test):,} sequences tested in {part}, {leakage.num_exact:,} are "
                f"in fit or validation and {leakage.num_near:,} have half their 16-mers there"
            )
    return notes


def _list_drawn(evaluation: Evaluation) -> set[str]:
    """Test sets of which only some are scored: what others published is of all."""
    return {
        part
        for whole, split in zip(evaluation.whole, evaluation.splits, strict=True)
        for part, test in split.tests.items()
        if len(test) < len(whole.tests[part])
    }


def _describe_draw(whole: Split, split: Split) -> str:
    sizes: Mapping[str, tuple[int, int]] = {
        "fitted": (len(split.train), len(whole.train)),
        "validated": (len(split.validation), len(whole.validation)),
        **{
            f"tested in {part}": (len(split.tests[part]), len(test))
            for part, test in whole.tests.items()
        },
    }
    drawn = [f"{some:,} of {all_:,} {what}" for what, (some, all_) in sizes.items() if some < all_]
    return f"only a draw: {', '.join(drawn)}" if drawn else ""
