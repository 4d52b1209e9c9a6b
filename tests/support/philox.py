"""Attention's dropout mask computed apart from the kernels: Philox4x32-7 in NumPy.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11).
"""

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: list[np.ndarray], seed: int, *, rounds: int) -> list[np.ndarray]:
    """Four 32-bit words for each counter of four words, all held in uint64."""
    words = [np.asarray(word, np.uint64) for word in counter]
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(rounds):
        first, second = (_MULTIPLIERS[i] * words[2 * i] for i in (0, 1))
        words = [
            (second >> _HALF) ^ words[1] ^ np.uint64(keys[0]),
            second & _LOW,
            (first >> _HALF) ^ words[3] ^ np.uint64(keys[1]),
            first & _LOW,
        ]
        keys = [(key + step) & 0xFFFFFFFF for key, step in zip(keys, _KEY_STEPS, strict=True)]
    return words


def kept_weights(num_tokens: int, num_heads: int, dropout_p: float, seed: int) -> Tensor:
    """Whether the weight of each query, of each key in each head, survives: (H, T, T)."""
    head, query, key = np.meshgrid(
        np.arange(num_heads), np.arange(num_tokens), np.arange(num_tokens), indexing="ij"
    )
    random = philox([key, query, head, np.zeros_like(key)], seed, rounds=7)[0] >> np.uint64(8)
    return torch.from_numpy(random.astype(np.int64) >= round(dropout_p * 2**24))
