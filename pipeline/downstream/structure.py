"""Pair probabilities to a structure: the published greedy decoder, and three that weigh all pairs.

Shape suffixes: L nucleotides of one RNA, P pairs. pairs_P2 holds 0-based (i, j) with i < j.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decoders.energy_prior import weigh_against_energy
from .decoders.matching import match_pairs
from .decoders.nussinov import nest_pairs

MIN_PAIR_DISTANCE = 4
"""Smallest |i - j| of a pair: a hairpin has at least three unpaired bases."""
ALLOWED_PAIRS = ("AU", "UA", "GC", "CG", "GU", "UG")
"""Watson-Crick and wobble, T read as U. As published, lower case and N never pair."""
THRESHOLD_GRID = tuple(step / 100 for step in range(1, 30))
"""Thresholds that are tried on validation RNAs: 0.01 .. 0.29, as published."""

Pairs = NDArray[np.int64]
Matrix = TypeVar("Matrix", NDArray, Tensor)
DecoderName = Literal["greedy", "matching", "matching-nested", "mea"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """How a structure is read off pair probabilities p.

    `greedy`: the published one; the most probable pair first. `matching`: the pairs of greatest
    total p - threshold, pseudoknots included. `matching-nested`: the same without crossing pairs,
    which is the gamma-centroid structure for gamma = 1 / threshold - 1 (Hamada et al. 2009).
    `mea`: nested, greatest 2 gamma p over pairs plus q over unpaired bases, with that gamma and q
    what a base's pairs leave of 1 (Do et al. 2006).
    """

    name: DecoderName = "greedy"
    threshold: float = 0.5
    """A pair that competes with no other is taken where p is above it; tuned on validation RNAs."""
    canonical_only: bool = True
    """Whether only AU, GC and GU pair, as published; otherwise any two bases far enough apart."""
    use_energy: bool = False
    """`mea` only: p is weighed against ViennaRNA's energies first (`weigh_against_energy`)."""
    score_weight: float = 1.0
    """How much the model's scores weigh against the energies."""

    def __post_init__(self) -> None:
        if self.name not in get_args(DecoderName):
            known = ", ".join(get_args(DecoderName))
            raise ValueError(f"decoder.name must be one of {known}, got {self.name!r}")
        if not 0 <= self.threshold < 1:
            raise ValueError(f"decoder.threshold must be in [0, 1), got {self.threshold}")
        if self.use_energy and self.name != "mea":
            raise ValueError(f"decoder.use_energy needs decoder.name=mea, got {self.name}")
        if self.use_energy and not self.canonical_only:
            raise ValueError(
                "decoder.use_energy needs decoder.canonical_only: energies know no other"
            )
        if not 0 <= self.score_weight < math.inf:
            raise ValueError(f"decoder.score_weight must not be negative, got {self.score_weight}")
        if self.score_weight != 1 and not self.use_energy:
            raise ValueError(
                "decoder.score_weight decides nothing without decoder.use_energy=true: leave it out"
            )


class RankedPairs(NamedTuple):
    """Pairs in the order the greedy decoder takes them, so probabilities never rise."""

    pairs_P2: Pairs
    probabilities_P: NDArray[np.floating]

    def above(self, threshold: float) -> Pairs:
        """The structure the greedy decoder finds at `threshold`."""
        return self.pairs_P2[: np.count_nonzero(self.probabilities_P > threshold)]


def decode(probabilities_LL: NDArray | Tensor, sequence: str, config: DecoderConfig) -> Pairs:
    """Pairs of the structure, ordered by i; each base is in one at most.

    Greedy reads the whole matrix, the others its upper triangle: they are the same for a symmetric
    one.
    """
    return decode_grid(probabilities_LL, sequence, config, [config.threshold])[0]


def decode_grid(
    probabilities_LL: NDArray | Tensor,
    sequence: str,
    config: DecoderConfig,
    thresholds: Sequence[float],
) -> list[Pairs]:
    """What `decode` gives at each of `thresholds`, with the work they share done once."""
    p_LL = to_numpy(probabilities_LL)
    _check_shape(p_LL, sequence)
    if np.isnan(p_LL).any():
        raise ValueError("probabilities hold NaN: the fit diverged; lower its learning rate")
    if config.name == "greedy":
        ranked = rank_pairs(p_LL, sequence, min(thresholds), canonical_only=config.canonical_only)
        return [_sort_pairs(ranked.above(threshold)) for threshold in thresholds]
    is_allowed_LL = find_allowed_pairs(sequence, canonical_only=config.canonical_only)
    if config.use_energy:
        p_LL = weigh_against_energy(p_LL, is_allowed_LL, sequence, score_weight=config.score_weight)
    # fp64: p and threshold are compared as decimals, not as what half precision makes of them.
    p_LL = np.where(is_allowed_LL, p_LL, 0.0).astype(np.float64)
    if config.name == "mea":
        upper_LL = np.triu(p_LL, 1)
        unpaired_L = np.clip(1 - upper_LL.sum(axis=0) - upper_LL.sum(axis=1), 0, 1)
        lost_LL = np.where(is_allowed_LL, np.add.outer(unpaired_L, unpaired_L), 0.0)
        # Do's objective times the threshold, so that 0 is allowed.
        return [nest_pairs(2 * (1 - t) * p_LL - t * lost_LL) for t in thresholds]
    find_best = match_pairs if config.name == "matching" else nest_pairs
    return [find_best(np.where(is_allowed_LL, p_LL - t, 0.0)) for t in thresholds]


def decode_greedy(probabilities_LL: Matrix, sequence: str, threshold: float) -> Matrix:
    """Contact map (0 or 1, symmetric, int8) of the published decoder, as NumPy or torch came in.

    Of the allowed pairs with probability above `threshold` the most probable is taken first; then
    all others of its two bases are out, and so on. Pseudoknots may form.
    """
    ranked = rank_pairs(to_numpy(probabilities_LL), sequence, threshold)
    contact_map_LL = build_contact_map(ranked.pairs_P2, len(sequence))
    if isinstance(probabilities_LL, Tensor):
        return torch.from_numpy(contact_map_LL).to(probabilities_LL.device)
    return contact_map_LL


def rank_pairs(
    probabilities_LL: NDArray[np.floating],
    sequence: str,
    threshold: float,
    *,
    canonical_only: bool = True,
) -> RankedPairs:
    """Every pair the greedy decoder takes above `threshold`, in one pass over sorted candidates.

    A pair is taken by what stands before it alone, so the structure at a higher threshold is a
    prefix: one pass at the lowest threshold of a grid serves the whole grid.
    """
    _check_shape(probabilities_LL, sequence)
    is_candidate_LL = find_allowed_pairs(sequence, canonical_only=canonical_only)
    is_candidate_LL &= probabilities_LL > threshold
    row, column = np.divmod(np.flatnonzero(is_candidate_LL), max(len(sequence), 1))
    probability = probabilities_LL[row, column]
    if np.array_equal(probability, probabilities_LL[column, row]):
        # Symmetric: (i, j) stands before (j, i) in the matrix, so half of them can never be first.
        is_upper = row < column
        row, column, probability = row[is_upper], column[is_upper], probability[is_upper]
    # Stable on row-major candidates: among equals the first of the matrix, as argmax has it.
    order = np.argsort(-probability, kind="stable")

    is_used = [False] * len(sequence)
    taken: list[int] = []
    candidates = zip(order.tolist(), row[order].tolist(), column[order].tolist(), strict=True)
    for candidate, i, j in candidates:
        if not (is_used[i] or is_used[j]):
            is_used[i] = is_used[j] = True
            taken.append(candidate)
    pairs_P2 = np.sort(np.stack([row[taken], column[taken]], axis=1), axis=1)
    return RankedPairs(pairs_P2.astype(np.int64), probability[taken])


def find_allowed_pairs(sequence: str, *, canonical_only: bool = True) -> NDArray[np.bool_]:
    """Mask (L, L) of the pairs a decoded structure may hold."""
    letters = np.frombuffer(sequence.replace("T", "U").encode("ascii", "replace"), np.uint8)
    if canonical_only:
        is_allowed_LL = _PAIRS_OF_LETTERS[letters].take(letters, axis=1)
    else:
        is_allowed_LL = np.ones((len(letters), len(letters)), bool)
    for offset in range(-MIN_PAIR_DISTANCE + 1, MIN_PAIR_DISTANCE):
        rows = np.arange(max(0, -offset), min(len(letters), len(letters) - offset))
        is_allowed_LL[rows, rows + offset] = False
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


def to_numpy(matrix_LL: NDArray | Tensor) -> NDArray:
    """Array on the CPU; bfloat16, which NumPy has not, as float32."""
    if not isinstance(matrix_LL, Tensor):
        return matrix_LL
    on_cpu_LL = matrix_LL.detach().cpu()
    if on_cpu_LL.dtype == torch.bfloat16:
        on_cpu_LL = on_cpu_LL.float()
    return on_cpu_LL.numpy()


def _tabulate_letters() -> NDArray[np.bool_]:
    table = np.zeros((256, 256), bool)
    for left, right in ALLOWED_PAIRS:
        table[ord(left), ord(right)] = True
    return table


_PAIRS_OF_LETTERS = _tabulate_letters()


def _check_shape(probabilities_LL: NDArray, sequence: str) -> None:
    length = len(sequence)
    if probabilities_LL.shape != (length, length):
        raise ValueError(
            f"probabilities must be ({length}, {length}) for a sequence of {length} nt, "
            f"got {probabilities_LL.shape}"
        )


def _sort_pairs(pairs_P2: Pairs) -> Pairs:
    return pairs_P2[np.argsort(pairs_P2[:, 0])]
