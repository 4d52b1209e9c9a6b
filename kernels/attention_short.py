"""Attention of sequences that fit one tile: one program has a whole sequence of one head on chip.

No online softmax, and a backward of five matrix products instead of seven: with all keys at hand
it needs neither the output nor delta.

Shape suffixes: T packed tokens, H heads, K head dim, N tiles.
"""

import triton
import triton.language as tl
from torch import Tensor

from .attention_blocks import dropout_keeps, head_offset, load_tile, store_tile, turn_back
from .attention_configs import Tiling
from .attention_options import LOG2_E, AttentionOptions, launch, strides_of


@triton.jit(do_not_specialize=["num_tokens", "seed"])
def _short_forward_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    lse_ptr,
    tiles_ptr,
    q_stride_t,
    q_stride_h,
    k_stride_t,
    k_stride_h,
    v_stride_t,
    v_stride_h,
    out_stride_t,
    out_stride_h,
    num_tokens,
    scale_log2,
    seed,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One program is one head of one sequence of up to BLOCK tokens."""
    tiles_ptr += tl.program_id(0) * 3
    begin = tl.load(tiles_ptr + 1)
    end = tl.load(tiles_ptr + 2)
    if begin >= end:  # an unused slot of the list
        return
    head = tl.program_id(1)
    q_ptr += head_offset(head, q_stride_h)
    k_ptr += head_offset(head, k_stride_h)
    v_ptr += head_offset(head, v_stride_h)
    out_ptr += head_offset(head, out_stride_h)
    lse_ptr += head.to(tl.int64) * num_tokens

    q = load_tile(q_ptr, begin, end, q_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    k = load_tile(k_ptr, begin, end, k_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    v = load_tile(v_ptr, begin, end, v_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    token = begin + tl.arange(0, BLOCK)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    scores = tl.where(token[None, :] < end, scores, float("-inf"))
    row_max = tl.max(scores, 1) * scale_log2
    weights = tl.exp2(scores * scale_log2 - row_max[:, None])
    row_sum = tl.sum(weights, 1)
    if DROP_BELOW > 0:
        keeps = dropout_keeps(token[:, None], token[None, :], head, seed, DROP_BELOW)
        weights = tl.where(keeps, weights, 0.0)
    out = tl.dot(weights.to(COMPUTE), v, input_precision="ieee")
    out = out / (row_sum * (1 - DROP_BELOW / (1 << 24)))[:, None]
    store_tile(out, out_ptr, begin, end, out_stride_t, BLOCK, HEAD_DIM, COLUMNS)
    tl.store(lse_ptr + token, row_max + tl.log2(row_sum), mask=token < end)


@triton.jit(do_not_specialize=["num_tokens", "seed"])
def _short_backward_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    grad_ptr,
    lse_ptr,
    dq_ptr,
    dk_ptr,
    dv_ptr,
    cos_ptr,
    sin_ptr,
    tiles_ptr,
    q_stride_t,
    q_stride_h,
    k_stride_t,
    k_stride_h,
    v_stride_t,
    v_stride_h,
    grad_stride_t,
    grad_stride_h,
    dq_stride_t,
    dq_stride_h,
    dk_stride_t,
    dk_stride_h,
    dv_stride_t,
    dv_stride_h,
    num_tokens,
    scale,
    scale_log2,
    seed,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    ROTARY: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One program finds dq, dk and dv of one head of one sequence; scores are keys by queries."""
    tiles_ptr += tl.program_id(0) * 3
    begin = tl.load(tiles_ptr + 1)
    end = tl.load(tiles_ptr + 2)
    if begin >= end:  # an unused slot of the list
        return
    head = tl.program_id(1)
    q_ptr += head_offset(head, q_stride_h)
    k_ptr += head_offset(head, k_stride_h)
    v_ptr += head_offset(head, v_stride_h)
    grad_ptr += head_offset(head, grad_stride_h)
    dq_ptr += head_offset(head, dq_stride_h)
    dk_ptr += head_offset(head, dk_stride_h)
    dv_ptr += head_offset(head, dv_stride_h)
    lse_ptr += head.to(tl.int64) * num_tokens

    q = load_tile(q_ptr, begin, end, q_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    k = load_tile(k_ptr, begin, end, k_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    token = begin + tl.arange(0, BLOCK)
    lse = tl.load(lse_ptr + token, mask=token < end, other=0.0)
    scores_t = tl.dot(k, tl.trans(q), input_precision="ieee")
    weights_t = tl.exp2(scores_t * scale_log2 - lse[None, :])
    # Masked keys would reach dq; masked queries add zero, as their q and gradient are zero.
    weights_t = tl.where(token[:, None] < end, weights_t, 0.0)

    grad = load_tile(grad_ptr, begin, end, grad_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    v = load_tile(v_ptr, begin, end, v_stride_t, BLOCK, HEAD_DIM, COLUMNS, COMPUTE, True)
    d_weights_t = tl.dot(v, tl.trans(grad), input_precision="ieee")
    if DROP_BELOW > 0:
        keeps_t = dropout_keeps(token[None, :], token[:, None], head, seed, DROP_BELOW)
        kept_t = tl.where(keeps_t, weights_t, 0.0)
        d_weights_t = tl.where(keeps_t, d_weights_t * (1 / (1 - DROP_BELOW / (1 << 24))), 0.0)
    else:
        kept_t = weights_t
    dv = tl.dot(kept_t.to(COMPUTE), grad, input_precision="ieee")
    dv *= 1 / (1 - DROP_BELOW / (1 << 24))
    store_tile(dv, dv_ptr, begin, end, dv_stride_t, BLOCK, HEAD_DIM, COLUMNS)

    delta = tl.sum(weights_t * d_weights_t, 0)
    d_scores_t = (weights_t * (d_weights_t - delta[None, :])).to(COMPUTE)
    dk = tl.dot(d_scores_t, q, input_precision="ieee") * scale
    if ROTARY:
        dk = turn_back(dk, cos_ptr, sin_ptr, begin, end, BLOCK, HEAD_DIM, COLUMNS)
    store_tile(dk, dk_ptr, begin, end, dk_stride_t, BLOCK, HEAD_DIM, COLUMNS)
    dq = tl.dot(tl.trans(d_scores_t), k, input_precision="ieee") * scale
    if ROTARY:
        dq = turn_back(dq, cos_ptr, sin_ptr, begin, end, BLOCK, HEAD_DIM, COLUMNS)
    store_tile(dq, dq_ptr, begin, end, dq_stride_t, BLOCK, HEAD_DIM, COLUMNS)


def launch_short_forward(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    out_THK: Tensor,
    lse_HT: Tensor,
    tiles_N3: Tensor,
    *,
    tiling: Tiling,
    options: AttentionOptions,
) -> None:
    """Write `out_THK` and its logarithms of sums, base 2, for the sequences in `tiles_N3`."""
    launch(
        _short_forward_kernel,
        tiles_N3,
        [q_THK, k_THK, v_THK, out_THK, lse_HT],
        strides_of(q_THK, k_THK, v_THK, out_THK),
        [options.softmax_scale * LOG2_E],
        q_THK=q_THK,
        options=options,
        tiling=tiling,
        constants={"BLOCK": tiling.block},
    )


def launch_short_backward(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    grad_THK: Tensor,
    lse_HT: Tensor,
    dq_THK: Tensor,
    dk_THK: Tensor,
    dv_THK: Tensor,
    cos_TK2: Tensor | None,
    sin_TK2: Tensor | None,
    tiles_N3: Tensor,
    *,
    tiling: Tiling,
    options: AttentionOptions,
) -> None:
    """Write the gradients of the sequences in `tiles_N3`; with tables, turned back by them."""
    launch(
        _short_backward_kernel,
        tiles_N3,
        [q_THK, k_THK, v_THK, grad_THK, lse_HT, dq_THK, dk_THK, dv_THK, cos_TK2, sin_TK2],
        strides_of(q_THK, k_THK, v_THK, grad_THK, dq_THK, dk_THK, dv_THK),
        [options.softmax_scale, options.softmax_scale * LOG2_E],
        q_THK=q_THK,
        options=options,
        tiling=tiling,
        constants={"BLOCK": tiling.block, "ROTARY": cos_TK2 is not None},
    )
