"""Bidirectional attention on packed sequences: two differentiable ops over one set of kernels.

The mathematics, the choice of tiles and what is fused with what are in docs/kernels.md.

Shape suffixes: T packed tokens, H heads, K head dim; qkv_T3HK is the packed projection.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .attention_configs import HEAD_DIMS
from .attention_options import INTERPRETED, AttentionOptions
from .attention_passes import MAX_TOKEN_STRIDE, has_kernel_layout, run_backward, run_forward
from .attention_tiles import check_lengths
from .checks import check_rotary
from .rope import apply_rotary

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


class _Attention(torch.autograd.Function):
    """Saves rotated q and k, v, the output and one number a row; the weights are found again."""

    @staticmethod
    def forward(
        ctx: Any,
        q_THK: Tensor,
        k_THK: Tensor,
        v_THK: Tensor,
        cos_TK2: Tensor | None,
        sin_TK2: Tensor | None,
        cu_seqlens: Tensor,
        max_seqlen: int,
        options: AttentionOptions,
    ) -> Tensor:
        if cos_TK2 is not None and sin_TK2 is not None:
            q_THK = apply_rotary(q_THK, cos_TK2, sin_TK2)
            k_THK = apply_rotary(k_THK, cos_TK2, sin_TK2)
        out_THK, lse_HT = run_forward(q_THK, k_THK, v_THK, cu_seqlens, max_seqlen, options)
        ctx.save_for_backward(q_THK, k_THK, v_THK, out_THK, lse_HT, cos_TK2, sin_TK2, cu_seqlens)
        ctx.max_seqlen, ctx.options = max_seqlen, options
        return out_THK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_THK: Tensor) -> tuple[Tensor | None, ...]:
        dq_THK, dk_THK, dv_THK = (grad_THK.new_empty(grad_THK.shape) for _ in range(3))
        run_backward(
            ctx.saved_tensors, grad_THK, (dq_THK, dk_THK, dv_THK), ctx.max_seqlen, ctx.options
        )
        return dq_THK, dk_THK, dv_THK, None, None, None, None, None


class _RotaryAttention(torch.autograd.Function):
    """As `_Attention`, but one rotation turns q and k, and one tensor takes all gradients.

    Views of a projection would have theirs stacked by autograd, three more reads and writes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv_T3HK: Tensor,
        cos_TK2: Tensor,
        sin_TK2: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        options: AttentionOptions,
    ) -> Tensor:
        qk_THK = apply_rotary(qkv_T3HK[:, :2].flatten(1, 2), cos_TK2, sin_TK2)
        q_THK, k_THK = qk_THK.chunk(2, dim=1)
        v_THK = qkv_T3HK[:, 2]
        out_THK, lse_HT = run_forward(q_THK, k_THK, v_THK, cu_seqlens, max_seqlen, options)
        ctx.save_for_backward(q_THK, k_THK, v_THK, out_THK, lse_HT, cos_TK2, sin_TK2, cu_seqlens)
        ctx.max_seqlen, ctx.options = max_seqlen, options
        return out_THK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_THK: Tensor) -> tuple[Tensor | None, ...]:
        num_tokens, num_heads, head_dim = grad_THK.shape
        grad_T3HK = grad_THK.new_empty(num_tokens, 3, num_heads, head_dim)
        run_backward(ctx.saved_tensors, grad_THK, grad_T3HK.unbind(1), ctx.max_seqlen, ctx.options)
        return grad_T3HK, None, None, None, None, None


def attention(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    softmax_scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_seed: int = 0,
) -> Tensor:
    """Attend inside each packed sequence; the same call gives the same bits, backward too.

    `cu_seqlens` (B+1, int32) lies where q does, or on the CPU: there it is checked in full and the
    grid is exact. `cos` and `sin`, (T, K/2) in fp32, rotate q and k; they get no gradient.
    `dropout_seed` decides which weights are dropped: give every layer and step its own.
    """
    _check_inputs(q_THK, k_THK, v_THK, cu_seqlens, max_seqlen)
    if cos is not None or sin is not None:
        _check_tables(q_THK, cos, sin)
    options = _options(q_THK, softmax_scale, dropout_p, dropout_seed)
    return _Attention.apply(q_THK, k_THK, v_THK, cos, sin, cu_seqlens, max_seqlen, options)


def rotary_attention(
    qkv_T3HK: Tensor,
    cos: Tensor,
    sin: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    softmax_scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_seed: int = 0,
) -> Tensor:
    """`attention` from the packed projection, (T, 3, H, K) with rows [q | k | v], to (T, H, K)."""
    if qkv_T3HK.ndim != 4 or qkv_T3HK.shape[1] != 3:
        raise ValueError(f"qkv must be (tokens, 3, heads, head_dim), got {tuple(qkv_T3HK.shape)}")
    q_THK, k_THK, v_THK = qkv_T3HK.unbind(1)
    _check_inputs(q_THK, k_THK, v_THK, cu_seqlens, max_seqlen)
    _check_tables(q_THK, cos, sin)
    options = _options(q_THK, softmax_scale, dropout_p, dropout_seed)
    return _RotaryAttention.apply(qkv_T3HK, cos, sin, cu_seqlens, max_seqlen, options)


def _options(
    q_THK: Tensor, softmax_scale: float | None, dropout_p: float, dropout_seed: int
) -> AttentionOptions:
    return AttentionOptions(
        softmax_scale=q_THK.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale,
        dropout_p=dropout_p,
        dropout_seed=dropout_seed,
    )


def _check_inputs(
    q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, cu_seqlens: Tensor, max_seqlen: int
) -> None:
    if q_THK.ndim != 3 or q_THK.shape[-1] not in HEAD_DIMS:
        raise ValueError(
            "q must be (tokens, heads, head_dim) with a head_dim of "
            f"{', '.join(map(str, HEAD_DIMS))}; got {tuple(q_THK.shape)}"
        )
    if q_THK.dtype not in DTYPES:
        raise ValueError(f"q must be in bfloat16, float16 or float32, got {q_THK.dtype}")
    if q_THK.device.type != "cuda" and not INTERPRETED:
        raise ValueError(
            f"the Triton kernels need a CUDA device and q is on {q_THK.device}; "
            "reference.attention runs anywhere"
        )
    for name, x_THK in (("q", q_THK), ("k", k_THK), ("v", v_THK)):
        found = (tuple(x_THK.shape), x_THK.dtype, x_THK.device)
        expected = (tuple(q_THK.shape), q_THK.dtype, q_THK.device)
        if found != expected:
            raise ValueError(
                f"{name} must be {expected[0]} in {expected[1]} on {expected[2]} like q, got "
                f"{found[0]} in {found[1]} on {found[2]}"
            )
        if not has_kernel_layout(x_THK):
            raise ValueError(
                f"{name} must have its channels together, every head on a multiple of 8 elements "
                f"and tokens less than {MAX_TOKEN_STRIDE:,} elements apart, got strides "
                f"{x_THK.stride()}; call .contiguous() on it"
            )
    if cu_seqlens.dtype != torch.int32 or cu_seqlens.ndim != 1 or len(cu_seqlens) < 2:
        raise ValueError(
            "cu_seqlens must be a one-dimensional int32 tensor of number of sequences + 1, got "
            f"{cu_seqlens.dtype} {tuple(cu_seqlens.shape)}"
        )
    if cu_seqlens.device not in (q_THK.device, torch.device("cpu")):
        raise ValueError(
            f"cu_seqlens must be on {q_THK.device} like q, or on the CPU; got {cu_seqlens.device}"
        )
    check_lengths(cu_seqlens, len(q_THK), max_seqlen)


def _check_tables(q_THK: Tensor, cos: Tensor | None, sin: Tensor | None) -> None:
    if cos is None or sin is None:
        raise ValueError(f"cos and sin come together, got no {'cos' if cos is None else 'sin'}")
    check_rotary(q_THK, cos, sin)
    for name, table in (("cos", cos), ("sin", sin)):
        if table.dtype != torch.float32 or not table.is_contiguous():
            raise ValueError(
                f"{name} must be contiguous float32, got {table.dtype} with strides "
                f"{table.stride()}"
            )
