"""Several RNAs in one pass of the base-pair head: which go together, and what keeps them apart.

Shape suffixes: N RNAs of a group, C channels, L nucleotides of its longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class PairHeadConfig:
    """How the head runs, never what it computes."""

    max_group_pairs: int = 2**18
    """Places of all pair maps of one group, padding included; a longer RNA is a group of its own.
    64 channels in fp32 and the maps that backward needs take 3.5 kB a place: 0.9 GiB."""
    max_padding: float = 0.25
    """Largest share of padding in an RNA's place in its group."""
    group_on_cpu: bool = False
    """A CPU gains nothing: forward and gradient of eight RNAs of 70 to 84 nt take 0.36 s one by one
    and 0.59 s in a group. Groups are for a GPU, where small maps wait for launches."""
    recompute_above_pairs: int = 2**20
    """In groups of more places, backward runs each block again rather than keep its maps."""

    def __post_init__(self) -> None:
        for name in ("max_group_pairs", "recompute_above_pairs"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"pair_head.{name} must not be negative, got {getattr(self, name)}"
                )
        if not 0 <= self.max_padding < 1:
            raise ValueError(f"pair_head.max_padding must be in [0, 1), got {self.max_padding}")


def group_by_length(
    lengths: Sequence[int], config: PairHeadConfig, *, on_cpu: bool
) -> list[list[int]]:
    """Indices of RNAs that share a pass of the head, the longest first; each is in one group."""
    if on_cpu and not config.group_on_cpu:
        return [[index] for index in range(len(lengths))]
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        if (
            groups
            and (len(groups[-1]) + 1) * longest**2 <= config.max_group_pairs
            and length**2 >= (1 - config.max_padding) * longest**2
        ):
            groups[-1].append(index)
        else:
            groups.append([index])
            longest = length
    return groups


def mark_inside(lengths: Sequence[int], device: torch.device) -> Tensor | None:
    """Mask (N, 1, L, L) of each RNA's own pairs; None where all are of one length."""
    longest = max(lengths)
    if min(lengths) == longest:
        return None
    lengths_N = torch.tensor(lengths, device=device)
    is_inside_NL = torch.arange(longest, device=device) < lengths_N[:, None]
    return (is_inside_NL[:, :, None] & is_inside_NL[:, None, :])[:, None]


def normalize_inside(pair_NCLL: Tensor, is_inside_N1LL: Tensor) -> Tensor:
    """Instance norm without parameters over each RNA's own pairs; zero outside.

    Outside the input must be zero.
    """
    wide_NCLL = pair_NCLL.to(torch.promote_types(pair_NCLL.dtype, torch.float32))
    area_N111 = is_inside_N1LL.sum((2, 3), keepdim=True)
    mean_NC11 = wide_NCLL.sum((2, 3), keepdim=True) / area_N111
    centred_NCLL = (wide_NCLL - mean_NC11) * is_inside_N1LL
    variance_NC11 = centred_NCLL.square().sum((2, 3), keepdim=True) / area_N111
    return (centred_NCLL * (variance_NC11 + NORM_EPS).rsqrt()).to(pair_NCLL.dtype)
