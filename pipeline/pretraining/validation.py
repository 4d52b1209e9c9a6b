"""Loss on held-out clusters, overall and per RNA type: always the same packs and masks.

Shape suffixes: M predicted tokens, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..ranks import Ranks, sum_over_ranks
from .batches import PackStream
from .engine import Engine


def validate(
    engine: Engine, stream: PackStream, rna_types: Sequence[str], *, max_packs: int, ranks: Ranks
) -> dict[str, Any]:
    """Mean loss (nats a masked token), perplexity and accuracy; a collective call.

    Packs are shared out among the ranks; a rank without one repeats pack 0 with no weight, since
    under ZeRO-3 every rank must make the same calls.
    """
    num_packs = min(stream.num_packs(0), max_packs)
    totals = torch.zeros(3, len(rna_types), dtype=torch.float64, device=ranks.device)
    engine.train(False)
    with torch.no_grad():
        for first in range(0, num_packs, ranks.world_size):
            number = first + ranks.rank
            is_real = number < num_packs
            batch = stream.pack(number if is_real else 0).to(ranks.device)
            logits_MV = engine.predict(batch).float()
            if not is_real:
                continue
            losses_M = F.cross_entropy(logits_MV, batch.labels_M, reduction="none")
            hits_M = logits_MV.argmax(-1) == batch.labels_M
            for row, values_M in enumerate((losses_M, hits_M, torch.ones_like(losses_M))):
                totals[row].index_add_(0, batch.rna_type_ids_M, values_M.double())
    engine.train()
    loss_sums, hits, counts = sum_over_ranks(totals).cpu()
    loss = float(loss_sums.sum() / counts.sum())
    seen = [i for i, count in enumerate(counts.tolist()) if count]
    return {
        "loss": loss,
        "perplexity": math.exp(loss),
        "accuracy": float(hits.sum() / counts.sum()),
        "masked_tokens": int(counts.sum()),
        "loss_per_rna_type": {rna_types[i]: float(loss_sums[i] / counts[i]) for i in seen},
        "accuracy_per_rna_type": {rna_types[i]: float(hits[i] / counts[i]) for i in seen},
    }
