"""Rotary position embedding on packed tokens: Triton kernel, launcher, differentiable op.

q and k of a packed projection are one input of twice the heads, so both turn in one launch.

Shape suffixes: T packed tokens, H heads, K head dim.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .checks import check_kernel_dtype, check_rotary
from .launching import with_unit_columns

BLOCK_HEADS = 8
TILE = 2048
"""Pairs a program turns: at 128 threads, four 128-bit loads of bf16 in flight in each."""
NUM_WARPS = 4


@triton.jit
def _rotate_kernel(
    x_ptr,
    out_ptr,
    cos_ptr,
    sin_ptr,
    num_tokens,
    x_stride_t,
    x_stride_h,
    out_stride_t,
    out_stride_h,
    NUM_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
    CONJUGATE: tl.constexpr,
):
    """One program turns BLOCK_H heads of BLOCK_T tokens; CONJUGATE turns the other way."""
    first_token = tl.program_id(0).to(tl.int64) * BLOCK_T  # token * stride passes 2**31
    token = first_token + tl.arange(0, BLOCK_T)[:, None, None]
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :, None]
    half = tl.arange(0, BLOCK_HALF)[None, None, :]
    in_table = token < num_tokens
    if HALF != BLOCK_HALF:
        in_table = in_table & (half < HALF)
    mask = in_table
    if NUM_HEADS % BLOCK_H != 0:
        mask = mask & (head < NUM_HEADS)

    cos = tl.load(cos_ptr + token * HALF + half, mask=in_table, other=1.0).to(tl.float32)
    sin = tl.load(sin_ptr + token * HALF + half, mask=in_table, other=0.0).to(tl.float32)
    if CONJUGATE:
        sin = -sin

    x_ptrs = x_ptr + token * x_stride_t + head * x_stride_h + half
    left = tl.load(x_ptrs, mask=mask, other=0.0).to(tl.float32)
    right = tl.load(x_ptrs + HALF, mask=mask, other=0.0).to(tl.float32)
    out_ptrs = out_ptr + token * out_stride_t + head * out_stride_h + half
    tl.store(out_ptrs, (left * cos - right * sin).to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(out_ptrs + HALF, (left * sin + right * cos).to(out_ptr.dtype.element_ty), mask=mask)


def rotate_options(num_heads: int, head_dim: int) -> dict[str, Any]:
    """The kernel's tile for these heads, and its warps."""
    half = head_dim // 2
    block_half = triton.next_power_of_2(half)
    block_heads = min(BLOCK_HEADS, triton.next_power_of_2(num_heads))
    return {
        "NUM_HEADS": num_heads,
        "HALF": half,
        "BLOCK_T": max(1, TILE // (block_heads * block_half)),
        "BLOCK_H": block_heads,
        "BLOCK_HALF": block_half,
        "num_warps": NUM_WARPS,
    }


def _launch_rotate(x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor, *, conjugate: bool) -> Tensor:
    num_tokens, num_heads, head_dim = x_THK.shape
    x_THK = with_unit_columns(x_THK)
    cos_TK2, sin_TK2 = cos_TK2.contiguous(), sin_TK2.contiguous()
    out_THK = torch.empty(x_THK.shape, dtype=x_THK.dtype, device=x_THK.device)
    if out_THK.numel() == 0:
        return out_THK
    options = rotate_options(num_heads, head_dim)
    grid = (
        triton.cdiv(num_tokens, options["BLOCK_T"]),
        triton.cdiv(num_heads, options["BLOCK_H"]),
    )
    with torch.cuda.device_of(x_THK):
        _rotate_kernel[grid](
            x_THK,
            out_THK,
            cos_TK2,
            sin_TK2,
            num_tokens,
            x_THK.stride(0),
            x_THK.stride(1),
            out_THK.stride(0),
            out_THK.stride(1),
            CONJUGATE=conjugate,
            **options,
        )
    return out_THK


class _Rotate(torch.autograd.Function):
    """A rotation's inverse is its transpose, so backward is the same kernel, conjugated."""

    @staticmethod
    def forward(ctx: Any, x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TK2, sin_TK2)
        return _launch_rotate(x_THK, cos_TK2, sin_TK2, conjugate=False)

    @staticmethod
    def backward(ctx: Any, grad_THK: Tensor) -> tuple[Tensor, None, None]:
        return _launch_rotate(grad_THK, *ctx.saved_tensors, conjugate=True), None, None


def apply_rotary(x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor) -> Tensor:
    """Rotate each head of `x_THK` by its token's angle; half-split (GPT-NeoX) pairing.

    Tokens and heads may have any stride. No gradient flows to the tables.
    """
    check_rotary(x_THK, cos_TK2, sin_TK2)
    check_kernel_dtype("rotary", x_THK)
    return _Rotate.apply(x_THK, cos_TK2, sin_TK2)
