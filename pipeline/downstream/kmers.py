"""What a model without pretraining can read of a sequence: letters around a base, counts of k-mers.

Shape suffixes: T nucleotides of all sequences, N sequences, D columns.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LETTERS = "ACGU"
WINDOW_REACH = 4
"""Letters on either side of a base that its row shows."""
WINDOW_COLUMNS = len(LETTERS) + 1
"""Columns of one place of a window: the four letters, and beyond an end of the sequence."""
MAX_K = 6

_BEYOND = len(LETTERS)
_AMBIGUOUS = len(LETTERS) + 1


def encode_kmer_windows(
    sequences: Sequence[str], *, reach: int = WINDOW_REACH
) -> NDArray[np.float32]:
    """Rows (T, (2 * reach + 1) * 5), sequence after sequence: one-hot letters around each base.

    Places go from `reach` before to `reach` behind, each A, C, G, U, beyond the end; T reads as U.
    An ambiguous letter is five zeros. No window sees another sequence.
    """
    if reach < 0:
        raise ValueError(f"reach must not be negative, got {reach}")
    one_hot = np.eye(_AMBIGUOUS + 1, WINDOW_COLUMNS, dtype=np.float32)
    width = 2 * reach + 1
    lengths = [len(sequence) for sequence in sequences]
    rows_TD = np.empty((sum(lengths), width * WINDOW_COLUMNS), np.float32)
    end = 0
    for sequence in sequences:
        if not sequence:
            continue
        padded = np.pad(_number_letters(sequence), reach, constant_values=_BEYOND)
        windows = np.lib.stride_tricks.sliding_window_view(padded, width)
        start, end = end, end + len(sequence)
        rows_TD[start:end] = one_hot[windows].reshape(len(sequence), -1)
    return rows_TD


def encode_kmer_counts(sequences: Sequence[str], k: int = 4) -> NDArray[np.float32]:
    """Rows (N, 4 + 16 + ... + 4**k): shares of the 1-mers, 2-mers, ... k-mers of each sequence.

    k-mers of a size sum to 1, in the order AA, AC, AG, AU, CA, ...; one with an ambiguous letter
    does not count. All are zeros where a sequence has none of that size.
    """
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k must be 1 to {MAX_K}, got {k}: columns grow as 4**k")
    sizes = range(1, k + 1)
    ends = np.cumsum([4**size for size in sizes]).tolist()
    rows_ND = np.zeros((len(sequences), ends[-1]), np.float32)
    for row_D, sequence in zip(rows_ND, sequences, strict=True):
        numbers = _number_letters(sequence)
        for size, end in zip(sizes, ends, strict=True):
            if len(numbers) < size:
                break
            kmers = np.lib.stride_tricks.sliding_window_view(numbers, size)
            clean = kmers[(kmers < len(LETTERS)).all(axis=1)]
            codes = clean @ (4 ** np.arange(size - 1, -1, -1))
            row_D[end - 4**size : end] = np.bincount(codes, minlength=4**size) / max(len(clean), 1)
    return rows_ND


def _number_letters(sequence: str) -> NDArray[np.int64]:
    """Place of each letter in ACGU; `_AMBIGUOUS` for all others."""
    letters = np.frombuffer(sequence.replace("T", "U").encode("ascii", "replace"), np.uint8)
    number_of = np.full(256, _AMBIGUOUS, np.int64)
    number_of[np.frombuffer(LETTERS.encode(), np.uint8)] = np.arange(len(LETTERS))
    return number_of[letters]
