"""A forward and a backward pass of attention: which kernel takes which sequences of a pack.

Shape suffixes: T packed tokens, H heads, K head dim, N tiles.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .attention_backward import launch_backward
from .attention_configs import AttentionConfig, Tiling, choose_config
from .attention_forward import launch_forward
from .attention_options import INTERPRETED, AttentionOptions
from .attention_short import launch_short_backward, launch_short_forward
from .attention_tiles import tiles_of

MAX_TOKEN_STRIDE = 2**24
"""Offsets inside a tile, of 128 tokens at most, are int32."""


def run_forward(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    options: AttentionOptions,
) -> tuple[Tensor, Tensor]:
    """The output, and the logarithm to base 2 of every row's sum of weights, (H, T)."""
    num_tokens, num_heads, _ = q_THK.shape
    out_THK = torch.empty(q_THK.shape, dtype=q_THK.dtype, device=q_THK.device)
    lse_HT = torch.empty(num_heads, num_tokens, dtype=torch.float32, device=q_THK.device)
    tensors = (q_THK, k_THK, v_THK, out_THK, lse_HT)
    config = _config_of(q_THK, options)
    pack = {"num_tokens": num_tokens, "device": q_THK.device}

    with torch.cuda.device_of(q_THK):
        for tiling, longer_than in _one_tile_buckets(config.short_forward, max_seqlen):
            tiles_N3 = tiles_of(
                cu_seqlens,
                block=tiling.block,
                longer_than=longer_than,
                up_to=tiling.block,
                **pack,
            )
            launch_short_forward(*tensors, tiles_N3, tiling=tiling, options=options)
        longest_short = config.short_forward[-1].block
        if max_seqlen > longest_short:
            tiles_N3 = tiles_of(
                cu_seqlens,
                block=config.forward.block,
                longer_than=longest_short,
                up_to=max_seqlen,
                **pack,
            )
            launch_forward(*tensors, tiles_N3, tiling=config.forward, options=options)
    return out_THK, lse_HT


def run_backward(
    saved: Sequence[Any],
    grad_THK: Tensor,
    into: Sequence[Tensor],
    max_seqlen: int,
    options: AttentionOptions,
) -> None:
    """Write the gradients of q, k and v `into` three tensors, those of q and k before rotation.

    `saved` is rotated q and k, v, the two results of `run_forward`, both tables or None, and
    cu_seqlens.
    """
    q_THK, k_THK, v_THK, out_THK, lse_HT, cos_TK2, sin_TK2, cu_seqlens = saved
    dq_THK, dk_THK, dv_THK = into
    if not has_kernel_layout(grad_THK):  # the gradient of a sum is one number, expanded
        grad_THK = grad_THK.contiguous()
    gradients = (dq_THK, dk_THK, dv_THK, cos_TK2, sin_TK2)
    config = _config_of(q_THK, options)
    pack = {"num_tokens": len(q_THK), "device": q_THK.device}

    with torch.cuda.device_of(q_THK):
        for tiling, longer_than in _one_tile_buckets(config.short_backward, max_seqlen):
            tiles_N3 = tiles_of(
                cu_seqlens,
                block=tiling.block,
                longer_than=longer_than,
                up_to=tiling.block,
                **pack,
            )
            launch_short_backward(
                q_THK, k_THK, v_THK, grad_THK, lse_HT, *gradients, tiles_N3,
                tiling=tiling, options=options,
            )  # fmt: skip
        longest_short = config.short_backward[-1].block
        if max_seqlen > longest_short:
            query_tiles_N3, key_tiles_N3 = (
                tiles_of(
                    cu_seqlens, block=block, longer_than=longest_short, up_to=max_seqlen, **pack
                )
                for block in (config.dq.block, config.dkdv.block)
            )
            launch_backward(
                q_THK, k_THK, v_THK, out_THK, grad_THK, lse_HT, *gradients,
                query_tiles_N3, key_tiles_N3,
                dq_tiling=config.dq, dkdv_tiling=config.dkdv, options=options,
            )  # fmt: skip


def has_kernel_layout(x_THK: Tensor) -> bool:
    """Whether channels lie together, heads start on multiples of 8, and a tile spans int32."""
    spans_int32 = len(x_THK) < 2 or x_THK.stride(0) < MAX_TOKEN_STRIDE
    strides = [x_THK.stride(axis) for axis in (0, 1) if x_THK.shape[axis] > 1]
    return x_THK.stride(-1) == 1 and all(s % 8 == 0 for s in strides) and spans_int32


def _one_tile_buckets(tilings: tuple[Tiling, ...], max_seqlen: int) -> Iterator[tuple[Tiling, int]]:
    """The tilings that sequences of this pack can need, each with the length it starts after."""
    longer_than = 0
    for tiling in tilings:
        if longer_than < max_seqlen:
            yield tiling, longer_than
        longer_than = tiling.block


def _config_of(q_THK: Tensor, options: AttentionOptions) -> AttentionConfig:
    # The interpreter walks the tiles of the newest GPU.
    capability = (9, 0) if INTERPRETED else torch.cuda.get_device_capability(q_THK.device)
    return choose_config(capability, q_THK.dtype, q_THK.shape[-1], dropout=options.drop_below > 0)
