"""Variable-length attention that others wrote, under our interface: torch's and flash-attn's."""

from torch import Tensor

from .interfaces import Attention


def load_varlen() -> Attention:
    """`torch.nn.attention.varlen`: FlashAttention 2 as it comes with torch."""
    from torch.nn.attention.varlen import varlen_attn

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
        if dropout_p:
            raise ValueError(f"attention=varlen has no dropout, got dropout_p={dropout_p}")
        return varlen_attn(  # pyright: ignore[reportReturnType]  # a tuple only with return_aux
            q_THK,
            k_THK,
            v_THK,
            cu_seqlens,
            cu_seqlens,
            max_seqlen,
            max_seqlen,
            scale=softmax_scale,
        )

    return attention


def load_flash() -> Attention:
    """`flash_attn_varlen_func` of the package flash-attn."""
    from flash_attn import flash_attn_varlen_func  # pyright: ignore[reportMissingImports]

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
        return flash_attn_varlen_func(
            q_THK,
            k_THK,
            v_THK,
            cu_seqlens,
            cu_seqlens,
            max_seqlen,
            max_seqlen,
            dropout_p=dropout_p,
            softmax_scale=softmax_scale,
        )

    return attention
