"""SwiGLU feed-forward, stored at an aligned width that computes the published one exactly.

Shape suffixes: T packed tokens, D embed_dim, F stored feed-forward width, E = 2F
[activated branch | plain branch].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.backend import REFERENCE

WIDTH_MULTIPLE = 64
"""Stored width is a multiple of this: rows of 3413 bf16 values are not 16-byte aligned, which
keeps tensor cores and bulk copies from them."""


def aligned_width(ffn_dim: int) -> int:
    """Smallest stored width that holds `ffn_dim` neurons."""
    return math.ceil(ffn_dim / WIDTH_MULTIPLE) * WIDTH_MULTIPLE


class FeedForward(nn.Module):
    """Gate with bias and a learnable beta, then a projection back.

    The neurons past `ffn_dim` have zero weights in and out: they give zero, their gradients are
    zero, and no optimizer with zero gradients moves a zero. So the function is that of the
    published width, and the export drops them.
    """

    def __init__(self, embed_dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.ffn_dim = ffn_dim
        self.backend = REFERENCE
        stored = aligned_width(ffn_dim)
        self.activated_and_gate = nn.Parameter(torch.zeros(2 * stored, embed_dim))
        """Rows [activated branch | plain branch]: one matrix product for both."""
        self.activated_and_gate_bias = nn.Parameter(torch.zeros(2 * stored))
        self.beta = nn.Parameter(torch.ones(1))
        self.out = nn.Parameter(torch.zeros(embed_dim, stored))
        self.out_bias = nn.Parameter(torch.zeros(embed_dim))
        self._init_weights(embed_dim)

    def _init_weights(self, embed_dim: int) -> None:
        """Draw the published neurons as `nn.Linear` does at the published widths."""
        stored = self.out.shape[1]
        with torch.no_grad():
            for first in (0, stored):
                rows = slice(first, first + self.ffn_dim)
                bound = 1 / math.sqrt(embed_dim)
                self.activated_and_gate[rows].uniform_(-bound, bound)
                self.activated_and_gate_bias[rows].uniform_(-bound, bound)
            bound = 1 / math.sqrt(self.ffn_dim)
            self.out[:, : self.ffn_dim].uniform_(-bound, bound)
            self.out_bias.uniform_(-bound, bound)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform each token by itself."""
        hidden_TE = F.linear(x_TD, self.activated_and_gate)
        gated_TF = self.backend.swiglu(hidden_TE, self.beta, self.activated_and_gate_bias)
        return F.linear(gated_TF, self.out, self.out_bias)
