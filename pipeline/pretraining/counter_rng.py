"""Random numbers as pure functions of a key and a counter, vectorised over counters.

No state, no stream: the draw for (seed, epoch, record, position) is the same whichever rank,
worker or restart asks, and does not change with the NumPy version. Shape suffixes: B sequences, T
packed tokens.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection that avalanches."""
    with np.errstate(over="ignore"):  # NumPy warns of scalars only
        return _finalise(words + _GOLDEN)


def derive_key(key: int | NDArray[np.uint64], word: int | NDArray) -> NDArray[np.uint64]:
    """A new key from a key and one more word (an epoch, a record, a purpose); either an array."""
    return mix(mix(np.asarray(key, np.uint64)) ^ np.asarray(word).astype(np.uint64))


@cache
def derive_purpose_key(seed: int, epoch: int, purpose: int) -> NDArray[np.uint64]:
    """The key of all draws for one purpose in one epoch; remembered, since packs ask again."""
    return derive_key(derive_key(seed, epoch), purpose)


def uniform(keys: NDArray[np.uint64], counters: NDArray) -> NDArray[np.float64]:
    """Draws from [0, 1) with 53 bits, one for each pair of key and counter (broadcast)."""
    words = derive_key(keys, counters)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_words(keys_B: NDArray[np.uint64], cu_seqlens: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A word for every token of packed sequences: what SplitMix64 seeded with its key gives there.

    One hash a token, because the generator's state at a position is key + position * constant.
    """
    starts_B = cu_seqlens[:-1].astype(np.uint64)
    words_T = np.arange(cu_seqlens[-1], dtype=np.uint64)
    words_T *= _GOLDEN
    words_T += np.repeat(keys_B + (_GOLDEN - starts_B * _GOLDEN), np.diff(cu_seqlens))
    return _finalise(words_T)


def _finalise(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix in place: an array of a pack is half a megabyte, and each one less counts."""
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words
