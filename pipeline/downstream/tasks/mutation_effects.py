"""Mutation effects without fitting: measured variants of a user, and compensatory double mutants.

Scores are those of `substitution_scores.py`; each row names its convention.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ....model.jacobian import Predict
from ....model.weights import LoadedModel
from ..devices import choose_device
from ..scores.unit_table import TABLE, write_table
from ..structures.records import find_structures, hash_file, hash_structures, read_structures
from ..task_report import TaskReport
from ..zero_shot.assay_scores import MUTATION_COUNT, build_assay_scores, count_mutations
from ..zero_shot.cached_results import load_or_compute
from ..zero_shot.compensation import METRICS, ExchangedRna, choose_rnas, measure_compensation
from ..zero_shot.effect_report import (
    EffectRows,
    build_effect_gains,
    build_effect_notes,
    build_effect_rows,
    iter_exchanged_rows,
    iter_variant_rows,
)
from ..zero_shot.masked_models import (
    MaskedSystem,
    build_masked_systems,
    build_predict,
)
from ..zero_shot.substitution_scores import Convention, score_variants
from ..zero_shot.variant_tables import Assay, read_assays
from ..zero_shot.zero_shot_settings import MutationEffectsConfig
from ..zero_shot.zero_shot_signature import build_zero_shot_signature, describe_source

TASK = "mutation-effects"
VARIANTS = "variants.csv"
VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: results of an earlier one are not reused."""
_CHUNK = 256


def evaluate_mutation_effects(
    data: Path | None,
    loaded: LoadedModel,
    config: MutationEffectsConfig,
    *,
    out: Path,
    assays: Path | None = None,
) -> TaskReport:
    """Score variants under every convention: of known structures, and of `assays` where given.

    `data` has the structures (None: the sample), `assays` a table of `variant_tables.py`. Scores
    are kept under `out/results`; values of single RNAs and variants are written to
    `out/sequences.csv` and `out/variants.csv`.
    """
    start = time.monotonic()
    tables = [] if assays is None else read_assays(assays)
    path = find_structures(data)
    rnas = choose_rnas(
        read_structures(path),
        rnas_per_family=config.rnas_per_family,
        pairs_per_rna=config.pairs_per_rna,
        max_length_nt=config.max_length_nt,
        seed=config.seed,
    )
    rows, costs = _score_systems(tables, rnas, loaded, config, out / "results")
    counted = build_assay_scores(
        tables,
        {assay.name: count_mutations(assay) for assay in tables},
        config.bootstrap,
        system=MUTATION_COUNT,
        regime="none",
        is_primary=True,
    )
    costs["seconds"] = time.monotonic() - start
    sources = {path.name: hash_structures(path)}
    if assays is not None:
        sources[assays.name] = hash_file(assays)
    own_facts = {
        "assays": "none" if assays is None else describe_source(assays),
        "data": describe_source(path, is_sample=data is None),
        "rnas": len(rnas),
    }
    report = TaskReport(
        task=TASK,
        title="Mutation effects, zero-shot",
        signature=build_zero_shot_signature(
            TASK, own_facts, config=config, loaded=loaded, numbers=VERSION_OF_NUMBERS
        ),
        scores=(*(score for one in rows.values() for score in one.scores), *counted),
        gains=tuple(build_effect_gains(rows, counted, config.bootstrap)),
        notes=tuple(build_effect_notes(rnas, tables)),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources=sources,
    )
    if rnas:
        write_table(out / TABLE, iter_exchanged_rows(rows, rnas))
    if tables:
        write_table(out / VARIANTS, iter_variant_rows(rows, tables))
    return report


def _score_systems(
    tables: Sequence[Assay],
    rnas: Sequence[ExchangedRna],
    loaded: LoadedModel,
    config: MutationEffectsConfig,
    results: Path,
) -> tuple[dict[tuple[str, Convention], EffectRows], dict[str, float]]:
    """Rows of every system under every convention, and the seconds each system took."""
    rows: dict[tuple[str, Convention], EffectRows] = {}
    costs: dict[str, float] = {}
    for system in build_masked_systems(loaded, config.systems, seed=config.seed):
        began = time.monotonic()
        predict = build_predict(system.model, choose_device(config.device))
        for convention in config.conventions:
            scorer = _Scorer(predict, system, convention, config, results)
            rows[system.name, convention] = _score_all(scorer, tables, rnas)
        costs[f"{system.name}, seconds"] = time.monotonic() - began
    return rows, costs


class _Scorer(NamedTuple):
    """One system under one convention."""

    predict: Predict
    system: MaskedSystem
    convention: Convention
    config: MutationEffectsConfig
    results: Path

    def score(self, wild_type: str, variants: Sequence[str], name: str) -> NDArray[np.float64]:
        """Scores of variants, chunk by chunk, each in its file."""
        scores: list[float] = []
        for first in range(0, len(variants), _CHUNK):
            chunk = list(variants[first : first + _CHUNK])
            facts = {
                "version": VERSION_OF_NUMBERS,
                "model": self.system.identity,
                "convention": self.convention,
                "wild_type": wild_type,
                "variants": chunk,
            }
            scores += load_or_compute(
                self.results,
                f"{self.system.name}.{self.convention}.{name}",
                facts,
                lambda chunk=chunk: score_variants(
                    self.predict,
                    wild_type,
                    chunk,
                    self.convention,
                    max_tokens=self.config.max_tokens_per_pack,
                ).tolist(),
            )
        return np.array(scores, np.float64)


def _score_all(
    scorer: _Scorer, tables: Sequence[Assay], rnas: Sequence[ExchangedRna]
) -> EffectRows:
    system, convention = scorer.system.name, scorer.convention
    title = f"{TASK}, {system}, {convention}"
    with tqdm(total=len(tables) + len(rnas), desc=title, disable=None) as progress:
        values: dict[str, NDArray[np.float64]] = {}
        for assay in tables:
            variants = [one.sequence for one in assay.variants]
            values[assay.name] = scorer.score(assay.wild_type, variants, assay.name)
            progress.update()
        by_metric: dict[str, dict[str, list[float]]] = {metric: {} for metric in METRICS}
        for rna in rnas:
            for metric, value in _measure(scorer, rna).items():
                by_metric[metric].setdefault(rna.record.family, []).append(value)
            progress.update()
    return build_effect_rows(
        values, by_metric, tables, scorer.config, system=system, convention=convention
    )


def _measure(scorer: _Scorer, rna: ExchangedRna) -> dict[str, float]:
    quartets = [
        quartet for exchange in rna.exchanges for quartet in (exchange.pair, exchange.decoy)
    ]
    variants = [sequence for quartet in quartets for sequence in quartet]
    scores = scorer.score(rna.record.sequence, variants, "compensation")
    of_pair_or_decoy = scores.reshape(-1, 2, 3)
    return measure_compensation(of_pair_or_decoy[:, 0], of_pair_or_decoy[:, 1])
