"""Published heads that give numbers to a whole sequence.

Each reads packed rows and gives one row of outputs a sequence, whatever else is in the pack.

Shape suffixes: T rows of all sequences, N sequences, D embed_dim, C channels, O outputs, P rows of
a padded sequence. cu_seqlens is (N + 1,), where each sequence's rows begin and the last one's end.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .heads import PUBLISHED_PREFIX, load_head_state
from .packed_rows import (
    RowLayout,
    average_rows,
    convolve_rows,
    lay_out_rows,
    measure_lengths,
    normalize_rows,
)

SPLICE_CHANNELS = 128
CLASS_CHANNELS = 256
LOAD_CHANNELS = 32
LOAD_BLOCKS = 6
LOAD_DROPOUT = 0.2
PUBLISHED_LOAD_TOKENS = 102
"""Tokens every sequence was padded to when the published ribosome-load weights were fitted: the 100
nt of the longest 5' UTR, `<cls>` and `<eos>`."""


class SpliceHead(nn.Module):
    """The published splice-site head: a logit from the row of `<cls>`, the first of a sequence."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.classifier = _build_classifier(embed_dim, SPLICE_CHANNELS, 1)

    def forward(self, rows_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Logits (N, 1) from packs of whole sequences, or of their first rows alone."""
        return self.classifier(_take_first_rows(rows_TD, cu_seqlens))


class ClassHead(nn.Module):
    """The published family classifier: a logit a class from the row of `<cls>`."""

    def __init__(self, embed_dim: int, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"a classifier needs two classes or more, got {num_classes}")
        self.classifier = _build_classifier(embed_dim, CLASS_CHANNELS, num_classes)

    def forward(self, rows_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Logits (N, classes) from packs of whole sequences, or of their first rows alone."""
        return self.classifier(_take_first_rows(rows_TD, cu_seqlens))


class RibosomeLoadBlock(nn.Module):
    """Residual block of the published head: twice a convolution of three rows, a norm and ELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.Conv1d(channels, channels, 3, padding="same", bias=False),
                nn.InstanceNorm1d(channels),
                nn.ELU(),
            ]
        self.conv_net = nn.Sequential(*layers)

    def forward(self, x_TC: Tensor, layout: RowLayout) -> Tensor:
        """Add what the two convolutions see to what came in; neither crosses an end."""
        inner_TC = x_TC
        for layer in self.conv_net:
            if isinstance(layer, nn.Conv1d):
                inner_TC = convolve_rows(inner_TC, layer.weight, layout)
            elif isinstance(layer, nn.InstanceNorm1d):
                inner_TC = normalize_rows(inner_TC, layout)
            else:
                inner_TC = layer(inner_TC)
        return x_TC + inner_TC


class RibosomeLoadTrunk(nn.Module):
    """The residual blocks in a row."""

    def __init__(self, channels: int, num_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RibosomeLoadBlock(channels) for _ in range(num_blocks))

    def forward(self, x_TC: Tensor, layout: RowLayout) -> Tensor:
        """Refine the rows."""
        for block in self.blocks:
            x_TC = block(x_TC, layout)
        return x_TC


class RibosomeLoadHead(nn.Module):
    """The published mean-ribosome-load head: a small 1D residual network, pooled; one number.

    It reads a row a token, `<cls>` and `<eos>` included. The published one convolves and normalises
    over padding too, so that its weights want every sequence at the length they were fitted with:
    `padded_tokens` of `PUBLISHED_LOAD_TOKENS` repeats that, with rows of zeros as published. With 0
    a sequence ends where it ends. Either way a result does not depend on the pack.
    """

    def __init__(self, embed_dim: int, *, padded_tokens: int = 0) -> None:
        super().__init__()
        if padded_tokens < 0:
            raise ValueError(f"padded_tokens must be positive, or 0 for none, got {padded_tokens}")
        self.padded_tokens = padded_tokens
        self.linear_in = nn.Linear(embed_dim, LOAD_CHANNELS)
        self.resnet = RibosomeLoadTrunk(LOAD_CHANNELS, LOAD_BLOCKS)
        self.dropout = nn.Dropout(LOAD_DROPOUT)
        self.linear_out = nn.Linear(LOAD_CHANNELS, 1)

    def forward(self, rows_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Standardised loads (N, 1)."""
        lengths_N = measure_lengths(rows_TD, cu_seqlens)
        x_TC = self.linear_in(rows_TD)
        if self.padded_tokens:
            at_T = self._place_rows(lengths_N, cu_seqlens)
            padding_C = self.linear_in.bias.to(x_TC.dtype)  # what `linear_in` makes of zeros
            padded_lengths_N = torch.full_like(lengths_N, self.padded_tokens)
            padded_TC = padding_C.repeat(len(lengths_N) * self.padded_tokens, 1)
            padded_TC = padded_TC.index_copy(0, at_T, x_TC)
            x_TC = self.resnet(padded_TC, lay_out_rows(padded_lengths_N))[at_T]
        else:
            x_TC = self.resnet(x_TC, lay_out_rows(lengths_N))
        return self.linear_out(self.dropout(average_rows(x_TC, lengths_N)))

    def _place_rows(self, lengths_N: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Where each row goes among sequences that are all `padded_tokens` long."""
        if int(lengths_N.max()) > self.padded_tokens:
            raise ValueError(
                f"a sequence of {int(lengths_N.max())} tokens is longer than the "
                f"{self.padded_tokens} every one is padded to: leave it out, or fit with "
                "padded_tokens=0"
            )
        starts_N = torch.arange(len(lengths_N), device=lengths_N.device) * self.padded_tokens
        shift_N = starts_N - cu_seqlens[:-1].long()
        numbers_T = torch.arange(int(cu_seqlens[-1]), device=lengths_N.device)
        return numbers_T + shift_N.repeat_interleave(lengths_N)


class PublishedSequenceHead(NamedTuple):
    """A head of a published fine-tuned checkpoint, and how its targets were standardised."""

    head: SpliceHead | ClassHead | RibosomeLoadHead
    target_mean: float
    target_std: float


def load_published_sequence_head(state: Mapping[str, Tensor | float]) -> PublishedSequenceHead:
    """Build the splice-site, classification or ribosome-load head of a checkpoint, by its keys.

    In fp32 and `eval` mode. Keys outside `pred_head.` and `scaler.` are left alone; a missing,
    unexpected or mis-shaped one inside is a `ValueError` naming it. A prediction of ribosome load
    is the output times `target_std` plus `target_mean`, at least 0; of others these are 1 and 0.
    """
    head: SpliceHead | ClassHead | RibosomeLoadHead
    first = state.get(f"{PUBLISHED_PREFIX}classifier.0.weight")
    last = state.get(f"{PUBLISHED_PREFIX}classifier.2.weight")
    linear_in = state.get(f"{PUBLISHED_PREFIX}linear_in.weight")
    mean, std = 0.0, 1.0
    if isinstance(first, Tensor) and isinstance(last, Tensor):
        embed_dim, outputs = first.shape[-1], last.shape[0]
        head = SpliceHead(embed_dim) if outputs == 1 else ClassHead(embed_dim, outputs)
    elif isinstance(linear_in, Tensor):
        missing = [key for key in ("scaler._mean", "scaler._std") if key not in state]
        if missing:
            raise ValueError(f"no published ribosome-load head: missing {', '.join(missing)}")
        head = RibosomeLoadHead(linear_in.shape[-1], padded_tokens=PUBLISHED_LOAD_TOKENS)
        mean, std = float(state["scaler._mean"]), float(state["scaler._std"])
    else:
        raise ValueError(
            f"no published head of a sequence task: there is neither {PUBLISHED_PREFIX}classifier "
            f"nor {PUBLISHED_PREFIX}linear_in; give a checkpoint fine-tuned on splice sites, "
            "families or ribosome load"
        )
    load_head_state(head, state, what="head of a sequence task")
    return PublishedSequenceHead(head.eval(), mean, std)


def _take_first_rows(rows_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    measure_lengths(rows_TD, cu_seqlens)
    return rows_TD[cu_seqlens[:-1].long()]


def _build_classifier(embed_dim: int, channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(embed_dim, channels), nn.GELU(), nn.Linear(channels, outputs))
