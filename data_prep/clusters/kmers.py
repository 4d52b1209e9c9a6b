"""Numbers of k-mers, many sequences at once."""

import numpy as np
from numpy.typing import NDArray

_NO_BASE = 4
_codes = np.full(256, _NO_BASE, np.uint8)
_codes[np.frombuffer(b"ACGTU", np.uint8)] = [0, 1, 2, 3, 3]
_CODES = _codes.tobytes()


def number_kmers(
    letters: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the k-mer that starts at each letter, two bits a base, and which hold bases alone.

    The first base is the highest. Line ends and ambiguous letters are no bases; `k` is at most 16.
    """
    assert 1 <= k <= 16
    if len(letters) < k:
        return np.empty(0, np.uint32), np.empty(0, bool)
    codes = np.frombuffer(letters.tobytes().translate(_CODES), np.uint8)
    is_base = codes < _NO_BASE
    codes, done = codes & np.uint8(_NO_BASE - 1), 1
    while done < k:  # a doubled k-mer is two of them side by side, or overlapping at the end
        step = min(done, k - done)
        done += step
        kind = np.uint8 if done <= 4 else np.uint16 if done <= 8 else np.uint32
        codes = codes.astype(kind, copy=False)  # as narrow as they fit: half the time
        codes = codes[:-step] << kind(2 * step) | codes[step:] & kind(4**step - 1)
        is_base = is_base[:-step] & is_base[step:]
    return codes.astype(np.uint32, copy=False), is_base


def build_reverse_complements(k: int) -> NDArray[np.uint32]:
    """Return the number of each k-mer's reverse complement; a table for a small `k`."""
    codes = np.arange(4**k, dtype=np.uint32)
    reverse = np.zeros_like(codes)
    for _ in range(k):
        reverse = reverse << np.uint32(2) | (np.uint32(3) - (codes & np.uint32(3)))
        codes = codes >> np.uint32(2)
    return reverse
