"""Packs of random queries, keys and values for tests of attention."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openrinalmo.kernels import reference
from support.triton_device import DEVICE

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionPack:
    """One call's inputs and the gradient of its output, on the tests' device."""

    q: Tensor
    k: Tensor
    v: Tensor
    grad: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    cos: Tensor
    sin: Tensor

    @property
    def inputs(self) -> list[Tensor]:
        """What the op differentiates by."""
        return [self.q, self.k, self.v]

    @property
    def magnitudes(self) -> list[float]:
        """For the output and the three gradients: the size of what is rounded to fp32 on the way.

        Each element of dq and dk is a difference of two dot products, which for one token are the
        same; the rounding of each goes with the sizes of what it adds.
        A weight is found again as 2**(score - lse), so dv inherits the rounding of an exponent.
        In units of the pack's own dtype, which may be coarser than that of the sums.
        """
        q, k, v, grad = (x.float() for x in (*self.inputs, self.grad))
        scale = q.shape[-1] ** -0.5
        weight_grad = (grad * v).abs().sum(-1).max() * scale
        term = weight_grad * torch.maximum(q.abs().max(), k.abs().max())
        exponent = q.norm(dim=-1).max() * k.norm(dim=-1).max() * scale * math.log2(math.e)
        unit = torch.finfo(torch.float32).eps / torch.finfo(self.q.dtype).eps
        found_again = exponent * grad.abs().max()
        return [0.0, *(unit * size.item() for size in (term, term, found_again))]


def draw_pack(
    lengths: list[int],
    *,
    head_dim: int,
    num_heads: int = 2,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> AttentionPack:
    """Normal numbers for sequences of these lengths."""
    gen = torch.Generator().manual_seed(seed)
    q, k, v, grad = torch.randn(4, sum(lengths), num_heads, head_dim, generator=gen)
    positions = torch.cat([torch.arange(length) for length in lengths]).to(DEVICE)
    cos, sin = reference.rotary_tables(positions, head_dim)
    return AttentionPack(
        q=q.to(DEVICE, dtype),
        k=k.to(DEVICE, dtype),
        v=v.to(DEVICE, dtype),
        grad=grad.to(DEVICE, dtype),
        cu_seqlens=torch.tensor([0, *lengths]).cumsum(0).int().to(DEVICE),
        max_seqlen=max(lengths),
        cos=cos,
        sin=sin,
    )
