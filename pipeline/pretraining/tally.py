"""Loss and accuracy of predicted tokens, overall and per RNA type, summed over ranks.

Shape suffixes: M predicted tokens, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ranks import sum_over_ranks
from .batches import PackedBatch


class Tally:
    """Sums of losses (nats), hits and predicted tokens by RNA type, on the rank's device."""

    def __init__(self, rna_types: Sequence[str], device: torch.device) -> None:
        self._rna_types = rna_types
        self._totals = torch.zeros(3, len(rna_types), dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, logits_MV: Tensor, pack: PackedBatch) -> None:
        """Count one pack's predictions."""
        losses_M = F.cross_entropy(logits_MV.float(), pack.labels_M, reduction="none")
        hits_M = logits_MV.argmax(-1) == pack.labels_M
        for row, values_M in enumerate((losses_M, hits_M, torch.ones_like(losses_M))):
            self._totals[row].index_add_(0, pack.rna_type_ids_M, values_M.double())

    def take(self) -> dict[str, Any]:
        """Means over all ranks since the last take; a collective call."""
        totals = sum_over_ranks(self._totals.clone()).cpu()
        self._totals.zero_()
        loss_sums, hits, counts = totals
        total = float(counts.sum())
        if not total:
            return {"masked_tokens": 0}
        loss = float(loss_sums.sum()) / total
        seen = [i for i, count in enumerate(counts.tolist()) if count]
        return {
            "loss": loss,
            "perplexity": _exp(loss),
            "accuracy": float(hits.sum()) / total,
            "masked_tokens": int(total),
            "loss_per_rna_type": {
                self._rna_types[i]: float(loss_sums[i] / counts[i]) for i in seen
            },
            "accuracy_per_rna_type": {self._rna_types[i]: float(hits[i] / counts[i]) for i in seen},
        }


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
