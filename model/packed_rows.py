"""Convolution, norm and mean within each sequence of a pack, without padding.

Shape suffixes: T rows of all sequences, N sequences, D embed_dim, C channels. lengths_N holds how
many rows each sequence has.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_EPS = 1e-5


class RowLayout(NamedTuple):
    """Which rows of a pack belong together."""

    lengths_N: Tensor
    sequence_of_T: Tensor
    is_first_T1: Tensor
    is_last_T1: Tensor


def lay_out_rows(lengths_N: Tensor) -> RowLayout:
    """Layout of sequences of these many rows, one after the other."""
    numbers_N = torch.arange(len(lengths_N), device=lengths_N.device)
    sequence_of_T = numbers_N.repeat_interleave(lengths_N)
    is_border = sequence_of_T.diff(prepend=sequence_of_T.new_tensor([-1])) != 0
    return RowLayout(
        lengths_N, sequence_of_T, is_border[:, None], is_border.roll(-1)[:, None]
    )  # the pack's first row is a border, so rolling makes its last row one


def convolve_rows(x_TC: Tensor, weight_CC3: Tensor, layout: RowLayout) -> Tensor:
    """Three-row convolution within each sequence, zeros beyond its ends, as one matrix product."""
    before_TC = F.pad(x_TC, (0, 0, 1, 0))[:-1].masked_fill(layout.is_first_T1, 0.0)
    after_TC = F.pad(x_TC, (0, 0, 0, 1))[1:].masked_fill(layout.is_last_T1, 0.0)
    return F.linear(torch.cat([before_TC, x_TC, after_TC], 1), weight_CC3.mT.flatten(1))


def normalize_rows(x_TC: Tensor, layout: RowLayout) -> Tensor:
    """Instance norm without parameters: each channel over the rows of its own sequence."""
    # Statistics in fp32 at least; indexing, unlike index_select, adds gradients in a fixed order.
    wide_TC = x_TC.to(torch.promote_types(x_TC.dtype, torch.float32))
    centred_TC = wide_TC - average_rows(wide_TC, layout.lengths_N)[layout.sequence_of_T]
    variance_NC = average_rows(centred_TC.square(), layout.lengths_N)
    scale_NC = (variance_NC + NORM_EPS).rsqrt()
    return (centred_TC * scale_NC[layout.sequence_of_T]).to(x_TC.dtype)


def average_rows(x_TC: Tensor, lengths_N: Tensor) -> Tensor:
    """Mean (N, C) over the rows of each sequence, summed in fp32 at least."""
    wide_TC = x_TC.to(torch.promote_types(x_TC.dtype, torch.float32))
    return torch.segment_reduce(wide_TC, "mean", lengths=lengths_N, axis=0).to(x_TC.dtype)


def measure_lengths(rows_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Rows of each sequence, int64; a `ValueError` where they are not the pack's."""
    lengths_N = cu_seqlens.diff().long()
    if not len(lengths_N) or int(cu_seqlens[0]) or int(cu_seqlens[-1]) != len(rows_TD):
        raise ValueError(
            f"cu_seqlens must run from 0 to the {len(rows_TD)} rows, got {cu_seqlens.tolist()[:8]}"
        )
    if int(lengths_N.min()) < 1:
        raise ValueError(f"sequence {int(lengths_N.argmin())} of the pack has no rows: drop it")
    return lengths_N
