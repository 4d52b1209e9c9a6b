"""The one interface that every implementation of an op has.

Shape suffixes: T packed tokens, H heads, K head dim, D width, F feed-forward width, E = 2F
[activated | plain]; qkv_T3HK is the packed projection.
"""

from typing import Protocol

from torch import Tensor


class Attention(Protocol):
    """Packed attention on queries and keys that are rotated already."""

    def __call__(
        self,
        q_THK: Tensor,
        k_THK: Tensor,
        v_THK: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        softmax_scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Attend inside each sequence; shapes as in `reference.attention`."""
        ...


class RotaryAttention(Protocol):
    """Rotary positions and packed attention, from the projection to the heads' outputs."""

    def __call__(
        self,
        qkv_T3HK: Tensor,
        cos_TK2: Tensor,
        sin_TK2: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Rotate queries and keys, then attend inside each sequence, (T, H, K)."""
        ...


class Rotary(Protocol):
    """Rotary position embedding."""

    def __call__(self, x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor) -> Tensor:
        """Rotate each head by its token's angle."""
        ...


class LayerNorm(Protocol):
    """LayerNorm of each row."""

    def __call__(
        self, x_TD: Tensor, weight_D: Tensor, bias_D: Tensor, *, eps: float = 1e-5
    ) -> Tensor:
        """Normalise, scale and shift each row."""
        ...


class ResidualLayerNorm(Protocol):
    """Addition followed by LayerNorm."""

    def __call__(
        self,
        x_TD: Tensor,
        residual_TD: Tensor,
        weight_D: Tensor,
        bias_D: Tensor,
        *,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor]:
        """The sum, and its norm."""
        ...


class SwiGLU(Protocol):
    """Gate with bias and learnable beta."""

    def __call__(self, hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None = None) -> Tensor:
        """Gate the plain half with the beta-SiLU of the other, (T, F)."""
        ...
