"""Pair probabilities to a structure: the published greedy decoder, and which pairs it allows.

Shape suffixes: L nucleotides of one RNA, P pairs. pairs_P2 holds 0-based (i, j) with i < j.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MIN_PAIR_DISTANCE = 4
"""Smallest |i - j| of a pair: a hairpin has at least three unpaired bases."""
ALLOWED_PAIRS = ("AU", "UA", "GC", "CG", "GU", "UG")
"""Watson-Crick and wobble, T read as U. As published, lower case and N never pair."""
THRESHOLD_GRID = tuple(step / 100 for step in range(1, 30))
"""Thresholds that are tried on validation RNAs: 0.01 .. 0.29, as published."""

Pairs = NDArray[np.int64]
Matrix = TypeVar("Matrix", NDArray, Tensor)


class RankedPairs(NamedTuple):
    """Pairs in the order the greedy decoder takes them, so probabilities never rise."""

    pairs_P2: Pairs
    probabilities_P: NDArray[np.floating]

    def above(self, threshold: float) -> Pairs:
        """The structure the greedy decoder finds at `threshold`."""
        return self.pairs_P2[: np.count_nonzero(self.probabilities_P > threshold)]


def decode_greedy(probabilities_LL: Matrix, sequence: str, threshold: float) -> Matrix:
    """Contact map (0 or 1, symmetric, int8) of the published decoder, as NumPy or torch came in.

    Of the allowed pairs with probability above `threshold` the most probable is taken first; then
    all others of its two bases are out, and so on. Pseudoknots may form.
    """
    if isinstance(probabilities_LL, Tensor):
        on_cpu_LL = probabilities_LL.detach().cpu()
        if on_cpu_LL.dtype == torch.bfloat16:  # NumPy has no bfloat16
            on_cpu_LL = on_cpu_LL.float()
        contact_map_LL = decode_greedy(on_cpu_LL.numpy(), sequence, threshold)
        return torch.from_numpy(contact_map_LL).to(probabilities_LL.device)
    ranked = rank_pairs(probabilities_LL, sequence, threshold)
    return build_contact_map(ranked.pairs_P2, len(sequence))


def rank_pairs(
    probabilities_LL: NDArray[np.floating], sequence: str, threshold: float
) -> RankedPairs:
    """Every pair the greedy decoder takes above `threshold`, in one pass over sorted candidates.

    A pair is taken by what stands before it alone, so the structure at a higher threshold is a
    prefix: one pass at the lowest threshold of a grid serves the whole grid.
    """
    length = len(sequence)
    if probabilities_LL.shape != (length, length):
        raise ValueError(
            f"probabilities must be ({length}, {length}) for a sequence of {length} nt, "
            f"got {probabilities_LL.shape}"
        )
    row, column = np.nonzero((probabilities_LL > threshold) & find_allowed_pairs(sequence))
    probability = probabilities_LL[row, column]
    # Stable on row-major candidates: among equals the first of the matrix, as argmax has it.
    order = np.argsort(-probability, kind="stable")

    is_used = [False] * length
    taken: list[int] = []
    candidates = zip(order.tolist(), row[order].tolist(), column[order].tolist(), strict=True)
    for candidate, i, j in candidates:
        if not (is_used[i] or is_used[j]):
            is_used[i] = is_used[j] = True
            taken.append(candidate)
    pairs_P2 = np.sort(np.stack([row[taken], column[taken]], axis=1), axis=1)
    return RankedPairs(pairs_P2.astype(np.int64), probability[taken])


def find_allowed_pairs(sequence: str) -> NDArray[np.bool_]:
    """Mask (L, L) of the pairs a decoded structure may hold."""
    letters = np.frombuffer(sequence.replace("T", "U").encode("ascii", "replace"), np.uint8)
    is_allowed_LL = np.zeros((len(letters), len(letters)), bool)
    for left, right in ALLOWED_PAIRS:
        is_allowed_LL |= np.logical_and.outer(letters == ord(left), letters == ord(right))
    position = np.arange(len(letters))
    is_allowed_LL &= np.abs(np.subtract.outer(position, position)) >= MIN_PAIR_DISTANCE
    return is_allowed_LL


def build_contact_map(pairs: Pairs | Sequence[Sequence[int]], length: int) -> NDArray[np.int8]:
    """Symmetric (L, L) map with 1 where two bases pair."""
    contact_map_LL = np.zeros((length, length), np.int8)
    i, j = np.asarray(pairs, np.int64).reshape(-1, 2).T
    contact_map_LL[i, j] = contact_map_LL[j, i] = 1
    return contact_map_LL


def read_contact_map(contact_map_LL: NDArray | Tensor) -> Pairs:
    """Pairs of the strict upper triangle, in row-major order."""
    return np.argwhere(np.triu(np.asarray(contact_map_LL) != 0, 1)).astype(np.int64)
