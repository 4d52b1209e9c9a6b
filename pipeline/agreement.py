"""Ranks that agree: where one fails, all fail, rather than wait for it in their next collective."""

import torch

from .ranks import Ranks, sum_over_ranks


def raise_together(error: Exception | None, ranks: Ranks, doing: str) -> None:
    """Raise this rank's `error`, or say that other ranks have one; a collective call."""
    failed = torch.zeros(ranks.world_size, dtype=torch.int64, device=ranks.device)
    failed[ranks.rank] = error is not None
    failed = sum_over_ranks(failed)
    if error is not None:
        raise error
    if names := [str(rank) for rank in failed.nonzero().flatten().tolist()]:
        raise ValueError(f"{doing} failed on rank {', '.join(names)}, which says why")


def take_from_rank_zero(value: int, ranks: Ranks) -> int:
    """Rank 0's `value`, on every rank; a collective call."""
    mine = value if ranks.is_rank_zero else 0
    return int(sum_over_ranks(torch.tensor(mine, dtype=torch.int64, device=ranks.device)))
