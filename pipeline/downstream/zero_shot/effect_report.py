"""From scores of variants, measured or exchanged, to a report's rows, gains, notes and tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from ..scores.bootstrap import BootstrapConfig
from ..task_report import PairedGain, Score
from .assay_scores import MUTATION_COUNT, ByAssay, build_assay_gain, build_assay_scores
from .compensation import EPISTASIS, ExchangedRna
from .masked_models import PRETRAINED, RANDOM
from .substitution_scores import TAKES_INDELS, Convention
from .unit_scores import ByFamily, build_gains, build_scores
from .variant_tables import Assay
from .zero_shot_settings import MutationEffectsConfig


class EffectRows(NamedTuple):
    """What one system says under one convention."""

    variants: ByAssay
    assays: list[Score]
    by_metric: Mapping[str, ByFamily]
    """Values of single RNAs of the compensation check, by metric and family."""
    compensation: list[Score]

    @property
    def scores(self) -> list[Score]:
        """Rows of the report."""
        return [*self.assays, *self.compensation]


Rows = Mapping[tuple[str, Convention], EffectRows]
"""By system and convention."""


def build_effect_rows(
    variants: ByAssay,
    by_metric: Mapping[str, ByFamily],
    tables: Sequence[Assay],
    config: MutationEffectsConfig,
    *,
    system: str,
    convention: Convention,
) -> EffectRows:
    """Rows of assays and of the compensation check, which is primary where there is no assay."""
    assays = build_assay_scores(
        tables,
        variants,
        config.bootstrap,
        system=system,
        regime=name_regime(convention),
        is_primary=convention == config.primary_assay_convention,
    )
    compensation: list[Score] = []
    for metric, by_family in by_metric.items():
        is_primary = convention == config.primary_compensation_convention and metric == EPISTASIS
        if by_family:
            compensation += build_scores(
                by_family,
                config.bootstrap,
                system=system,
                regime=name_regime(convention),
                metric=metric,
                is_primary=is_primary and not tables,
            )
    return EffectRows(variants, assays, by_metric, compensation)


def build_effect_gains(
    rows: Rows, counted: Sequence[Score], config: BootstrapConfig
) -> list[PairedGain]:
    """The pretrained model less its random twin under the same convention, and less counting."""
    gains: list[PairedGain] = []
    for (system, convention), own in rows.items():
        if system != PRETRAINED:
            continue
        name, other_name = (f"{one} ({name_regime(convention)})" for one in (PRETRAINED, RANDOM))
        gains += build_assay_gain(own.assays, counted, config, system=name, baseline=MUTATION_COUNT)
        theirs = rows.get((RANDOM, convention))
        if theirs is None:
            continue
        gains += build_assay_gain(
            own.assays, theirs.assays, config, system=name, baseline=other_name
        )
        for metric, by_family in own.by_metric.items():
            if by_family:
                gains += build_gains(
                    by_family,
                    theirs.by_metric[metric],
                    config,
                    system=name,
                    baseline=other_name,
                    metric=metric,
                )
    return gains


def build_effect_notes(rnas: Sequence[ExchangedRna], tables: Sequence[Assay]) -> list[str]:
    """Sentences on what the scores mean, and on variants that some or all conventions leave out."""
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


def iter_exchanged_rows(rows: Rows, rnas: Sequence[ExchangedRna]) -> Iterator[dict[str, object]]:
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


def iter_variant_rows(rows: Rows, tables: Sequence[Assay]) -> Iterator[dict[str, object]]:
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


def name_regime(convention: Convention) -> str:
    """A convention as the table names it."""
    return f"zero-shot: {convention}"
