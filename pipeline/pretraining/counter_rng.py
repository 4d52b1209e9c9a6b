"""Random numbers as pure functions of a key and a counter, vectorised over counters.

No state, no stream: the draw for (seed, epoch, record, position) is the same whichever rank,
worker or restart asks, and does not change with the NumPy version.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection that avalanches."""
    with np.errstate(over="ignore"):
        words = words + _GOLDEN
        words = (words ^ (words >> np.uint64(30))) * _FIRST
        words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def derive_key(key: int | NDArray[np.uint64], word: int | NDArray) -> NDArray[np.uint64]:
    """A new key from a key and one more word (an epoch, a record, a purpose); either an array."""
    return mix(mix(np.asarray(key, np.uint64)) ^ np.asarray(word).astype(np.uint64))


def uniform(keys: NDArray[np.uint64], counters: NDArray) -> NDArray[np.float64]:
    """Draws from [0, 1) with 53 bits, one for each pair of key and counter (broadcast)."""
    words = derive_key(keys, counters)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
