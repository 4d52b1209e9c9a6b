"""How many passes MMseqs2's `kmermatcher` makes over the k-mers, which its result must not show."""

import math
import os

import numpy as np
from numpy.typing import NDArray

_SCALE = 0.2
"""Of a sequence's letters, what MMseqs2 adds to its k-mers: its default for nucleotides."""
_RECORD_BYTES = 32
"""What MMseqs2 itself keeps of a sequence, and takes off the limit first."""
_SAFE_COUNT = 160
"""Of its longest sequence, the k-mers in one pass. A pass counts to 255 and begins at 0 again."""
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def choose_table_limit(lengths: NDArray[np.int32], k: int, kmer_per_seq: int, limit: str) -> str:
    """Return kmermatcher's `--split-memory-limit`: all of `limit` where one pass suffices.

    Where it does not, a part of it that makes so many passes that none counts over 255 k-mers of
    a pair on one diagonal: MMseqs2 keeps these counts in a byte, and only if there are passes.
    """
    allowed = int(0.9 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))  # MMseqs2's 0
    if limit != "0":
        allowed = int(limit[:-1]) * _UNITS[limit[-1]]
    longest = int(lengths.max())
    kmers = np.minimum(np.maximum(1, lengths - (k or 17) + 2), kmer_per_seq + _SCALE * lengths)
    table = kmers.sum(dtype=np.float64) * (16 if longest < 32_767 else 20)
    kept = len(lengths) * _RECORD_BYTES
    if table * 1.01 + kept <= allowed:
        return limit
    safe = math.ceil((kmer_per_seq + _SCALE * longest) / _SAFE_COUNT)
    passes = max(safe, 2)
    while table / passes + kept > allowed and table / passes > 1 << 20:
        passes *= 2  # in steps, so that a little more or less memory changes nothing
    return f"{int(table / passes + kept)}B"
