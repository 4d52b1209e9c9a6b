"""Who gets which packs of a step: the only place where the number of ranks plays a part."""

import math


def count_micro_steps(packs_per_step: int, *, world_size: int) -> int:
    """Forward and backward passes that every rank makes in a step."""
    return math.ceil(packs_per_step / world_size)


def share_packs(
    step: int, packs_per_step: int, *, rank: int, world_size: int
) -> list[tuple[int, float]]:
    """This rank's packs of a step with weight 1, or 0 for one that only fills in.

    Packs are named by their place among all packs the run shows, from 0: a step's are those at
    [step * packs_per_step, (step + 1) * packs_per_step), whoever computes them. Every rank makes
    the same number of micro-steps, because under ZeRO-3 each is a collective.
    """
    first = step * packs_per_step
    shares = []
    for micro_step in range(count_micro_steps(packs_per_step, world_size=world_size)):
        offset = micro_step * world_size + rank
        is_real = offset < packs_per_step
        shares.append((first + offset, 1.0) if is_real else (first, 0.0))
    return shares
