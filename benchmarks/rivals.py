"""What users would otherwise take, behind the signatures of our ops; absent where not installed."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

FLEX_BLOCK = 128


def build_document_mask(lengths: list[int], device: torch.device) -> BlockMask:
    """FlexAttention's mask of packed sequences, straight from their lengths.

    `create_block_mask` would look at every pair of tokens, for longer than the attention takes.
    """
    owner_T = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    num_blocks = -(-len(owner_T) // FLEX_BLOCK)
    first = np.arange(num_blocks) * FLEX_BLOCK
    last = np.minimum(first + FLEX_BLOCK, len(owner_T)) - 1
    low = starts[owner_T[first]] // FLEX_BLOCK
    high = (starts[owner_T[last] + 1] - 1) // FLEX_BLOCK
    partial = np.zeros((num_blocks, num_blocks), np.int32)
    full = np.zeros_like(partial)
    counts = np.zeros((2, num_blocks), np.int32)
    for row in range(num_blocks):
        blocks = np.arange(low[row], high[row] + 1)
        whole = (owner_T[first[blocks]] == owner_T[last[blocks]]) & (
            owner_T[first[blocks]] == owner_T[first[row]]
        )
        whole &= owner_T[first[row]] == owner_T[last[row]]
        for kind, (table, chosen) in enumerate(((partial, blocks[~whole]), (full, blocks[whole]))):
            table[row, : len(chosen)] = chosen
            counts[kind, row] = len(chosen)
    owner = torch.from_numpy(owner_T).to(device)

    def same_sequence(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return owner[q] == owner[k]

    tables = [torch.from_numpy(x)[None, None].to(device) for x in (partial, full)]
    numbers = [torch.from_numpy(x)[None, None].to(device) for x in counts]
    return BlockMask.from_kv_blocks(
        numbers[0],
        tables[0],
        numbers[1],
        tables[1],
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=same_sequence,
        seq_lengths=(len(owner_T), len(owner_T)),
    )


def load_flex_attention(lengths: list[int], device: torch.device) -> Callable[..., Tensor]:
    """FlexAttention on a packed batch; compiled where there is a GPU."""
    mask = build_document_mask(lengths, device)
    attend = torch.compile(flex_attention) if device.type == "cuda" else flex_attention

    def attention(q_THK: Tensor, k_THK: Tensor, v_THK: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q_THK, k_THK, v_THK))
        out: Any = attend(q, k, v, block_mask=mask)
        return out[0].transpose(0, 1)

    return attention


def pad(x_THK: Tensor, lengths: list[int]) -> Tensor:
    """Rows of the longest length, zeros after each sequence: (B, H, L, K)."""
    return torch.nn.utils.rnn.pad_sequence(list(x_THK.split(lengths)), batch_first=True).transpose(
        1, 2
    )


def load_padded_sdpa(backend: SDPBackend) -> Callable[..., Tensor]:
    """SDPA on padded rows, without the mask that they need: its fast kernels do not take one."""

    def attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK)

    return attention


def load_masked_sdpa(lengths: list[int]) -> Callable[..., Tensor]:
    """SDPA on padded rows with their mask; rows of padding come out as zeros."""
    is_real_BL = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    keys, queries = is_real_BL[:, None, None, :], is_real_BL[:, None, :, None]

    def attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor) -> Tensor:
        return scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=keys) * queries

    return attention


def load_liger() -> dict[str, Any]:
    """Liger's autograd functions for rotary, norm and gate; empty if it is not installed."""
    if find_spec("liger_kernel") is None:
        return {}
    from liger_kernel.ops.layer_norm import (  # pyright: ignore[reportMissingImports]
        LigerLayerNormFunction,
    )
    from liger_kernel.ops.rope import LigerRopeFunction  # pyright: ignore[reportMissingImports]
    from liger_kernel.ops.swiglu import (  # pyright: ignore[reportMissingImports]
        LigerSiLUMulFunction,
    )

    return {
        "rope": LigerRopeFunction.apply,
        "norm": LigerLayerNormFunction.apply,
        "swiglu": LigerSiLUMulFunction.apply,
    }
