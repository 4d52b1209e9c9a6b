"""Positions of packed tokens, restarting at every sequence, and their rotary tables.

Shape suffixes: B sequences, T packed tokens, K head dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels.reference import rotary_tables


class RotaryTables(NamedTuple):
    """What one forward pass computes once and every block's attention uses; fp32."""

    cos_TK2: Tensor
    sin_TK2: Tensor


def sequence_ids(cu_seqlens: Tensor, num_tokens: int) -> Tensor:
    """Index of the sequence each packed token belongs to, (T,)."""
    index_B = torch.arange(len(cu_seqlens) - 1, device=cu_seqlens.device)
    return index_B.repeat_interleave(cu_seqlens.diff(), output_size=num_tokens)


def build_position_ids(cu_seqlens: Tensor, sequence_ids_T: Tensor) -> Tensor:
    """Position of each token in its own sequence, 0 at the first, (T,)."""
    num_tokens = len(sequence_ids_T)
    return torch.arange(num_tokens, device=cu_seqlens.device) - cu_seqlens[sequence_ids_T]


def build_rotary_tables(position_ids_T: Tensor, head_dim: int) -> RotaryTables:
    """Tables for every packed token. Plain tensors, not buffers: an engine cannot cast them."""
    return RotaryTables(*rotary_tables(position_ids_T, head_dim))
