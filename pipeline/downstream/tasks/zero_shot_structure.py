"""Zero-shot structure: base pairs read off attention and the categorical Jacobian.

Nothing is fitted to structures but, where the row says so, a logistic probe or the choice of one
attention map, both on RNAs of other families; a threshold is tuned on other families for every row.

Shape suffixes: L letters of one RNA.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from ....model.contacts import compute_auc, compute_precision
from ....model.weights import LoadedModel
from ..baselines import find_viennarna
from ..scores.bootstrap import BootstrapConfig
from ..scores.signature import (
    build_signature,
    describe_bootstrap,
    describe_programs,
    hash_settings,
)
from ..scores.unit_table import TABLE, write_table
from ..scoring import score_pairs
from ..structure import build_contact_map, rank_pairs
from ..structures.dot_bracket import write_structure
from ..structures.records import StructureRecord, find_structures, hash_structures, read_structures
from ..task_report import PairedGain, Score, StructureCase, TaskReport
from ..zero_shot.cached_results import load_or_compute, load_or_compute_array
from ..zero_shot.contact_folds import ContactFold, build_contact_folds, tune_score
from ..zero_shot.contact_scores import (
    Scores,
    compute_attention_features,
    compute_jacobian_scores,
    compute_pair_probabilities,
    fit_attention,
    score_stems,
    standardise,
)
from ..zero_shot.masked_models import (
    PRETRAINED,
    DeviceName,
    MaskedSystem,
    build_masked_systems,
    build_predict,
    choose_device,
)
from ..zero_shot.unit_scores import build_gains, build_scores

TASK = "zero-shot-structure"
VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: results of an earlier one are not reused."""
JACOBIAN, BEST_MAP, PROBE = "zero-shot: Jacobian", "zero-shot: one map", "attention probe"
LETTERS, VIENNARNA = "letters", "ViennaRNA"
METRICS = ("precision at N", "AUC", "F1 strict", "F1 relaxed")
NOTES = (
    f"`{JACOBIAN}` uses no label but for the threshold of F1; `{BEST_MAP}` chooses one "
    f"attention map and `{PROBE}` fits a logistic regression on RNAs of other families.",
    "precision at N: share of known pairs among the N best scored, N being their number.",
)

SystemName = Literal["pretrained", "random encoder", "letters", "ViennaRNA"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroShotStructureConfig:
    """One evaluation: every system's pair scores on RNAs of every family."""

    preset: str = "full"
    systems: tuple[SystemName, ...] = ("pretrained", "random encoder", "letters", "ViennaRNA")
    rnas_per_family: int = 100
    """RNAs of each family that are scored, drawn by `seed`; 0 takes all."""
    max_length_nt: int = 512
    """Longer RNAs are left out: a Jacobian takes three passes a letter."""
    fit_rnas: int = 20
    """RNAs of other families that the attention probe is fitted to and the one map is chosen on."""
    tune_rnas: int = 20
    """Further RNAs of other families that the threshold is tuned on."""
    max_fit_length_nt: int = 200
    """Longer RNAs neither fit nor tune."""
    max_tokens_per_pack: int = 8192
    """Budget of one forward pass of the Jacobian."""
    seed: int = 0
    """Decides the draw of RNAs, and the weights of the random encoder."""
    device: DeviceName = "auto"
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems must name each row once, got {','.join(self.systems)!r}")
        for name in ("rnas_per_family", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("max_length_nt", "fit_rnas", "tune_rnas", "max_fit_length_nt"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


PRESETS = {
    "quick": ZeroShotStructureConfig(
        preset="quick",
        rnas_per_family=4,
        max_length_nt=150,
        fit_rnas=8,
        tune_rnas=8,
        max_fit_length_nt=150,
    ),
    "budget": ZeroShotStructureConfig(preset="budget", rnas_per_family=20, max_length_nt=250),
    "full": ZeroShotStructureConfig(),
}


def build_zero_shot_structure_config(preset: str) -> ZeroShotStructureConfig:
    """Settings of a named preset."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return PRESETS[preset]


class _Run(NamedTuple):
    records: Sequence[StructureRecord]
    config: ZeroShotStructureConfig
    device: torch.device
    results: Path


ByMethod = dict[str, list[dict[str, Any]]]
"""One row of metrics an RNA, for each way of reading a model."""
Results = Mapping[tuple[str, str], Mapping[str, list[dict[str, Any]]]]
"""Rows by system and way of reading, then by family."""


def evaluate_zero_shot_structure(
    data: Path | None, loaded: LoadedModel, config: ZeroShotStructureConfig, *, out: Path
) -> TaskReport:
    """Score the RNAs of the sample (None), of ArchiveII's folder or of a structure file.

    Jacobians and finished families are kept under `out/results` and not computed again; values of
    single RNAs are written to `out/sequences.csv`.
    """
    start = time.monotonic()
    path = find_structures(data)
    records = read_structures(path, require_families=True)
    folds, notes = build_contact_folds(
        records,
        rnas_per_family=config.rnas_per_family,
        max_length_nt=config.max_length_nt,
        fit_rnas=config.fit_rnas,
        tune_rnas=config.tune_rnas,
        max_fit_length_nt=config.max_fit_length_nt,
        seed=config.seed,
    )
    device = choose_device(config.device)
    run = _Run(records, config, device, out / "results")
    results: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    costs: dict[str, float] = {}
    for name, identity, score_fold in _build_scorers(run, loaded):
        began = time.monotonic()
        for fold in tqdm(folds, desc=f"{TASK}, {name}", unit="family", disable=None):
            facts = {
                "version": VERSION_OF_NUMBERS,
                "identity": identity,
                "rnas": [
                    [_describe(records[index]) for index in part]
                    for part in (fold.test, fold.fit, fold.tune)
                ],
            }
            by_method = load_or_compute(
                run.results, f"{name}.{fold.family}", facts, lambda s=score_fold, f=fold: s(f)
            )
            for method, rows in by_method.items():
                results[name, method][fold.family] = rows
        costs[f"{name}, seconds"] = time.monotonic() - began
    costs["seconds"] = time.monotonic() - start
    report = TaskReport(
        task=TASK,
        title="Zero-shot structure: attention and the categorical Jacobian",
        signature=_build_signature(path, data, records, folds, config, loaded),
        scores=tuple(_build_all_scores(results, config)),
        gains=tuple(_build_all_gains(results, config)),
        notes=(*notes, *NOTES),
        cases=tuple(_choose_cases(results, records)),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources={path.name: hash_structures(path)},
    )
    write_table(out / TABLE, _iter_rows(results, records))
    return report


def _iter_rows(results: Results, records: Sequence[StructureRecord]) -> Iterator[dict[str, Any]]:
    for (system, method), by_family in results.items():
        for family, rows in by_family.items():
            for row in rows:
                record = records[row["index"]]
                yield {
                    "system": system,
                    "regime": method,
                    "part": family,
                    "id": record.id,
                    **{metric: row[metric] for metric in METRICS},
                    "predicted": row["predicted"],
                }


def _describe(record: StructureRecord) -> list[Any]:
    return [record.id, record.sequence, record.pairs_P2.tolist()]


def _build_scorers(
    run: _Run, loaded: LoadedModel
) -> Iterator[tuple[str, dict[str, object], Callable[[ContactFold], ByMethod]]]:
    """Each system's name, what its numbers depend on, and how it scores a family."""
    models = {
        system.name: system
        for system in build_masked_systems(loaded, run.config.systems, seed=run.config.seed)
    }
    for name in run.config.systems:
        if name in models:
            system = models[name]
            yield name, system.identity, lambda fold, s=system: _score_model(run, s, fold)
        elif name == LETTERS:
            yield name, {"letters": 1}, lambda fold: {"none": _score(run, fold, score_stems)}
        elif (viennarna := find_viennarna()) is not None:

            def fold_one(sequence: str, module: Any = viennarna) -> Scores:
                return compute_pair_probabilities(module, sequence)

            identity: dict[str, object] = {"viennarna": viennarna.__version__}
            yield name, identity, lambda fold: {"none": _score(run, fold, fold_one)}


def _score_model(run: _Run, system: MaskedSystem, fold: ContactFold) -> ByMethod:
    predict = build_predict(system.model, run.device)

    def read_features(index: int) -> torch.Tensor:
        return compute_attention_features(system.model, predict, run.records[index].sequence)

    def read_jacobian(sequence: str) -> Scores:
        facts = {"version": VERSION_OF_NUMBERS, "model": system.identity, "sequence": sequence}
        scores_LL = load_or_compute_array(
            run.results / "jacobians",
            system.name,
            facts,
            lambda: compute_jacobian_scores(
                predict, sequence, max_tokens=run.config.max_tokens_per_pack
            ),
        )
        return standardise(scores_LL)

    is_paired = [
        build_contact_map(run.records[index].pairs_P2, len(run.records[index].sequence)) > 0
        for index in fold.fit
    ]
    probe, best = fit_attention([read_features(index) for index in fold.fit], is_paired)
    of_probe, of_map = {}, {}
    for index in (*fold.test, *fold.tune):
        features_CLL = read_features(index)
        sequence = run.records[index].sequence
        of_probe[sequence] = probe.predict(features_CLL).cpu().numpy()
        of_map[sequence] = standardise(features_CLL[best])
    return {
        JACOBIAN: _score(run, fold, read_jacobian),
        BEST_MAP: _score(run, fold, of_map.__getitem__),
        PROBE: _score(run, fold, of_probe.__getitem__),
    }


def _score(
    run: _Run, fold: ContactFold, read_scores: Callable[[str], Scores]
) -> list[dict[str, Any]]:
    """Tune a threshold on the RNAs of other families, then score those of the family."""
    tune = [run.records[index] for index in fold.tune]
    ranked = [rank_pairs(read_scores(one.sequence), one.sequence, -np.inf) for one in tune]
    threshold = tune_score(ranked, [one.pairs_P2 for one in tune])
    rows: list[dict[str, Any]] = []
    for index in fold.test:
        record = run.records[index]
        scores_LL = read_scores(record.sequence)
        found_P2 = rank_pairs(scores_LL, record.sequence, threshold).pairs_P2
        is_paired_LL = torch.from_numpy(build_contact_map(record.pairs_P2, len(scores_LL)) > 0)
        scores = torch.from_numpy(scores_LL)
        strict, relaxed = (
            score_pairs(record.pairs_P2, found_P2, relaxed=relaxed).f1 for relaxed in (False, True)
        )
        values = (
            compute_precision(scores, is_paired_LL),
            compute_auc(scores, is_paired_LL),
            strict,
            relaxed,
        )
        rows.append(
            {
                "index": index,
                "predicted": write_structure(found_P2, len(record.sequence)),
                **dict(zip(METRICS, values, strict=True)),
            }
        )
    return rows


def _take(by_family: Mapping[str, list[dict[str, Any]]], metric: str) -> dict[str, list[float]]:
    return {family: [row[metric] for row in rows] for family, rows in by_family.items()}


def _build_all_scores(results: Results, config: ZeroShotStructureConfig) -> Iterator[Score]:
    for (system, method), by_family in results.items():
        for metric in METRICS:
            yield from build_scores(
                _take(by_family, metric),
                config.bootstrap,
                system=system,
                regime=method,
                metric=metric,
                is_primary=metric == METRICS[0] and method in (JACOBIAN, "none"),
            )


def _build_all_gains(results: Results, config: ZeroShotStructureConfig) -> Iterator[PairedGain]:
    """The pretrained model less each other row: read in the same way, or without a model."""
    for (system, method), own in results.items():
        if system != PRETRAINED:
            continue
        for (baseline, other_method), theirs in results.items():
            if baseline == PRETRAINED or other_method not in (method, "none"):
                continue
            for metric in METRICS:
                yield from build_gains(
                    _take(own, metric),
                    _take(theirs, metric),
                    config.bootstrap,
                    system=f"{system} ({method})",
                    baseline=baseline if other_method == "none" else f"{baseline} ({method})",
                    metric=metric,
                )


def _choose_cases(results: Results, records: Sequence[StructureRecord]) -> Iterator[StructureCase]:
    """Best, median and worst RNA of the pretrained model's Jacobian."""
    by_family = results.get((PRETRAINED, JACOBIAN), {})
    rows = sorted((row for rows in by_family.values() for row in rows), key=_order_of_row)
    chosen = {"best": -1, "median": len(rows) // 2, "worst": 0}
    for label, place in chosen.items() if len(rows) > 2 else ():
        record = records[rows[place]["index"]]
        yield StructureCase(
            id=record.id,
            part=record.family,
            system=f"{PRETRAINED}, {JACOBIAN}",
            label=label,
            sequence=record.sequence,
            known=write_structure(record.pairs_P2, len(record.sequence)),
            predicted=rows[place]["predicted"],
            metric="F1 strict",
            f1=rows[place]["F1 strict"],
        )


def _order_of_row(row: Mapping[str, Any]) -> tuple[float, int]:
    return row["F1 strict"], row["index"]


def _build_signature(
    path: Path,
    data: Path | None,
    records: Sequence[StructureRecord],
    folds: Sequence[ContactFold],
    config: ZeroShotStructureConfig,
    loaded: LoadedModel,
) -> str:
    name = "sample" if data is None else path.name.partition(".")[0].lower()
    return build_signature(
        {
            "task": TASK,
            "data": f"{name}-{hash_structures(path)[:8]}",
            "rnas": f"{sum(len(fold.test) for fold in folds)}of{len(records)}",
            "threshold": "other-families-relaxed-f1",
            "decoder": "greedy",
            **describe_programs(_list_programs(config)),
            "config": hash_settings(asdict(config)),
            **describe_bootstrap(config.bootstrap),
            "seed": config.seed,
            "ckpt": loaded.metadata["sha256"][:8],
            "numbers": VERSION_OF_NUMBERS,
        }
    )


def _list_programs(config: ZeroShotStructureConfig) -> dict[str, str]:
    viennarna = find_viennarna() if VIENNARNA in config.systems else None
    return {VIENNARNA: f"viennarna {viennarna.__version__}"} if viennarna else {}
