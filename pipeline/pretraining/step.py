"""One optimizer update on one global batch, however it is shared out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...model.masked_lm import masked_lm_loss_sum
from ..ranks import sum_over_ranks
from .batches import PackedBatch
from .engine import Engine
from .tally import Tally


class StepResult(NamedTuple):
    """What a step did, the same on every rank."""

    loss: float
    """Mean over the masked tokens of the whole global batch, nats."""
    pack_losses: list[float]
    """Mean of each pack of the global batch."""
    masked: int
    tokens: int
    squares: int
    """Sum of the squared sequence lengths: what attention costs."""
    applied: bool
    """Whether the weights were updated: not where loss or gradient is not finite."""
    is_asked_to_stop: bool
    """Whether any rank was."""


def run_step(
    engine: Engine,
    packs: Sequence[PackedBatch],
    shares: Sequence[tuple[int, float]],
    *,
    packs_per_step: int,
    lr: float,
    tally: Tally,
    stop: bool,
) -> StepResult:
    """Forward, backward and update; a collective call.

    `shares` gives each pack's place among all that the run shows, and its weight (`sharing.py`).
    The loss is the mean over the masked tokens of all ranks' packs, so how the packs are shared
    out among ranks and micro-steps changes nothing but rounding.
    """
    device = engine.ranks.device
    counts = torch.zeros(4, packs_per_step, dtype=torch.float64)
    for pack, (place, weight) in zip(packs, shares, strict=True):
        size = (len(pack.labels_M), pack.num_tokens, pack.sum_squared_lengths)
        counts[:3, place % packs_per_step] += torch.tensor(size, dtype=torch.float64) * weight
    counts[3, 0] = stop
    counts = sum_over_ranks(counts.to(device)).cpu()
    masked, tokens, squares, stops = counts.sum(1).tolist()
    masked = max(masked, 1.0)  # a batch of nothing but N has a loss of 0

    engine.set_lr(lr)
    loss_sums = torch.zeros(packs_per_step, dtype=torch.float64, device=device)
    for i, (pack, (place, weight)) in enumerate(zip(packs, shares, strict=True)):
        torch.manual_seed(pack.dropout_seed)
        logits_MV = engine.predict(pack)
        loss_sum = masked_lm_loss_sum(logits_MV, pack.labels_M) * weight
        engine.backward(loss_sum / masked)
        loss_sums[place % packs_per_step] += loss_sum.detach()
        if weight:
            tally.add(logits_MV.detach(), pack)
        if i < len(packs) - 1:
            engine.finish_micro_step()
    loss_sums = sum_over_ranks(loss_sums).cpu()
    loss = float(loss_sums.sum()) / masked
    # Every rank has the same loss, and the engine agrees on the gradient: all skip or none.
    applied = engine.finish_step(skip=not math.isfinite(loss))
    return StepResult(
        loss=loss,
        pack_losses=(loss_sums / counts[0]).tolist(),
        masked=int(masked),
        tokens=int(tokens),
        squares=int(squares),
        applied=applied,
        is_asked_to_stop=stops > 0,
    )
