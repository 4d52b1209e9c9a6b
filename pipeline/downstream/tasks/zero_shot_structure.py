"""Zero-shot structure: base pairs read off attention and the categorical Jacobian.

Nothing is fitted to structures but, where the row says so, a logistic probe or the choice of one
attention map, both on RNAs of other families; a threshold is tuned on other families for every row.

Shape suffixes: L letters of one RNA.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from ....model.weights import LoadedModel
from ..baselines import find_viennarna
from ..devices import choose_device
from ..scores.signature import describe_programs
from ..scores.unit_table import TABLE, write_table
from ..structure import build_contact_map, rank_pairs
from ..structures.records import StructureRecord, find_structures, hash_structures, read_structures
from ..task_report import TaskReport
from ..zero_shot.cached_results import load_or_compute, load_or_compute_array
from ..zero_shot.contact_folds import ContactFold, build_contact_folds, tune_score
from ..zero_shot.contact_report import (
    BEST_MAP,
    JACOBIAN,
    NOTES,
    PROBE,
    WITHOUT_MODEL,
    Results,
    Row,
    build_contact_gains,
    build_contact_scores,
    choose_contact_cases,
    iter_contact_rows,
    score_contacts,
)
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
    MaskedSystem,
    build_masked_systems,
    build_predict,
)
from ..zero_shot.zero_shot_settings import ZeroShotStructureConfig
from ..zero_shot.zero_shot_signature import build_zero_shot_signature, describe_source

TASK = "zero-shot-structure"
VERSION_OF_NUMBERS = 2
"""Raised when a change of code changes scores: results of an earlier one are not reused."""
LETTERS, VIENNARNA = "letters", "ViennaRNA"

ByMethod = dict[str, list[Row]]
"""One row an RNA, for each way of reading a model."""


class _Run(NamedTuple):
    records: Sequence[StructureRecord]
    config: ZeroShotStructureConfig
    device: torch.device
    results: Path


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
    run = _Run(records, config, choose_device(config.device), out / "results")
    results, costs = _score_families(run, folds, loaded)
    costs["seconds"] = time.monotonic() - start
    own_facts = {
        "data": describe_source(path, is_sample=data is None),
        "rnas": f"{sum(len(fold.test) for fold in folds)}of{len(records)}",
        "threshold": "other-families-relaxed-f1",
        "decoder": "greedy",
        **describe_programs(_list_programs(config)),
    }
    report = TaskReport(
        task=TASK,
        title="Zero-shot structure: attention and the categorical Jacobian",
        signature=build_zero_shot_signature(
            TASK, own_facts, config=config, loaded=loaded, numbers=VERSION_OF_NUMBERS
        ),
        scores=tuple(build_contact_scores(results, config.bootstrap)),
        gains=tuple(build_contact_gains(results, config.bootstrap)),
        notes=(*notes, *NOTES),
        cases=tuple(choose_contact_cases(results, records)),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources={path.name: hash_structures(path)},
    )
    write_table(out / TABLE, iter_contact_rows(results, records))
    return report


def _score_families(
    run: _Run, folds: Sequence[ContactFold], loaded: LoadedModel
) -> tuple[Results, dict[str, float]]:
    """Rows of every system, those that are kept not computed again, and the seconds each took."""
    results: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(dict)
    costs: dict[str, float] = {}
    for name, identity, score_fold in _build_scorers(run, loaded):
        began = time.monotonic()
        for fold in tqdm(folds, desc=f"{TASK}, {name}", unit="family", disable=None):
            facts = {
                "version": VERSION_OF_NUMBERS,
                "identity": identity,
                "rnas": [
                    [_describe(run.records[index]) for index in part]
                    for part in (fold.test, fold.fit, fold.tune)
                ],
            }
            by_method = load_or_compute(
                run.results, f"{name}.{fold.family}", facts, lambda s=score_fold, f=fold: s(f)
            )
            for method, rows in by_method.items():
                results[name, method][fold.family] = rows
        costs[f"{name}, seconds"] = time.monotonic() - began
    return results, costs


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
            yield name, {"letters": 1}, lambda fold: {WITHOUT_MODEL: _score(run, fold, score_stems)}
        elif (viennarna := find_viennarna()) is not None:

            def fold_one(sequence: str, module: Any = viennarna) -> Scores:
                return compute_pair_probabilities(module, sequence)

            identity: dict[str, object] = {"viennarna": viennarna.__version__}
            yield name, identity, lambda fold: {WITHOUT_MODEL: _score(run, fold, fold_one)}


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


def _score(run: _Run, fold: ContactFold, read_scores: Callable[[str], Scores]) -> list[Row]:
    """Tune a threshold on the RNAs of other families, then score those of the family."""
    tune = [run.records[index] for index in fold.tune]
    ranked = [rank_pairs(read_scores(one.sequence), one.sequence, -np.inf) for one in tune]
    threshold = tune_score(ranked, [one.pairs_P2 for one in tune])
    return [
        score_contacts(
            index, run.records[index], read_scores(run.records[index].sequence), threshold
        )
        for index in fold.test
    ]


def _list_programs(config: ZeroShotStructureConfig) -> dict[str, str]:
    viennarna = find_viennarna() if VIENNARNA in config.systems else None
    return {VIENNARNA: f"viennarna {viennarna.__version__}"} if viennarna else {}
