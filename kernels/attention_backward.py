"""Attention backward over sequences of any length: dq by queries, then dk and dv by keys.

No atomics: every gradient is summed by one program in a fixed order, so it is the same every time.

Shape suffixes: T packed tokens, H heads, K head dim, N tiles.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_blocks import (
    dropout_keeps,
    fresh_tile,
    head_offset,
    load_tile,
    store_tile,
    turn_back,
)
from .attention_configs import Tiling
from .attention_options import LOG2_E, AttentionOptions, launch, strides_of


@triton.jit
def _dq_step(
    dq,
    q,
    grad,
    lse,
    delta,
    k_ptr,
    v_ptr,
    query,
    start,
    end,
    head,
    k_stride_t,
    v_stride_t,
    scale_log2,
    seed,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    COMPUTE: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Add one block of keys to dq."""
    k = load_tile(k_ptr, start, end, k_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, MASKED)
    v = load_tile(v_ptr, start, end, v_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, MASKED)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    weights = tl.exp2(scores * scale_log2 - lse[:, None])
    key = start + tl.arange(0, BLOCK_N)[None, :]
    if MASKED:
        weights = tl.where(key < end, weights, 0.0)
    d_weights = tl.dot(grad, tl.trans(v), input_precision="ieee")
    if DROP_BELOW > 0:
        keeps = dropout_keeps(query, key, head, seed, DROP_BELOW)
        d_weights = tl.where(keeps, d_weights * (1 / (1 - DROP_BELOW / (1 << 24))), 0.0)
    d_scores = weights * (d_weights - delta[:, None])
    return tl.dot(d_scores.to(COMPUTE), k, dq, input_precision="ieee")


@triton.jit(do_not_specialize=["num_tokens", "seed"])
def _dq_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    grad_ptr,
    lse_ptr,
    delta_ptr,
    dq_ptr,
    cos_ptr,
    sin_ptr,
    tiles_ptr,
    q_stride_t,
    q_stride_h,
    k_stride_t,
    k_stride_h,
    v_stride_t,
    v_stride_h,
    out_stride_t,
    out_stride_h,
    grad_stride_t,
    grad_stride_h,
    dq_stride_t,
    dq_stride_h,
    num_tokens,
    scale,
    scale_log2,
    seed,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    ROTARY: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One program sums dq of one tile of queries over all keys; delta stays for `_dkdv_kernel`."""
    tiles_ptr += tl.program_id(0) * 3
    first = tl.load(tiles_ptr)
    begin = tl.load(tiles_ptr + 1)
    end = tl.load(tiles_ptr + 2)
    if first >= end:  # an unused slot of the list
        return
    head = tl.program_id(1)
    q_ptr += head_offset(head, q_stride_h)
    k_ptr += head_offset(head, k_stride_h)
    v_ptr += head_offset(head, v_stride_h)
    out_ptr += head_offset(head, out_stride_h)
    grad_ptr += head_offset(head, grad_stride_h)
    dq_ptr += head_offset(head, dq_stride_h)
    lse_ptr += head.to(tl.int64) * num_tokens
    delta_ptr += head.to(tl.int64) * num_tokens

    query = first + tl.arange(0, BLOCK_M)
    grad = load_tile(grad_ptr, first, end, grad_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, True)
    out = load_tile(out_ptr, first, end, out_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, True)
    delta = tl.sum(grad.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(delta_ptr + query, delta, mask=query < end)
    lse = tl.load(lse_ptr + query, mask=query < end, other=0.0)
    q = load_tile(q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, True)

    dq = tl.zeros((BLOCK_M, COLUMNS), tl.float32)
    tail = end - (end - begin) % BLOCK_N
    for start in tl.range(begin, tail, BLOCK_N):
        dq = _dq_step(
            dq,
            fresh_tile(q, q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE),
            fresh_tile(
                grad, grad_ptr, first, end, grad_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE
            ),
            lse, delta, k_ptr, v_ptr, query[:, None], start, end, head,
            k_stride_t, v_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_N, DROP_BELOW, COMPUTE, False,
        )  # fmt: skip
    if tail < end:
        dq = _dq_step(
            dq,
            fresh_tile(q, q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE),
            fresh_tile(
                grad, grad_ptr, first, end, grad_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE
            ),
            lse, delta, k_ptr, v_ptr, query[:, None], tail, end, head,
            k_stride_t, v_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_N, DROP_BELOW, COMPUTE, True,
        )  # fmt: skip

    dq *= scale
    if ROTARY:
        dq = turn_back(dq, cos_ptr, sin_ptr, first, end, BLOCK_M, HEAD_DIM, COLUMNS)
    store_tile(dq, dq_ptr, first, end, dq_stride_t, BLOCK_M, HEAD_DIM, COLUMNS)


@triton.jit
def _dkdv_step(
    dk,
    dv,
    k,
    v,
    q_ptr,
    grad_ptr,
    lse_ptr,
    delta_ptr,
    key,
    start,
    end,
    head,
    q_stride_t,
    grad_stride_t,
    scale_log2,
    seed,
    HEAD_DIM: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    COMPUTE: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Add one block of queries to dk and dv; scores are transposed, keys down and queries across.

    A masked query needs no care: its row of q and of the gradient is zero, so it adds zero.
    """
    query = start + tl.arange(0, BLOCK_M)
    q = load_tile(q_ptr, start, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, MASKED)
    grad = load_tile(
        grad_ptr, start, end, grad_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, MASKED
    )
    if MASKED:
        lse = tl.load(lse_ptr + query, mask=query < end, other=0.0)
        delta = tl.load(delta_ptr + query, mask=query < end, other=0.0)
    else:
        lse = tl.load(lse_ptr + query)
        delta = tl.load(delta_ptr + query)
    scores_t = tl.dot(k, tl.trans(q), input_precision="ieee")
    weights_t = tl.exp2(scores_t * scale_log2 - lse[None, :])
    d_weights_t = tl.dot(v, tl.trans(grad), input_precision="ieee")
    if DROP_BELOW > 0:
        keeps_t = dropout_keeps(query[None, :], key, head, seed, DROP_BELOW)
        kept_t = tl.where(keeps_t, weights_t, 0.0)
        d_weights_t = tl.where(keeps_t, d_weights_t * (1 / (1 - DROP_BELOW / (1 << 24))), 0.0)
    else:
        kept_t = weights_t
    dv = tl.dot(kept_t.to(COMPUTE), grad, dv, input_precision="ieee")
    d_scores_t = weights_t * (d_weights_t - delta[None, :])
    dk = tl.dot(d_scores_t.to(COMPUTE), q, dk, input_precision="ieee")
    return dk, dv


@triton.jit(do_not_specialize=["num_tokens", "seed"])
def _dkdv_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    grad_ptr,
    lse_ptr,
    delta_ptr,
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
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    ROTARY: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One program sums dk and dv of one tile of BLOCK_N keys over all queries of its sequence."""
    tiles_ptr += tl.program_id(0) * 3
    first = tl.load(tiles_ptr)
    begin = tl.load(tiles_ptr + 1)
    end = tl.load(tiles_ptr + 2)
    if first >= end:  # an unused slot of the list
        return
    head = tl.program_id(1)
    q_ptr += head_offset(head, q_stride_h)
    k_ptr += head_offset(head, k_stride_h)
    v_ptr += head_offset(head, v_stride_h)
    grad_ptr += head_offset(head, grad_stride_h)
    dk_ptr += head_offset(head, dk_stride_h)
    dv_ptr += head_offset(head, dv_stride_h)
    lse_ptr += head.to(tl.int64) * num_tokens
    delta_ptr += head.to(tl.int64) * num_tokens

    k = load_tile(k_ptr, first, end, k_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, True)
    v = load_tile(v_ptr, first, end, v_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, True)
    key = first + tl.arange(0, BLOCK_N)[:, None]
    dk = tl.zeros((BLOCK_N, COLUMNS), tl.float32)
    dv = tl.zeros((BLOCK_N, COLUMNS), tl.float32)
    tail = end - (end - begin) % BLOCK_M
    for start in tl.range(begin, tail, BLOCK_M):
        dk, dv = _dkdv_step(
            dk, dv,
            fresh_tile(k, k_ptr, first, end, k_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE),
            fresh_tile(v, v_ptr, first, end, v_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE),
            q_ptr, grad_ptr, lse_ptr, delta_ptr, key, start, end, head,
            q_stride_t, grad_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_M, DROP_BELOW, COMPUTE, False,
        )  # fmt: skip
    if tail < end:
        dk, dv = _dkdv_step(
            dk, dv,
            fresh_tile(k, k_ptr, first, end, k_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE),
            fresh_tile(v, v_ptr, first, end, v_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE),
            q_ptr, grad_ptr, lse_ptr, delta_ptr, key, tail, end, head,
            q_stride_t, grad_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_M, DROP_BELOW, COMPUTE, True,
        )  # fmt: skip

    dv *= 1 / (1 - DROP_BELOW / (1 << 24))
    store_tile(dv, dv_ptr, first, end, dv_stride_t, BLOCK_N, HEAD_DIM, COLUMNS)
    dk *= scale
    if ROTARY:
        dk = turn_back(dk, cos_ptr, sin_ptr, first, end, BLOCK_N, HEAD_DIM, COLUMNS)
    store_tile(dk, dk_ptr, first, end, dk_stride_t, BLOCK_N, HEAD_DIM, COLUMNS)


def launch_backward(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    out_THK: Tensor,
    grad_THK: Tensor,
    lse_HT: Tensor,
    dq_THK: Tensor,
    dk_THK: Tensor,
    dv_THK: Tensor,
    cos_TK2: Tensor | None,
    sin_TK2: Tensor | None,
    query_tiles_N3: Tensor,
    key_tiles_N3: Tensor,
    *,
    dq_tiling: Tiling,
    dkdv_tiling: Tiling,
    options: AttentionOptions,
) -> None:
    """Write the gradients of the sequences in the two lists; with tables, turned back by them."""
    delta_HT = torch.empty_like(lse_HT)
    scales = [options.softmax_scale, options.softmax_scale * LOG2_E]
    rotary = cos_TK2 is not None
    launch(
        _dq_kernel,
        query_tiles_N3,
        [q_THK, k_THK, v_THK, out_THK, grad_THK, lse_HT, delta_HT, dq_THK, cos_TK2, sin_TK2],
        strides_of(q_THK, k_THK, v_THK, out_THK, grad_THK, dq_THK),
        scales,
        q_THK=q_THK,
        options=options,
        tiling=dq_tiling,
        constants={"BLOCK_M": dq_tiling.block, "BLOCK_N": dq_tiling.step, "ROTARY": rotary},
    )
    launch(
        _dkdv_kernel,
        key_tiles_N3,
        [q_THK, k_THK, v_THK, grad_THK, lse_HT, delta_HT, dk_THK, dv_THK, cos_TK2, sin_TK2],
        strides_of(q_THK, k_THK, v_THK, grad_THK, dk_THK, dv_THK),
        scales,
        q_THK=q_THK,
        options=options,
        tiling=dkdv_tiling,
        constants={"BLOCK_M": dkdv_tiling.step, "BLOCK_N": dkdv_tiling.block, "ROTARY": rotary},
    )
