"""Scores of the structure probes by family, and what is scored without any model.

Shape suffixes: L letters of one RNA, C features.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ....model.contacts import (
    ContactProbe,
    compute_auc,
    compute_precision,
    compute_precisions,
    fit_contact_probe,
)
from .probe_set import ProbeRna, ProbeSet

_PAIR_KINDS = ("AU", "CG", "GU")


def score_families(
    metric: Callable[[Tensor, Tensor], float], scores: Sequence[Tensor], rnas: Sequence[ProbeRna]
) -> dict[str, float]:
    """Mean of a metric of scores_LL and is_paired_LL over the RNAs of each family."""
    values: dict[str, list[float]] = defaultdict(list)
    for scores_LL, rna in zip(scores, rnas, strict=True):
        values[rna.family].append(metric(scores_LL, rna.is_paired_LL.to(scores_LL.device)))
    return {family: sum(group) / len(group) for family, group in values.items()}


def average_families(by_family: dict[str, float]) -> float:
    """Mean in which every family counts alike."""
    return sum(by_family.values()) / len(by_family)


def fit_probe(features: Sequence[Tensor], rnas: Sequence[ProbeRna]) -> ContactProbe:
    """Fit a contact probe to the known pairs."""
    return fit_contact_probe(features, [rna.is_paired_LL.to(features[0].device) for rna in rnas])


def find_best_head(features: Sequence[Tensor], rnas: Sequence[ProbeRna]) -> int:
    """The map that is the most precise by itself on these RNAs: those the probe is fitted to."""
    total_C = sum(
        compute_precisions(features_CLL, rna.is_paired_LL.to(features_CLL.device))
        for features_CLL, rna in zip(features, rnas, strict=True)
    )
    return int(torch.as_tensor(total_C).argmax())


def compute_baselines(rnas: ProbeSet) -> dict[str, float]:
    """Precision and AUC on the held-out RNAs without a model, as `positions_auc` and so on.

    `random` is any order; `positions` a probe that knows where i and j are; `letters` one that
    also knows what stands there and next to it: could they pair, and stack on another pair?
    """
    scores = {"random": [torch.zeros(rna.is_paired_LL.shape) for rna in rnas.held_out]}
    for name, describe in (("positions", _describe_positions), ("letters", _describe_letters)):
        probe = fit_probe([describe(rna.sequence) for rna in rnas.fit], rnas.fit)
        scores[name] = [probe.predict(describe(rna.sequence)) for rna in rnas.held_out]
    metrics = {"precision": compute_precision, "auc": compute_auc}
    return {
        f"{name}_{metric}": average_families(score_families(metrics[metric], each, rnas.held_out))
        for name, each in scores.items()
        for metric in metrics
    }


def _describe_positions(sequence: str) -> Tensor:
    """Features_CLL of how far apart two letters are, and how far from the middle."""
    place = torch.arange(len(sequence), dtype=torch.float64)
    distance_LL = (place[:, None] - place[None, :]).abs()
    share_LL = distance_LL / len(sequence)
    middle_LL = (place[:, None] + place[None, :]) / (len(sequence) - 1) - 1
    logarithm_LL = distance_LL.clamp(min=1).log()
    return torch.stack([share_LL, share_LL**2, logarithm_LL, middle_LL, middle_LL**2])


def _describe_letters(sequence: str) -> Tensor:
    """The same, with the kind of pair (i, j) could be, and whether its neighbours could be one."""
    kinds = [
        [["".join(sorted(a + b)) == kind for b in sequence] for a in sequence]
        for kind in _PAIR_KINDS
    ]
    kinds_CLL = torch.tensor(kinds, dtype=torch.float64)
    could_pair_LL = kinds_CLL.sum(0)
    padded_LL = F.pad(could_pair_LL, (1, 1, 1, 1))
    outer_LL = could_pair_LL * padded_LL[:-2, 2:]  # of i - 1 and j + 1
    inner_LL = could_pair_LL * padded_LL[2:, :-2]
    stacks_CLL = torch.stack([outer_LL, inner_LL, outer_LL * inner_LL])
    return torch.cat([_describe_positions(sequence), kinds_CLL, stacks_CLL])
