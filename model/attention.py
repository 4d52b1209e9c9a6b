"""Self-attention on packed tokens, in the published layout of weights.

Shape suffixes: T packed tokens, D embed_dim, H heads, K head dim.
"""

from torch import Tensor, nn

from ..kernels.backend import REFERENCE
from .rotary import RotaryTables


class SelfAttention(nn.Module):
    """Bidirectional multi-head self-attention with rotary positions; no biases.

    Rows of the fused weight are [all Q | all K | all V], each head after head.
    """

    def __init__(self, embed_dim: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=False)
        self.out = nn.Linear(embed_dim, embed_dim, bias=False)
        self.backend = REFERENCE

    def forward(
        self, x_TD: Tensor, rotary: RotaryTables, cu_seqlens: Tensor, max_seqlen: int
    ) -> Tensor:
        """Mix every token with all tokens of its own sequence."""
        num_tokens, embed_dim = x_TD.shape
        qkv_T3HK = self.qkv(x_TD).view(num_tokens, 3, self.num_heads, embed_dim // self.num_heads)
        mixed_THK = self.backend.rotary_attention(
            qkv_T3HK,
            *rotary,
            cu_seqlens,
            max_seqlen,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed_THK.reshape(num_tokens, embed_dim))
