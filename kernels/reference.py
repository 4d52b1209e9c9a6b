"""Every op in plain PyTorch: the tests' oracle, and what runs where there is no GPU.

Shape suffixes: B sequences, T packed tokens, H heads, K head dim, D width, F feed-forward width,
E = 2F [activated | plain].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_norm, check_rotary, check_swiglu


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
    check_rotary(x_THK, cos_TK2, sin_TK2)
    cos_T1K = torch.cat([cos_TK2, cos_TK2], dim=-1)[:, None]
    sin_T1K = torch.cat([-sin_TK2, sin_TK2], dim=-1)[:, None]
    partner_THK = x_THK.roll(x_THK.shape[-1] // 2, dims=-1)
    return (x_THK * cos_T1K + partner_THK * sin_T1K).to(x_THK.dtype)


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
    dropout_seed: int | None = None,
) -> Tensor:
    """Bidirectional attention inside each packed sequence; never pads, never looks across.

    `cu_seqlens` (B+1, int32) starts with 0 and ends with T. `cos` and `sin` rotate q and k. The
    default scale is K**-0.5. Without `dropout_seed`, dropout draws from PyTorch's own generator;
    with it, the draw is a function of the seed, though not the kernels' one.
    """
    check_packed(q_THK, cu_seqlens, max_seqlen)
    if (cos is None) != (sin is None):
        raise ValueError(f"cos and sin come together, got no {'cos' if cos is None else 'sin'}")
    if cos is not None and sin is not None:
        q_THK, k_THK = (apply_rotary(x_THK, cos, sin) for x_THK in (q_THK, k_THK))
    if dropout_p and dropout_seed is not None:
        with torch.random.fork_rng(devices=[q_THK.device] if q_THK.is_cuda else []):
            torch.manual_seed(dropout_seed)
            return _attend(q_THK, k_THK, v_THK, cu_seqlens, softmax_scale, dropout_p)
    return _attend(q_THK, k_THK, v_THK, cu_seqlens, softmax_scale, dropout_p)


def _attend(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THK: Tensor,
    cu_seqlens: Tensor,
    softmax_scale: float | None,
    dropout_p: float,
) -> Tensor:
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


def layer_norm(x_TD: Tensor, weight_D: Tensor, bias_D: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Normalise each row to mean 0 and variance 1, then scale and shift it."""
    check_norm(x_TD, weight_D, bias_D)
    return F.layer_norm(x_TD, weight_D.shape, weight_D, bias_D, eps)


def residual_layer_norm(
    x_TD: Tensor, residual_TD: Tensor, weight_D: Tensor, bias_D: Tensor, *, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """The sum of both, and its LayerNorm: what the next branch adds to, and what it reads."""
    check_norm(x_TD, weight_D, bias_D, residual_TD)
    sum_TD = x_TD + residual_TD
    return sum_TD, F.layer_norm(sum_TD, weight_D.shape, weight_D, bias_D, eps)


def swiglu(hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None = None) -> Tensor:
    """Gate the plain half of `hidden_TE` with the beta-SiLU of the other: a * sigmoid(beta a) * g.

    Shazeer, "GLU Variants Improve Transformer" (2020), equation 6, with beta, of one element,
    learnable. `bias_E` is added to both halves first.
    """
    check_swiglu(hidden_TE, beta, bias_E)
    a_TF, g_TF = (hidden_TE if bias_E is None else hidden_TE + bias_E).chunk(2, dim=-1)
    return a_TF * torch.sigmoid(beta * a_TF) * g_TF
