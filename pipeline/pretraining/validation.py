"""Loss on held-out clusters, overall and per RNA type: always the same packs and masks."""

from collections.abc import Sequence
from typing import Any

import torch

from ..ranks import Ranks
from .batches import PackStream
from .engine import Engine
from .tally import Tally


def validate(
    engine: Engine, stream: PackStream, rna_types: Sequence[str], *, max_packs: int, ranks: Ranks
) -> dict[str, Any]:
    """Mean loss (nats a masked token), perplexity and accuracy; a collective call.

    Packs are shared out among the ranks; a rank without one repeats pack 0 and does not count it,
    since under ZeRO-3 every rank must make the same calls.
    """
    num_packs = min(stream.num_packs(0), max_packs)
    tally = Tally(rna_types, ranks.device)
    engine.train(False)
    with torch.no_grad():
        for first in range(0, num_packs, ranks.world_size):
            number = first + ranks.rank
            is_real = number < num_packs
            pack = stream.pack(number if is_real else 0).to(ranks.device)
            logits_MV = engine.predict(pack)
            if is_real:
                tally.add(logits_MV, pack)
    engine.train()
    return tally.take()
