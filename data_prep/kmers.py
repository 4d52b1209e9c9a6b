"""Numbers of k-mers, many sequences at once."""

import numpy as np
from numpy.typing import NDArray

_CODES = np.zeros(256, np.uint32)
_CODES[np.frombuffer(b"CGTU", np.uint8)] = [1, 2, 3, 3]
_IS_NO_BASE = np.ones(256, bool)
_IS_NO_BASE[np.frombuffer(b"ACGTU", np.uint8)] = False


def number_kmers(
    letters: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the k-mer that starts at each letter, two bits a base, and which hold bases alone.

    The first base is the highest. Line ends and ambiguous letters are no bases; `k` is at most 16.
    """
    assert 1 <= k <= 16
    if len(letters) < k:
        return np.empty(0, np.uint32), np.empty(0, bool)
    codes, is_bad, done = _CODES[letters], _IS_NO_BASE[letters], 1
    while done < k:  # a doubled k-mer is two of them side by side, or overlapping at the end
        step = min(done, k - done)
        tail = np.uint32(4**step - 1)
        codes = codes[:-step] << np.uint32(2 * step) | codes[step:] & tail
        is_bad = is_bad[:-step] | is_bad[step:]
        done += step
    return codes, ~is_bad


def build_reverse_complements(k: int) -> NDArray[np.uint32]:
    """Return the number of each k-mer's reverse complement; a table for a small `k`."""
    codes = np.arange(4**k, dtype=np.uint32)
    reverse = np.zeros_like(codes)
    for _ in range(k):
        reverse = reverse << np.uint32(2) | (np.uint32(3) - (codes & np.uint32(3)))
        codes = codes >> np.uint32(2)
    return reverse
