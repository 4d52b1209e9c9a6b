"""The rival: the same model on rows padded to the longest, attention by torch's SDPA with a mask.

Modules carry the published names, so that published weights load strictly. As in the published
code, norms, feed-forward and head run on the padding too, the two branches of the gate are two
products of odd width, and a block may be recomputed in the backward pass. Kinder than that code:
weights may be held in bf16, and rows are not gathered and scattered around every attention.

Shape suffixes: B sequences, L positions, H heads, K head dim, D width, F feed-forward width.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openrinalmo.model import alphabet
from openrinalmo.model.encoder import TRAINED_MASK_RATIO, EncoderConfig
from openrinalmo.model.masked_lm import IGNORE_INDEX, MaskedLM
from openrinalmo.model.upstream import export_published


class PaddedBatch(NamedTuple):
    """Sequences as rows of one length."""

    ids_BL: Tensor
    labels_BL: Tensor


def pad_batch(ids: list[Tensor], labels: list[Tensor]) -> PaddedBatch:
    """Rows of the longest sequence's length; padding is predicted nowhere."""
    pad = torch.nn.utils.rnn.pad_sequence
    return PaddedBatch(
        ids_BL=pad(ids, batch_first=True, padding_value=alphabet.PAD),
        labels_BL=pad(labels, batch_first=True, padding_value=IGNORE_INDEX),
    )


class PaddedMaskedLM(nn.Module):
    """Embedding with token dropout, blocks, final norm and head, on padded rows. No dropout."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.head_dim = config.head_dim
        self.is_checkpointed = False
        self.embedding = nn.Embedding(alphabet.VOCAB_SIZE, width, padding_idx=alphabet.PAD)
        self.transformer = nn.ModuleDict(
            {
                "blocks": nn.ModuleList(_Block(config) for _ in range(config.num_blocks)),
                "final_layer_norm": nn.LayerNorm(width),
            }
        )
        self.lm_mask_head = nn.ModuleDict(
            {
                "linear1": nn.Linear(width, width),
                "layer_norm": nn.LayerNorm(width),
                "linear2": nn.Linear(width, alphabet.VOCAB_SIZE),
            }
        )

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Logits of every position, padding included, (B, L, vocabulary)."""
        is_real_BL = ids_BL != alphabet.PAD
        is_mask_BL = ids_BL == alphabet.MASK
        ratio_B1 = is_mask_BL.sum(1, keepdim=True) / is_real_BL.sum(1, keepdim=True)
        scale_BL = (1 - TRAINED_MASK_RATIO) / (1 - ratio_B1) * ~is_mask_BL
        x_BLD = self.embedding(ids_BL)
        x_BLD = x_BLD * scale_BL[..., None].to(x_BLD.dtype)
        angle_L2 = _angles(ids_BL.shape[1], self.head_dim, ids_BL.device)
        is_key_B11L = is_real_BL[:, None, None, :]
        for block in self.transformer["blocks"]:  # pyright: ignore[reportGeneralTypeIssues]
            if self.is_checkpointed:
                x_BLD = checkpoint(block, x_BLD, angle_L2, is_key_B11L, use_reentrant=False)
            else:
                x_BLD = block(x_BLD, angle_L2, is_key_B11L)
        head = self.lm_mask_head
        hidden_BLD = F.gelu(head["linear1"](self.transformer["final_layer_norm"](x_BLD)))
        return head["linear2"](head["layer_norm"](hidden_BLD))


class _Block(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, ffn_dim = config.embed_dim, config.published_ffn_dim
        self.num_heads = config.num_heads
        self.mh_attn = nn.ModuleDict(
            {
                "Wqkv": nn.Linear(width, 3 * width, bias=False),
                "out_proj": nn.Linear(width, width, bias=False),
            }
        )
        self.attn_layer_norm = nn.LayerNorm(width)
        gate, back = _Gate(width, ffn_dim), nn.Linear(ffn_dim, width)
        self.transition = nn.Sequential(gate, nn.Identity(), back)
        self.out_layer_norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor, angle_L2: Tensor, is_key_B11L: Tensor) -> Tensor:
        """Attention's residual is the normalised input, the feed-forward's the usual one."""
        h_BLD = self.attn_layer_norm(x_BLD)
        y_BLD = h_BLD + self._attend(h_BLD, angle_L2, is_key_B11L)
        return y_BLD + self.transition(self.out_layer_norm(y_BLD))

    def _attend(self, h_BLD: Tensor, angle_L2: Tensor, is_key_B11L: Tensor) -> Tensor:
        projected = self.mh_attn["Wqkv"](h_BLD).unflatten(-1, (3, self.num_heads, -1))
        q_BHLK, k_BHLK, v_BHLK = projected.permute(2, 0, 3, 1, 4)
        mixed_BHLK = F.scaled_dot_product_attention(
            _rotate(q_BHLK, angle_L2), _rotate(k_BHLK, angle_L2), v_BHLK, attn_mask=is_key_B11L
        )
        return self.mh_attn["out_proj"](mixed_BHLK.transpose(1, 2).flatten(2))


class _Gate(nn.Module):
    def __init__(self, width: int, ffn_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, ffn_dim)
        self.linear_gate = nn.Linear(width, ffn_dim)
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x_BLD: Tensor) -> Tensor:
        activated_BLF = self.linear(x_BLD)
        return activated_BLF * torch.sigmoid(self.beta * activated_BLF) * self.linear_gate(x_BLD)


def _angles(length: int, head_dim: int, device: torch.device) -> Tensor:
    half = torch.arange(head_dim // 2, device=device, dtype=torch.float32) / (head_dim // 2)
    return torch.arange(length, device=device)[:, None] / 10_000**half


def _rotate(x_BHLK: Tensor, angle_L2: Tensor) -> Tensor:
    """Turn each pair (k, k + K/2); sine and cosine in fp32, the product in the input's dtype."""
    cos_L2, sin_L2 = angle_L2.cos().to(x_BHLK.dtype), angle_L2.sin().to(x_BHLK.dtype)
    first, second = x_BHLK.chunk(2, dim=-1)
    return torch.cat([first * cos_L2 - second * sin_L2, second * cos_L2 + first * sin_L2], dim=-1)


def build_padded(model: MaskedLM, *, is_checkpointed: bool) -> PaddedMaskedLM:
    """The rival with a copy of `model`'s weights, at their published widths."""
    with torch.device("meta"):
        rival = PaddedMaskedLM(model.config)
    rival.to_empty(device="cpu").load_state_dict(export_published(model))
    rival.is_checkpointed = is_checkpointed
    return rival


def padded_loss_sum(model: PaddedMaskedLM, batch: PaddedBatch) -> Tensor:
    """Sum of the cross-entropies of the batch's predicted tokens, in nats."""
    logits = model(batch.ids_BL).flatten(0, 1).float()
    labels = batch.labels_BL.flatten()
    return F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
