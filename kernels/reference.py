"""Every op in plain PyTorch: the tests' oracle, and what runs where there is no GPU.

Shape suffixes: B sequences, T packed tokens, H heads, K head dim, F feed-forward width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def rotary_tables(
    position_ids_T: Tensor, head_dim: int, *, base: float = 10_000.0
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every token's angles, each (T, K/2), always in fp32.

    A bf16 table cannot tell positions past 256 apart, so these are never cast.
    """
    if head_dim % 2:
        raise ValueError(f"rotary embedding needs an even head_dim, got {head_dim}")
    exponent = torch.arange(0, head_dim, 2, device=position_ids_T.device, dtype=torch.float32)
    frequency_K2 = base ** (-exponent / head_dim)
    angle_TK2 = position_ids_T.to(torch.float32)[:, None] * frequency_K2
    return angle_TK2.cos(), angle_TK2.sin()


def apply_rotary(x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor) -> Tensor:
    """Rotate each head of `x_THK` by its token's angle; half-split (GPT-NeoX) pairing."""
    num_tokens, _, head_dim = x_THK.shape
    if cos_TK2.shape != (num_tokens, head_dim // 2) or sin_TK2.shape != cos_TK2.shape:
        raise ValueError(
            f"cos and sin must be {(num_tokens, head_dim // 2)} for x {tuple(x_THK.shape)}, "
            f"got {tuple(cos_TK2.shape)} and {tuple(sin_TK2.shape)}"
        )
    dtype = torch.promote_types(x_THK.dtype, cos_TK2.dtype)
    left, right = x_THK.to(dtype).chunk(2, dim=-1)
    cos, sin = cos_TK2[:, None], sin_TK2[:, None]
    rotated = torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
    return rotated.to(x_THK.dtype)


def attention(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    softmax_scale: float | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """Bidirectional attention inside each packed sequence; never pads, never looks across.

    `cu_seqlens` (B+1, int32) starts with 0 and ends with T. The default scale is K**-0.5.
    """
    check_packed(q_THK, cu_seqlens, max_seqlen)
    lengths = cu_seqlens.diff().tolist()
    # split, not slices: its backward is one concatenation, where every slice's backward would
    # fill a zero tensor of the whole pack.
    outputs = [
        F.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            k.transpose(0, 1)[None],
            v.transpose(0, 1)[None],
            dropout_p=dropout_p,
            scale=softmax_scale,
        )[0].transpose(0, 1)
        for q, k, v in zip(
            q_THK.split(lengths), k_THK.split(lengths), v_THK.split(lengths), strict=True
        )
        if len(q)
    ]
    return torch.cat(outputs) if outputs else q_THK


def check_packed(x_THK: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> None:
    """Refuse a description of packed sequences that does not fit its tokens."""
    if cu_seqlens.dtype != torch.int32 or cu_seqlens.ndim != 1 or len(cu_seqlens) < 2:
        raise ValueError(
            "cu_seqlens must be a one-dimensional int32 tensor of number of sequences + 1, got "
            f"{cu_seqlens.dtype} {tuple(cu_seqlens.shape)}"
        )
    lengths = cu_seqlens.diff()
    first, last = int(cu_seqlens[0]), int(cu_seqlens[-1])
    if first != 0 or last != len(x_THK) or bool((lengths < 0).any()):
        raise ValueError(
            f"cu_seqlens must rise from 0 to the {len(x_THK)} tokens, got {cu_seqlens.tolist()}"
        )
    if int(lengths.max()) > max_seqlen:
        raise ValueError(
            f"max_seqlen is {max_seqlen} but the longest sequence has {int(lengths.max())} tokens"
        )


def swiglu(a_TF: Tensor, g_TF: Tensor, beta: Tensor) -> Tensor:
    """Gate `g_TF` with the beta-SiLU of `a_TF`: a * sigmoid(beta * a) * g; `beta` has one element.

    Shazeer, "GLU Variants Improve Transformer" (2020), equation 6, with beta learnable.
    """
    return a_TF * torch.sigmoid(beta * a_TF) * g_TF
