"""Lengths of records in growing bins: counted by the first step, drawn by the report."""

import numpy as np
from numpy.typing import NDArray

LENGTH_EDGES_NT = np.unique(np.rint(2 ** np.arange(0, 20.01, 0.25)).astype(np.int64))
"""Bounds of bins, four to an octave, up to a million; the last bin holds what is longer."""
_BIN_OF_LENGTH = np.maximum(
    np.searchsorted(LENGTH_EDGES_NT, np.arange(LENGTH_EDGES_NT[-1] + 1), side="right") - 1, 0
).astype(np.uint8)


def count_lengths(lengths_nt: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many lengths fall into each bin of `LENGTH_EDGES_NT`; 0 falls into the first."""
    return np.bincount(find_bins(lengths_nt), minlength=len(LENGTH_EDGES_NT))


def find_bins(lengths_nt: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the bin of each length by a table: a quarter of the time of a search."""
    return _BIN_OF_LENGTH[np.minimum(lengths_nt, len(_BIN_OF_LENGTH) - 1)]
