"""Zero-shot structure probes of a model in training: does it link the letters that pair?

The model is never shown a structure. The RNAs are from the embedded sample, so a run on that sample
may have seen their sequences. Shape suffixes: T packed tokens, V vocabulary, L letters of one RNA,
C attention maps.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.attention_maps import record_attention
from ....model.contacts import (
    MIN_SEPARATION,
    build_pair_features,
    compute_auc,
    compute_precision,
    score_jacobian,
)
from ....model.jacobian import compute_jacobians
from ....model.masked_lm import MaskedLM
from ...ranks import Ranks, sum_over_ranks
from .probe_images import draw_pair_map
from .probe_scores import (
    average_families,
    compute_baselines,
    find_best_head,
    fit_probe,
    score_families,
)
from .probe_set import FIT_FAMILIES, HELD_OUT_FAMILIES, ProbeRna, read_probe_set

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How often the structure probes run, and on how many RNAs."""

    every_validations: int = 1
    """Run after every so many passes over the validation split; 0 for never."""
    rnas_per_family: int = 4
    """RNAs of each of three families to fit the attention probe to, and of three to score."""
    jacobian_rnas_per_family: int = 4
    """Of the scored RNAs, how many of each family get a categorical Jacobian, which takes three
    forward passes a letter; 0 for none."""
    max_length_nt: int = 200
    """Longer RNAs are passed over."""
    max_tokens_per_pack: int = 8_192
    """Budget of one forward pass of the Jacobian."""

    def __post_init__(self) -> None:
        if min(self.every_validations, self.jacobian_rnas_per_family) < 0:
            raise ValueError(
                "probes.every_validations and probes.jacobian_rnas_per_family must not be "
                f"negative, got {self.every_validations}, {self.jacobian_rnas_per_family}"
            )
        if self.rnas_per_family < 1 or self.max_tokens_per_pack < 1:
            raise ValueError(
                "probes.rnas_per_family and probes.max_tokens_per_pack must be positive, got "
                f"{self.rnas_per_family}, {self.max_tokens_per_pack}"
            )


class Probed(Protocol):
    """What the probes ask of an engine."""

    @property
    def model(self) -> MaskedLM:
        """The model whose blocks `predict_all` runs."""
        ...

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off."""
        ...

    def predict_all(self, ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Logits_TV of every token of a pack; under ZeRO-3 a collective call."""
        ...


class ProbeResult(NamedTuple):
    """What to track; empty but on rank 0."""

    scalars: dict[str, float]
    """Means over the held-out families."""
    by_family: dict[str, dict[str, float]]
    """The same, of each family by itself."""
    images: dict[str, NDArray[np.uint8]]
    """By tag, a picture (height, width, 3) of one RNA of each held-out family."""


class StructureProbes:
    """The fixed RNAs, and what a model's attention and Jacobian say about their pairs."""

    def __init__(self, config: ProbeConfig) -> None:
        self._config = config
        self._rnas = read_probe_set(
            rnas_per_family=config.rnas_per_family, max_length_nt=config.max_length_nt
        )
        lists = ((FIT_FAMILIES, self._rnas.fit), (HELD_OUT_FAMILIES, self._rnas.held_out))
        for families, found in lists:
            if not found:
                raise ValueError(
                    f"probes.max_length_nt={config.max_length_nt} leaves no RNA of "
                    f"{', '.join(families)}: give 120 or more, or probes.every_validations=0"
                )
        self._for_jacobian = _take_per_family(self._rnas.held_out, config.jacobian_rnas_per_family)

    def compute_baselines(self) -> dict[str, float]:
        """What the precisions are to be compared with; the same throughout a run."""
        return compute_baselines(self._rnas)

    def run(self, engine: Probed, ranks: Ranks) -> ProbeResult:
        """Probe the weights as they are; a collective call. Leaves the engine in training mode.

        Every rank makes the same forward passes for attention: they are few and short. Those of
        the Jacobian are shared out.
        """
        engine.train(False)
        with torch.no_grad():
            fit = [_compute_features(engine, rna, ranks) for rna in self._rnas.fit]
            held_out = [_compute_features(engine, rna, ranks) for rna in self._rnas.held_out]
            jacobians = compute_jacobians(
                engine.predict_all,
                [rna.ids_T.to(ranks.device) for rna in self._for_jacobian],
                max_tokens=self._config.max_tokens_per_pack,
                rank=ranks.rank,
                world_size=ranks.world_size,
            )
            jacobians = [sum_over_ranks(jacobian) for jacobian in jacobians]
        engine.train()
        result = ProbeResult({}, {}, {})
        if ranks.is_rank_zero:
            self._score_attention(fit, held_out, result)
            self._score_jacobians(jacobians, result)
        return result

    def _score_attention(
        self, fit: list[Tensor], held_out: list[Tensor], result: ProbeResult
    ) -> None:
        if not all(bool(features_CLL.isfinite().all()) for features_CLL in (*fit, *held_out)):
            logger.warning("structure probes: attention is not finite, so it has no score")
            result.scalars.update(attention_precision=math.nan, attention_auc=math.nan)
            return
        probe, head = fit_probe(fit, self._rnas.fit), find_best_head(fit, self._rnas.fit)
        probabilities = [probe.predict(features_CLL) for features_CLL in held_out]
        of_head = [features_CLL[head] for features_CLL in held_out]
        rnas = self._rnas.held_out
        precisions = score_families(compute_precision, probabilities, rnas)
        aucs = score_families(compute_auc, probabilities, rnas)
        result.scalars.update(
            attention_precision=average_families(precisions),
            attention_auc=average_families(aucs),
            best_head_precision=average_families(score_families(compute_precision, of_head, rnas)),
            best_head=head,
        )
        result.by_family.update(
            attention_precision_per_family=precisions, attention_auc_per_family=aucs
        )
        result.images.update(_draw("attention", probabilities, rnas))

    def _score_jacobians(self, jacobians: list[Tensor], result: ProbeResult) -> None:
        if not jacobians:
            return
        scores = [score_jacobian(jacobian_L4L4) for jacobian_L4L4 in jacobians]
        precisions = score_families(compute_precision, scores, self._for_jacobian)
        result.scalars.update(jacobian_precision=average_families(precisions))
        result.by_family.update(jacobian_precision_per_family=precisions)
        # Scores have no scale of their own: the strongest that counts is drawn darkest.
        counted = [scores_LL.triu(MIN_SEPARATION) for scores_LL in scores]
        strengths = [scores_LL / scores_LL.max().clamp(min=1e-30) for scores_LL in counted]
        result.images.update(_draw("jacobian", strengths, self._for_jacobian))


def _compute_features(engine: Probed, rna: ProbeRna, ranks: Ranks) -> Tensor:
    """Features_CLL from one forward pass of the RNA alone; a collective call."""
    ids_T = rna.ids_T.to(ranks.device)
    cu_seqlens = torch.tensor([0, len(ids_T)], dtype=torch.int32, device=ranks.device)
    # On every rank, though rank 0 alone scores: recording calls modules whose weights may be
    # sharded.
    with record_attention(engine.model) as record:
        engine.predict_all(ids_T, cu_seqlens, len(ids_T))
    return build_pair_features(record.read_maps(ids_T))


def _take_per_family(rnas: Sequence[ProbeRna], count: int) -> list[ProbeRna]:
    families = dict.fromkeys(rna.family for rna in rnas)
    return [rna for family in families for rna in [r for r in rnas if r.family == family][:count]]


def _draw(
    kind: str, strengths: Sequence[Tensor], rnas: Sequence[ProbeRna]
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of the first RNA of each family."""
    first = {rna.family: place for place, rna in reversed(list(enumerate(rnas)))}
    return {
        f"{kind}/{family}": draw_pair_map(
            strengths[place].float().cpu().numpy(), rnas[place].is_paired_LL.numpy()
        )
        for family, place in sorted(first.items())
    }
