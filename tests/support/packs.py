"""Packed inputs from plain strings."""

import torch
from torch import Tensor

from openrinalmo.model.alphabet import encode


def pack(*sequences: str | Tensor) -> tuple[Tensor, Tensor, int]:
    """Ids, cu_seqlens and max_seqlen of sequences (strings, or ids as they are)."""
    ids = [encode(s) if isinstance(s, str) else s for s in sequences]
    lengths = [len(x) for x in ids]
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    return torch.cat(ids), cu_seqlens, max(lengths)
