"""The RiNALMo encoder on packed tokens: its sizes, its block, the stack.

Shape suffixes: B sequences, T packed tokens, D embed_dim.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..kernels.backend import REFERENCE, AttentionName, Backend, KernelsName, choose_backend
from . import alphabet
from .attention import SelfAttention
from .feed_forward import FeedForward
from .rotary import RotaryTables, build_position_ids, build_rotary_tables, sequence_ids

TRAINED_MASK_RATIO = 0.15 * 0.8
"""Share of tokens that are `<mask>` in pretraining; token dropout rescales to it, always."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """Sizes and dropout of the encoder."""

    embed_dim: int
    num_blocks: int
    num_heads: int
    ffn_dim: int = 0
    """Feed-forward width; 0 takes the published int(2/3 * 4 * embed_dim)."""
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    attention: AttentionName = "auto"
    """Which implementation of attention runs; see `kernels/backend.py`."""
    kernels: KernelsName = "auto"
    """Which implementation of norms, gate and, unless attention is triton's, rotary runs."""

    def __post_init__(self) -> None:
        if min(self.embed_dim, self.num_blocks, self.num_heads) < 1:
            raise ValueError(
                "model.embed_dim, model.num_blocks and model.num_heads must be positive, got "
                f"{self.embed_dim}, {self.num_blocks}, {self.num_heads}"
            )
        if self.embed_dim % (2 * self.num_heads):
            raise ValueError(
                f"model.embed_dim {self.embed_dim} must be a multiple of twice model.num_heads "
                f"{self.num_heads}: rotary positions turn pairs inside each head"
            )
        for name in ("attention_dropout", "residual_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def published_ffn_dim(self) -> int:
        """Feed-forward width before alignment."""
        return self.ffn_dim or int(2 / 3 * 4 * self.embed_dim)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.embed_dim // self.num_heads


ENCODER_SIZES = {
    "tiny": EncoderConfig(embed_dim=96, num_blocks=4, num_heads=4),
    "nano": EncoderConfig(embed_dim=320, num_blocks=6, num_heads=20),
    "micro": EncoderConfig(embed_dim=480, num_blocks=12, num_heads=20),
    "mega": EncoderConfig(embed_dim=640, num_blocks=30, num_heads=20),
    "giga": EncoderConfig(embed_dim=1280, num_blocks=33, num_heads=20),
}
"""The published sizes, and `tiny` for a CPU."""


def build_encoder_config(size: str, *, dropout: float = 0.1) -> EncoderConfig:
    """Config of a named size, with one dropout for attention and residual."""
    if size not in ENCODER_SIZES:
        raise ValueError(f"model size must be one of {', '.join(ENCODER_SIZES)}; got {size!r}")
    return replace(ENCODER_SIZES[size], attention_dropout=dropout, residual_dropout=dropout)


class EncoderBlock(nn.Module):
    """One published block. It is not pre-LN: attention's residual is the normalised input."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.embed_dim)
        self.attention = SelfAttention(
            config.embed_dim, config.num_heads, dropout=config.attention_dropout
        )
        self.feed_forward_norm = nn.LayerNorm(config.embed_dim)
        self.feed_forward = FeedForward(config.embed_dim, config.published_ffn_dim)
        self.residual_dropout = nn.Dropout(config.residual_dropout)
        self.backend = REFERENCE
        self.is_recomputed = False

    def forward(
        self, x_TD: Tensor, rotary: RotaryTables, cu_seqlens: Tensor, max_seqlen: int
    ) -> Tensor:
        """Mix tokens within their sequences, then transform each.

        The norms' weights are read here, not by their modules, so a sharding engine must gather
        the block as a whole. It may free them once this returns: recomputing is inside, so that
        its hooks around the block see one forward and one backward.
        """
        if self.is_recomputed and torch.is_grad_enabled():
            # Generators are put back for the second time: dropout, and the seeds kernels draw.
            return checkpoint(
                self._transform, x_TD, rotary, cu_seqlens, max_seqlen, use_reentrant=False
            )
        return self._transform(x_TD, rotary, cu_seqlens, max_seqlen)

    def _transform(
        self, x_TD: Tensor, rotary: RotaryTables, cu_seqlens: Tensor, max_seqlen: int
    ) -> Tensor:
        norm, ops = self.attention_norm, self.backend
        h_TD = ops.layer_norm(x_TD, norm.weight, norm.bias, eps=norm.eps)
        mixed_TD = self.residual_dropout(self.attention(h_TD, rotary, cu_seqlens, max_seqlen))
        norm = self.feed_forward_norm
        y_TD, u_TD = ops.residual_layer_norm(mixed_TD, h_TD, norm.weight, norm.bias, eps=norm.eps)
        return y_TD + self.residual_dropout(self.feed_forward(u_TD))


class Encoder(nn.Module):
    """Embedding with token dropout, blocks, final norm. Nothing sees padding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(
            alphabet.VOCAB_SIZE, config.embed_dim, padding_idx=alphabet.PAD
        )
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.num_blocks))
        self.final_norm = nn.LayerNorm(config.embed_dim)

    def use_backend(self, backend: Backend) -> None:
        """Let every block run on these implementations."""
        for block in self.blocks:
            assert isinstance(block, EncoderBlock)
            for module in (block, block.attention, block.feed_forward):
                module.backend = backend

    def recompute_blocks(self, *, every: int) -> None:
        """Let every so many blocks keep their input only, and run again in backward; 0: none."""
        for i, block in enumerate(self.blocks, start=1):
            assert isinstance(block, EncoderBlock)
            block.is_recomputed = bool(every) and i % every == 0

    def choose_backend(self, device: torch.device, dtype: torch.dtype) -> str:
        """Take the implementations the config asks for on `device`; returns which and why."""
        backend = choose_backend(
            device,
            dtype,
            attention=self.config.attention,
            kernels=self.config.kernels,
            head_dim=self.config.head_dim,
            dropout_p=self.config.attention_dropout if self.training else 0.0,
        )
        self.use_backend(backend)
        return backend.describe()

    def forward(self, ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Representation of every token, (T, D). `ids_T` may be of any integer type."""
        if ids_T.ndim != 1:
            raise ValueError(
                f"ids must be packed, one dimension of tokens; got shape {tuple(ids_T.shape)}"
            )
        ids_T = ids_T.long()
        sequence_ids_T = sequence_ids(cu_seqlens, len(ids_T))
        position_ids_T = build_position_ids(cu_seqlens, sequence_ids_T)
        rotary = build_rotary_tables(position_ids_T, self.config.head_dim)
        x_TD = self._embed(ids_T, cu_seqlens, sequence_ids_T)
        for block in self.blocks:
            x_TD = block(x_TD, rotary, cu_seqlens, max_seqlen)
        return self.final_norm(x_TD)

    def _embed(self, ids_T: Tensor, cu_seqlens: Tensor, sequence_ids_T: Tensor) -> Tensor:
        """ESM's token dropout: masked embeddings are zero and the rest of that sequence scaled.

        The scale, (1 - trained ratio) / (1 - observed ratio), is 0.88 where nothing is masked.
        """
        is_mask_T = ids_T == alphabet.MASK
        lengths_B = cu_seqlens.diff()
        masks_B = torch.zeros_like(lengths_B).index_add_(0, sequence_ids_T, is_mask_T.int())
        scale_B = (1 - TRAINED_MASK_RATIO) / (1 - masks_B.float() / lengths_B)
        x_TD = self.embedding(ids_T).masked_fill(is_mask_T[:, None], 0.0)
        return x_TD * scale_B[sequence_ids_T, None].to(x_TD.dtype)
