"""From attention maps or a categorical Jacobian to contact scores, and how right they are.

Shape suffixes: L letters of one RNA, P pairs of letters, C maps (every head of every block), 4
nucleotides. A digit or letter repeats: features_CLL is (C, L, L).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import alphabet

MIN_SEPARATION = 4
"""Smallest j - i of a pair that is scored: a hairpin has three unpaired bases or more."""


def find_letters(ids_T: Tensor) -> Tensor:
    """Indices of an RNA's tokens that are letters: a window may lack `<cls>` or `<eos>`."""
    is_special_T = (ids_T == alphabet.CLS) | (ids_T == alphabet.EOS) | (ids_T == alphabet.PAD)
    return (~is_special_T).nonzero()[:, 0]


def correct_average_product(maps_LL: Tensor) -> Tensor:
    """Subtract row mean * column mean / mean from each map (APC, Dunn et al. 2008).

    Leading dimensions are maps of their own. Values must not be negative; a map of zeros stays so.
    """
    rows, columns = maps_LL.mean(-1, keepdim=True), maps_LL.mean(-2, keepdim=True)
    mean = maps_LL.mean((-2, -1), keepdim=True)
    return maps_LL - torch.where(mean > 0, rows * columns / mean, 0.0)


def build_pair_features(maps_CLL: Tensor) -> Tensor:
    """Attention maps made symmetric, then APC (Rao et al. 2020): one feature a map."""
    return correct_average_product(maps_CLL + maps_CLL.mT)


def score_jacobian(jacobian_L4L4: Tensor) -> Tensor:
    """Contact scores_LL of a categorical Jacobian: centred, symmetric, Frobenius norm, APC.

    Any real numbers: only their order means something.
    """
    for axis in range(4):
        jacobian_L4L4 = jacobian_L4L4 - jacobian_L4L4.mean(axis, keepdim=True)
    symmetric_L4L4 = (jacobian_L4L4 + jacobian_L4L4.permute(2, 3, 0, 1)) / 2
    norm_LL = symmetric_L4L4.square().sum((1, 3)).sqrt()
    norm_LL.fill_diagonal_(0)
    return correct_average_product(norm_LL)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContactProbe:
    """Logistic regression on the features of a pair."""

    weight_C: Tensor
    bias: Tensor

    def predict(self, features_CLL: Tensor) -> Tensor:
        """Symmetric contact_probs_LL, fp32; zero for pairs too near to have been fitted."""
        logits_LL = torch.einsum("c,cij->ij", self.weight_C.to(features_CLL), features_CLL)
        probs_LL = torch.sigmoid(logits_LL + self.bias.to(features_CLL)).triu(MIN_SEPARATION)
        return probs_LL + probs_LL.T


def fit_contact_probe(
    features: Sequence[Tensor], is_paired: Sequence[Tensor], *, l2: float = 1e-3
) -> ContactProbe:
    """Fit to features_CLL and is_paired_LL of a few RNAs; every pair counts alike.

    Minimises mean cross-entropy + l2 / 2 * |weights|**2 for features of variance 1, in fp64 from
    zeros: the same inputs give the same probe. A feature that never varies gets weight 0.
    """
    rows_PC = torch.cat([_select_pairs(features_CLL).T for features_CLL in features]).double()
    labels_P = torch.cat([_select_pairs(is_paired_LL) for is_paired_LL in is_paired]).double()
    if len(rows_PC) != len(labels_P):
        raise ValueError(f"features have {len(rows_PC)} pairs, labels {len(labels_P)}")
    if not labels_P.any() or labels_P.all():
        raise ValueError("a contact probe needs paired and unpaired letters to be fitted to")
    if not rows_PC.isfinite().all():
        raise ValueError("features of a contact probe must be finite numbers")
    mean_C, deviation_C = rows_PC.mean(0), rows_PC.std(0, correction=0)
    scale_C = torch.where(deviation_C > 1e-12, 1 / deviation_C, 0.0)
    rows_PC.sub_(mean_C).mul_(scale_C)

    weight_C = torch.zeros_like(mean_C, requires_grad=True)
    bias = torch.logit(labels_P.mean()).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight_C, bias], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(rows_PC @ weight_C + bias, labels_P)
        loss = loss + l2 / 2 * weight_C.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(compute_loss)
    unscaled_C = weight_C.detach() * scale_C
    return ContactProbe(weight_C=unscaled_C, bias=bias.detach() - unscaled_C @ mean_C)


def compute_precision(scores_LL: Tensor, is_paired_LL: Tensor) -> float:
    """Share of true pairs among the N best-scored, N being the number of true pairs.

    Only the upper triangle counts, from `MIN_SEPARATION` on. Of equal scores that straddle rank N
    each counts by its chance, so scores that are all equal give the density of pairs. NaN where
    there is no pair, or a score is NaN.
    """
    return float(compute_precisions(scores_LL[None], is_paired_LL)[0])


def compute_precisions(maps_CLL: Tensor, is_paired_LL: Tensor) -> Tensor:
    """`compute_precision` of each map by itself, (C,) in fp64."""
    scores_CP, is_paired_P = _select_pairs(maps_CLL), _select_pairs(is_paired_LL).bool()
    num_pairs = int(is_paired_P.sum())
    if not num_pairs:
        return torch.full((len(maps_CLL),), math.nan, dtype=torch.float64, device=maps_CLL.device)
    threshold_C1 = scores_CP.topk(num_pairs, dim=1).values[:, -1:]
    is_above_CP, is_level_CP = scores_CP > threshold_C1, scores_CP == threshold_C1
    share_open_C = (num_pairs - is_above_CP.sum(1)) / is_level_CP.sum(1).double()
    hits_C = (is_above_CP & is_paired_P).sum(1) + share_open_C * (is_level_CP & is_paired_P).sum(1)
    return torch.where(scores_CP.isnan().any(1), math.nan, hits_C / num_pairs)


def compute_auc(scores_LL: Tensor, is_paired_LL: Tensor) -> float:
    """Chance that a pair scores higher than a non-pair; equal scores count half.

    Over the same pairs as `compute_precision`. NaN where one kind is absent, or a score is NaN.
    """
    scores_P, is_paired_P = _select_pairs(scores_LL), _select_pairs(is_paired_LL).bool()
    pairs, others = scores_P[is_paired_P], scores_P[~is_paired_P].sort().values
    if not len(pairs) or not len(others) or scores_P.isnan().any():
        return math.nan
    lower = torch.searchsorted(others, pairs, right=False)
    lower_or_level = torch.searchsorted(others, pairs, right=True)
    return float((lower + lower_or_level).double().mean() / 2 / len(others))


def _select_pairs(maps_LL: Tensor) -> Tensor:
    """The pairs i, j with j - i >= MIN_SEPARATION of the last two dimensions, flattened to P."""
    i, j = torch.triu_indices(*maps_LL.shape[-2:], offset=MIN_SEPARATION, device=maps_LL.device)
    return maps_LL[..., i, j]
