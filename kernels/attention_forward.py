"""Attention forward over sequences of any length: online softmax, one program a tile of queries.

Shape suffixes: T packed tokens, H heads, K head dim, N tiles.
"""

import triton
import triton.language as tl
from torch import Tensor

from .attention_blocks import dropout_keeps, fresh_tile, head_offset, load_tile, store_tile
from .attention_configs import Tiling
from .attention_options import LOG2_E, AttentionOptions, launch, strides_of


@triton.jit
def _attend_step(
    accumulator,
    row_max,
    row_sum,
    q,
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
    """Take one block of keys into the running maximum, sum and output."""
    k = load_tile(k_ptr, start, end, k_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, MASKED)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    key = start + tl.arange(0, BLOCK_N)[None, :]
    if MASKED:
        scores = tl.where(key < end, scores, float("-inf"))
    new_max = tl.maximum(row_max, tl.max(scores, 1) * scale_log2)
    weights = tl.exp2(scores * scale_log2 - new_max[:, None])
    shrink = tl.exp2(row_max - new_max)
    row_sum = row_sum * shrink + tl.sum(weights, 1)
    if DROP_BELOW > 0:
        weights = tl.where(dropout_keeps(query, key, head, seed, DROP_BELOW), weights, 0.0)
    v = load_tile(v_ptr, start, end, v_stride_t, BLOCK_N, HEAD_DIM, COLUMNS, COMPUTE, MASKED)
    accumulator = accumulator * shrink[:, None]
    accumulator = tl.dot(weights.to(COMPUTE), v, accumulator, input_precision="ieee")
    return accumulator, new_max, row_sum


@triton.jit(do_not_specialize=["num_tokens", "seed"])
def _forward_kernel(
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
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    DROP_BELOW: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One program attends from one tile of queries, in one head, to all keys of its sequence."""
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
    lse_ptr += head.to(tl.int64) * num_tokens

    q = load_tile(q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE, True)
    query = first + tl.arange(0, BLOCK_M)
    row_max = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    row_sum = tl.zeros((BLOCK_M,), tl.float32)
    accumulator = tl.zeros((BLOCK_M, COLUMNS), tl.float32)
    tail = end - (end - begin) % BLOCK_N
    for start in tl.range(begin, tail, BLOCK_N):
        accumulator, row_max, row_sum = _attend_step(
            accumulator, row_max, row_sum,
            fresh_tile(q, q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE),
            k_ptr, v_ptr, query[:, None], start, end, head,
            k_stride_t, v_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_N, DROP_BELOW, COMPUTE, False,
        )  # fmt: skip
    if tail < end:
        accumulator, row_max, row_sum = _attend_step(
            accumulator, row_max, row_sum,
            fresh_tile(q, q_ptr, first, end, q_stride_t, BLOCK_M, HEAD_DIM, COLUMNS, COMPUTE),
            k_ptr, v_ptr, query[:, None], tail, end, head,
            k_stride_t, v_stride_t, scale_log2, seed,
            HEAD_DIM, COLUMNS, BLOCK_N, DROP_BELOW, COMPUTE, True,
        )  # fmt: skip

    # Dropping p of the weights scales the rest by 1 / (1 - p): here, once.
    out = accumulator / (row_sum * (1 - DROP_BELOW / (1 << 24)))[:, None]
    store_tile(out, out_ptr, first, end, out_stride_t, BLOCK_M, HEAD_DIM, COLUMNS)
    tl.store(lse_ptr + query, row_max + tl.log2(row_sum), mask=query < end)


def launch_forward(
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
    """Write `out_THK` and its logarithms of sums, base 2, for the queries in `tiles_N3`."""
    launch(
        _forward_kernel,
        tiles_N3,
        [q_THK, k_THK, v_THK, out_THK, lse_HT],
        strides_of(q_THK, k_THK, v_THK, out_THK),
        [options.softmax_scale * LOG2_E],
        q_THK=q_THK,
        options=options,
        tiling=tiling,
        constants={"BLOCK_M": tiling.block, "BLOCK_N": tiling.step},
    )
