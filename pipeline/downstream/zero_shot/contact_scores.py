"""Scores of every pair of letters without a fitted head: attention, Jacobian, letters, ViennaRNA.

Shape suffixes: T tokens of one RNA, L its letters, C attention maps.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.alphabet import encode
from ....model.attention_maps import record_attention
from ....model.contacts import (
    MIN_SEPARATION,
    ContactProbe,
    build_pair_features,
    compute_precisions,
    fit_contact_probe,
    score_jacobian,
)
from ....model.jacobian import Predict, compute_jacobians
from ....model.masked_lm import MaskedLM
from ..structure import find_allowed_pairs

Scores = NDArray[np.float32]
"""Symmetric scores_LL: only their order, and one threshold for all RNAs, mean something."""
STACK_WEIGHTS = {"GC": 3, "AU": 2, "GU": 1}
"""Of a base pair in a helix: its hydrogen bonds, less one for the wobble."""


def compute_attention_features(model: MaskedLM, predict: Predict, sequence: str) -> Tensor:
    """Features_CLL of one forward pass of the RNA alone: symmetric maps after APC."""
    ids_T = encode(sequence)
    cu_seqlens = torch.tensor([0, len(ids_T)], dtype=torch.int32)
    with torch.inference_mode(), record_attention(model) as record:
        predict(ids_T, cu_seqlens, len(ids_T))
        return build_pair_features(record.read_maps(ids_T))


def fit_attention(
    features: Sequence[Tensor], is_paired: Sequence[NDArray[np.bool_]]
) -> tuple[ContactProbe, int]:
    """A logistic contact probe, and the one map that is most precise by itself on these RNAs."""
    labels = [
        torch.from_numpy(labels_LL).to(features_CLL.device)
        for labels_LL, features_CLL in zip(is_paired, features, strict=True)
    ]
    total_C = sum(
        compute_precisions(features_CLL, labels_LL)
        for features_CLL, labels_LL in zip(features, labels, strict=True)
    )
    return fit_contact_probe(features, labels), int(torch.as_tensor(total_C).argmax())


def compute_jacobian_scores(predict: Predict, sequence: str, *, max_tokens: int) -> Scores:
    """Contact scores_LL of the categorical Jacobian: three forward passes a letter, no labels."""
    [jacobian_L4L4] = compute_jacobians(predict, [encode(sequence)], max_tokens=max_tokens)
    return score_jacobian(jacobian_L4L4).cpu().numpy()


def standardise(scores_LL: Tensor | NDArray[np.floating]) -> Scores:
    """Mean 0 and variance 1 over the pairs that count: then RNAs can share a threshold.

    Scores that never vary become zeros.
    """
    scores = np.asarray(scores_LL.cpu() if isinstance(scores_LL, Tensor) else scores_LL, np.float64)
    counted = scores[np.triu_indices(len(scores), MIN_SEPARATION)]
    deviation = counted.std() if counted.size else 0.0
    if not deviation > 0:
        return np.zeros(scores.shape, np.float32)
    return ((scores - counted.mean()) / deviation).astype(np.float32)


def score_stems(sequence: str) -> Scores:
    """Weight of the longest run of stacked allowed pairs that (i, j) is in; 0 if it cannot pair.

    Knows the letters and nothing else: what a language model has to beat.
    """
    letters = np.array(list(sequence))
    weight_LL = np.zeros((len(letters), len(letters)), np.float32)
    for (left, right), weight in STACK_WEIGHTS.items():
        one_way = np.logical_and.outer(letters == left, letters == right)
        weight_LL[one_way | one_way.T] = weight
    weight_LL *= find_allowed_pairs(sequence)
    outer_LL, inner_LL = weight_LL.copy(), weight_LL.copy()
    for i in range(1, len(letters)):
        outer_LL[i, :-1] += outer_LL[i - 1, 1:] * (weight_LL[i, :-1] > 0)
        inner_LL[-i - 1, 1:] += inner_LL[-i, :-1] * (weight_LL[-i - 1, 1:] > 0)
    return np.where(weight_LL > 0, outer_LL + inner_LL - weight_LL, 0)


def compute_pair_probabilities(viennarna: ModuleType, sequence: str) -> Scores:
    """ViennaRNA's base-pair probabilities at 37 degrees, default parameters."""
    compound = viennarna.fold_compound(sequence)
    compound.pf()
    upper_LL = np.array(compound.bpp(), np.float32)[1:, 1:]
    return upper_LL + upper_LL.T
