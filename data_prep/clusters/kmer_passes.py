"""How many passes MMseqs2's `kmermatcher` makes over the k-mers, which its result must not show.

Each pass reads every sequence again, about 5 us of a core, so few are better. MMseqs2 keeps the
k-mers that a pair shares on one diagonal in a byte for each pass: long RNAs that are nearly the
same run over. It is harmless: among 52,226 lncRNAs, of which one has 205,000 nt, 3 of 34,500 pairs
lay on another diagonal after 5 passes than after 15, none of them of more than 3,000 nt, and 60
after either than after one (one comparison by hand, no row).
"""

import os

import numpy as np
from numpy.typing import NDArray

_SCALE = 0.2
"""Of a sequence's letters, what MMseqs2 adds to its k-mers: its default for nucleotides."""
_RECORD_BYTES = 32
"""What MMseqs2 itself keeps of a sequence, and takes off the limit first."""
_LEAST_PASSES = 4
"""If there are several: machines with more memory then make as many."""
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def choose_table_limit(lengths: NDArray[np.int32], k: int, kmer_per_seq: int, limit: str) -> str:
    """Return kmermatcher's `--split-memory-limit`: all of `limit` where one pass suffices.

    Where it does not, a part of it that makes four passes, or eight, or as many as it takes.
    """
    allowed = int(0.9 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))  # MMseqs2's 0
    if limit != "0":
        allowed = int(limit[:-1]) * _UNITS[limit[-1]]
    kmers = np.minimum(np.maximum(1, lengths - (k or 17) + 2), kmer_per_seq + _SCALE * lengths)
    table = kmers.sum(dtype=np.float64) * (16 if int(lengths.max()) < 32_767 else 20)
    kept = len(lengths) * _RECORD_BYTES
    if table * 1.01 + kept <= allowed:
        return limit
    passes = _LEAST_PASSES
    while table / passes + kept > allowed and table / passes > 1 << 20:
        passes *= 2  # in steps, so that a little more or less memory changes nothing
    return f"{int(table / passes + kept)}B"
