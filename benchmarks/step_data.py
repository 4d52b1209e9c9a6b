"""One optimizer step's sequences, with real lengths and masks, as one pack and as padded rows.

Shape suffixes: T packed tokens, M predicted tokens.
"""

from typing import NamedTuple

import numpy as np
import torch
from length_mixes import build_cu_seqlens, draw_mix
from padded import PaddedBatch, pad_batch
from torch import Tensor

from openrinalmo.model import alphabet
from openrinalmo.model.masked_lm import IGNORE_INDEX
from openrinalmo.pipeline.pretraining.masking import MaskingConfig, mask_tokens

MOST_ROWS = 16
"""Sequences of a padded batch at most, more are shared out evenly: without checkpoints the largest
model's 16 rows of 1,024 fit 80 GB. Larger batches are padded more."""


class StepData(NamedTuple):
    """The same sequences twice; padded batches keep the order in which they were drawn."""

    ids_T: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    predicted_rows_M: Tensor
    labels_M: Tensor
    padded: list[PaddedBatch]

    @property
    def num_tokens(self) -> int:
        """Real tokens."""
        return len(self.ids_T)

    @property
    def num_cells(self) -> int:
        """What the padded batches hold, padding included."""
        return sum(batch.ids_BL.numel() for batch in self.padded)

    @property
    def sum_squared_lengths(self) -> int:
        """Pairs of tokens that attention is about."""
        return int(self.cu_seqlens.diff().long().square().sum())


def draw_step(mix: str, num_tokens: int, device: torch.device, *, seed: int = 0) -> StepData:
    """Sequences of random letters with a mix's lengths, masked as pretraining masks them."""
    return build_step_data(draw_mix(mix, num_tokens, seed=seed), device, seed=seed)


def build_step_data(lengths: list[int], device: torch.device, *, seed: int) -> StepData:
    """Random sequences of these lengths in tokens, `<cls>` and `<eos>` counted in."""
    rng = np.random.default_rng(seed)
    cu_seqlens = build_cu_seqlens(lengths)
    letters = np.asarray(alphabet.NUCLEOTIDES, np.uint8)
    true_T = rng.choice(letters, sum(lengths))
    true_T[cu_seqlens[1:] - 1] = alphabet.EOS
    true_T[cu_seqlens[:-1]] = alphabet.CLS
    keys_B = rng.integers(2**63, size=len(lengths), dtype=np.uint64)
    shown_T, labels_T = mask_tokens(true_T, cu_seqlens.numpy(), keys_B, MaskingConfig())

    rows_M = np.flatnonzero(labels_T != IGNORE_INDEX)
    ids_T, all_labels_T = (torch.from_numpy(x).long().to(device) for x in (shown_T, labels_T))
    ids, labels = ids_T.split(lengths), all_labels_T.split(lengths)
    num_batches = -(-len(lengths) // MOST_ROWS)
    shares = np.array_split(np.arange(len(lengths)), num_batches)
    return StepData(
        ids_T=ids_T,
        cu_seqlens=cu_seqlens.to(device),
        max_seqlen=max(lengths),
        predicted_rows_M=torch.from_numpy(rows_M).to(device),
        labels_M=torch.from_numpy(labels_T[rows_M]).to(device),
        padded=[pad_batch([ids[i] for i in share], [labels[i] for i in share]) for share in shares],
    )
