"""Mutation effects without fitting: measured variants of a user, and compensatory double mutants.

Scores are those of `substitution_scores.py`; each row names its convention.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ....model.jacobian import Predict
from ....model.weights import LoadedModel
from ..scores.bootstrap import BootstrapConfig
from ..scores.signature import build_signature, describe_bootstrap, hash_settings
from ..scores.unit_table import TABLE, write_table
from ..structures.records import (
    StructureRecord,
    find_structures,
    hash_file,
    hash_structures,
    read_structures,
)
from ..task_report import PairedGain, Score, TaskReport
from ..zero_shot.assay_scores import (
    MUTATION_COUNT,
    build_assay_gain,
    build_assay_scores,
    count_mutations,
)
from ..zero_shot.cached_results import load_or_compute
from ..zero_shot.compensation import (
    EPISTASIS,
    METRICS,
    Compensation,
    Quartet,
    draw_compensations,
    measure_compensation,
)
from ..zero_shot.masked_models import (
    PRETRAINED,
    RANDOM,
    DeviceName,
    MaskedSystem,
    build_masked_systems,
    build_predict,
    choose_device,
)
from ..zero_shot.substitution_scores import CONVENTIONS, TAKES_INDELS, Convention, score_variants
from ..zero_shot.unit_scores import build_gains, build_scores
from ..zero_shot.variant_tables import Assay, read_assays

TASK = "mutation-effects"
VARIANTS = "variants.csv"
VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: results of an earlier one are not reused."""
_CHUNK = 256

SystemName = Literal["pretrained", "random encoder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MutationEffectsConfig:
    """Which conventions score variants, and on how many RNAs compensation is looked at."""

    preset: str = "full"
    systems: tuple[SystemName, ...] = ("pretrained", "random encoder")
    conventions: tuple[Convention, ...] = CONVENTIONS
    primary_assay_convention: Convention = "wt-fill"
    """The row of the summary table: what RNAGym's leaderboard takes."""
    primary_compensation_convention: Convention = "mut-fill"
    """`wt-fill` adds up over positions, so it is blind to compensation."""
    rnas_per_family: int = 20
    """RNAs with known structures of each family, drawn by `seed`, for compensation; 0 takes all."""
    pairs_per_rna: int = 16
    """Known pairs of each that are exchanged."""
    max_length_nt: int = 512
    """RNAs with longer sequences have no compensation row; assays may be of any length."""
    max_tokens_per_pack: int = 8192
    """Budget of one forward pass; a longer sequence is a pack of its own."""
    seed: int = 0
    """Decides the draw of RNAs and exchanges, and the weights of the random encoder."""
    device: DeviceName = "auto"
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        for name in ("systems", "conventions"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must name each once, got {','.join(values)!r}")
        for name in ("primary_assay_convention", "primary_compensation_convention"):
            if getattr(self, name) not in self.conventions:
                raise ValueError(
                    f"{name} must be one of conventions={','.join(self.conventions)}, "
                    f"got {getattr(self, name)}"
                )
        for name in ("rnas_per_family", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("pairs_per_rna", "max_length_nt", "max_tokens_per_pack"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


_FAST: tuple[Convention, ...] = tuple(name for name in CONVENTIONS if name != "pseudo-likelihood")
"""The pseudo-likelihood takes a forward pass for each letter of each variant."""
PRESETS = {
    "quick": MutationEffectsConfig(
        preset="quick", conventions=_FAST, rnas_per_family=4, pairs_per_rna=6, max_length_nt=200
    ),
    "budget": MutationEffectsConfig(preset="budget", conventions=_FAST, max_length_nt=300),
    "full": MutationEffectsConfig(),
}


def build_mutation_effects_config(preset: str) -> MutationEffectsConfig:
    """Settings of a named preset."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return PRESETS[preset]


class ExchangedRna(NamedTuple):
    """An RNA with a known structure, and what is exchanged in it."""

    record: StructureRecord
    exchanges: tuple[Compensation, ...]


class _Rows(NamedTuple):
    variants: dict[str, NDArray[np.float64]]
    """A score for each variant of each assay; NaN where there is none."""
    assays: list[Score]
    by_metric: dict[str, dict[str, list[float]]]
    """Values of single RNAs of the compensation check, by metric and family."""
    compensation: list[Score]

    @property
    def scores(self) -> list[Score]:
        return [*self.assays, *self.compensation]


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
    rnas = choose_rnas(read_structures(path), config)
    systems = build_masked_systems(loaded, config.systems, seed=config.seed)
    rows: dict[tuple[str, Convention], _Rows] = {}
    costs: dict[str, float] = {}
    for system in systems:
        began = time.monotonic()
        predict = build_predict(system.model, choose_device(config.device))
        for convention in config.conventions:
            scorer = _Scorer(predict, system, convention, config, out / "results")
            rows[system.name, convention] = _score_all(scorer, tables, rnas)
        costs[f"{system.name}, seconds"] = time.monotonic() - began
    counted = build_assay_scores(
        tables,
        {assay.name: count_mutations(assay) for assay in tables},
        config.bootstrap,
        system=MUTATION_COUNT,
        regime="none",
        is_primary=True,
    )
    costs["seconds"] = time.monotonic() - start
    report = TaskReport(
        task=TASK,
        title="Mutation effects, zero-shot",
        signature=_build_signature(path, data, assays, rnas, config, loaded),
        scores=(*(score for one in rows.values() for score in one.scores), *counted),
        gains=tuple(_compare(rows, counted, config)),
        notes=tuple(_build_notes(rnas, tables)),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources={
            path.name: hash_structures(path),
            **({assays.name: hash_file(assays)} if assays is not None else {}),
        },
    )
    if rnas:
        write_table(out / TABLE, _iter_rows(rows, rnas))
    if tables:
        write_table(out / VARIANTS, _iter_variants(rows, tables))
    return report


def _iter_variants(
    rows: Mapping[tuple[str, Convention], _Rows], tables: Sequence[Assay]
) -> Iterator[dict[str, object]]:
    """Scores of single variants; empty where a convention does not score them."""
    for (system, convention), one in rows.items():
        for assay in tables:
            values = one.variants[assay.name].tolist()
            for variant, value in zip(assay.variants, values, strict=True):
                yield {
                    "system": system,
                    "convention": convention,
                    "assay": assay.name,
                    "variant": variant.name,
                    "effect": variant.effect,
                    "score": "" if math.isnan(value) else value,
                }


def _iter_rows(
    rows: Mapping[tuple[str, Convention], _Rows], rnas: Sequence[ExchangedRna]
) -> Iterator[dict[str, object]]:
    """Values of single RNAs, of the compensation check."""
    for (system, convention), one in rows.items():
        values = {
            metric: chain.from_iterable(by_family.values())
            for metric, by_family in one.by_metric.items()
        }
        for rna in rnas:
            yield {
                "system": system,
                "regime": name_regime(convention),
                "part": rna.record.family,
                "id": rna.record.id,
                **{metric: next(some) for metric, some in values.items()},
            }


def choose_rnas(
    records: Sequence[StructureRecord], config: MutationEffectsConfig
) -> list[ExchangedRna]:
    """RNAs of each family, in order of family, with their exchanges; those without one are out.

    Pure. An RNA's exchanges come from the seed and its place in the file; sequences are distinct.
    """
    chosen: dict[str, list[ExchangedRna]] = defaultdict(list)
    seen: set[str] = set()
    for index in np.random.default_rng(config.seed).permutation(len(records)).tolist():
        record = records[index]
        is_full = config.rnas_per_family and len(chosen[record.family]) >= config.rnas_per_family
        if is_full or len(record.sequence) > config.max_length_nt or record.sequence in seen:
            continue
        generator = np.random.default_rng([config.seed, index])
        if exchanges := draw_compensations(record, config.pairs_per_rna, generator):
            seen.add(record.sequence)
            chosen[record.family].append(ExchangedRna(record, tuple(exchanges)))
    return [rna for family in sorted(chosen) for rna in chosen[family]]


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


def _score_all(scorer: _Scorer, tables: Sequence[Assay], rnas: Sequence[ExchangedRna]) -> _Rows:
    config, convention = scorer.config, scorer.convention
    naming = {"system": scorer.system.name, "regime": name_regime(convention)}
    title = f"{TASK}, {scorer.system.name}, {convention}"
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
    assays = build_assay_scores(
        tables,
        values,
        config.bootstrap,
        **naming,
        is_primary=convention == config.primary_assay_convention,
    )
    compensation: list[Score] = []
    for metric, by_family in by_metric.items():
        is_primary = convention == config.primary_compensation_convention and metric == EPISTASIS
        if by_family:
            compensation += build_scores(
                by_family,
                config.bootstrap,
                **naming,
                metric=metric,
                is_primary=is_primary and not tables,
            )
    return _Rows(values, assays, by_metric, compensation)


def _measure(scorer: _Scorer, rna: ExchangedRna) -> dict[str, float]:
    quartets: list[Quartet] = [
        quartet for exchange in rna.exchanges for quartet in (exchange.pair, exchange.decoy)
    ]
    variants = [sequence for quartet in quartets for sequence in quartet]
    scores = scorer.score(rna.record.sequence, variants, "compensation")
    of_pair_or_decoy = scores.reshape(-1, 2, 3)
    return measure_compensation(of_pair_or_decoy[:, 0], of_pair_or_decoy[:, 1])


def name_regime(convention: Convention) -> str:
    """A convention as the table names it."""
    return f"zero-shot: {convention}"


def _compare(
    rows: Mapping[tuple[str, Convention], _Rows],
    counted: Sequence[Score],
    config: MutationEffectsConfig,
) -> list[PairedGain]:
    """The pretrained model less its random twin under the same convention, and less counting."""
    gains: list[PairedGain] = []
    for (system, convention), own in rows.items():
        if system != PRETRAINED:
            continue
        name, other_name = (f"{one} ({name_regime(convention)})" for one in (PRETRAINED, RANDOM))
        gains += build_assay_gain(
            own.assays, counted, config.bootstrap, system=name, baseline=MUTATION_COUNT
        )
        theirs = rows.get((RANDOM, convention))
        if theirs is None:
            continue
        gains += build_assay_gain(
            own.assays, theirs.assays, config.bootstrap, system=name, baseline=other_name
        )
        for metric, by_family in own.by_metric.items():
            if by_family:
                gains += build_gains(
                    by_family,
                    theirs.by_metric[metric],
                    config.bootstrap,
                    system=name,
                    baseline=other_name,
                    metric=metric,
                )
    return gains


def _build_notes(rnas: Sequence[ExchangedRna], tables: Sequence[Assay]) -> list[str]:
    num_pairs = sum(len(rna.exchanges) for rna in rnas)
    notes = [
        "Nothing is fitted. Scores are comparable under one convention only; wt-fill is what "
        "others call the masked marginal.",
        f"Compensation: {num_pairs} known Watson-Crick pairs of {len(rnas)} RNAs are exchanged for "
        "others. Accuracy and AUC ask whether the double change scores above the single ones, "
        "which break the pair: a model that scores letters one by one is below a half where "
        "changes cost and above it where they gain. AUC of epistasis (what both changes have over "
        "the sum of either, against the same exchanges where nothing pairs) is free of that: 0.5 "
        "for a model blind to pairs, and for wt-fill and wt-marginal, which add up.",
    ]
    indels = {
        assay.name: sum(len(one.sequence) != len(assay.wild_type) for one in assay.variants)
        for assay in tables
    }
    notes += [
        f"Assay {name}: {count} variants insert or delete; only {' and '.join(TAKES_INDELS)} score "
        "them, so other rows are over fewer variants."
        for name, count in indels.items()
        if count
    ]
    notes += [
        f"Assay {one.name}: {one.num_unmeasured} rows without a measured effect are left out."
        for one in tables
        if one.num_unmeasured
    ]
    return notes


def _build_signature(
    path: Path,
    data: Path | None,
    assays: Path | None,
    rnas: Sequence[ExchangedRna],
    config: MutationEffectsConfig,
    loaded: LoadedModel,
) -> str:
    name = "sample" if data is None else path.name.partition(".")[0].lower()
    of_assays = "none"
    if assays is not None:
        of_assays = f"{assays.name.partition('.')[0].lower()}-{hash_file(assays)[:8]}"
    return build_signature(
        {
            "task": TASK,
            "assays": of_assays,
            "data": f"{name}-{hash_structures(path)[:8]}",
            "rnas": len(rnas),
            "config": hash_settings(asdict(config)),
            **describe_bootstrap(config.bootstrap),
            "seed": config.seed,
            "ckpt": loaded.metadata["sha256"][:8],
            "numbers": VERSION_OF_NUMBERS,
        }
    )
