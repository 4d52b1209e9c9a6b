"""Parts of a structure test set: pseudoknots, and RNAs by length."""

import numpy as np
from numpy.typing import NDArray

from ..decoders.nussinov import nest_pairs
from ..scoring import PairCounts, PairSource, count_pairs
from ..structure import Pairs

LENGTH_BINS = (100, 200, 300, 400, 500, 1000, 2000)
"""Longest RNA of each bin, in nt; one more bin holds the rest."""


def name_length_bin(length_nt: int) -> str:
    """The bin's name in a table: `101-200 nt`."""
    lowest = 1
    for highest in LENGTH_BINS:
        if length_nt <= highest:
            return f"{lowest}-{highest} nt"
        lowest = highest + 1
    return f">{LENGTH_BINS[-1]} nt"


def find_crossing_pairs(pairs_P2: Pairs) -> NDArray[np.bool_]:
    """Mask of the pairs that cross at least one other."""
    i, j = pairs_P2.T
    opens_inside = (i[:, None] < i) & (i < j[:, None]) & (j > j[:, None])
    return (opens_inside | opens_inside.T).any(axis=1)


def find_pseudoknot_pairs(pairs_P2: Pairs) -> NDArray[np.bool_]:
    """Mask of the fewest pairs without which nothing crosses; an RNA with one has a pseudoknot.

    Each base must be in one pair at most. Of two equal helices that cross, the second is left out.
    """
    is_crossing = find_crossing_pairs(pairs_P2)
    crossing_P2 = pairs_P2[is_crossing]
    bases, packed = np.unique(crossing_P2, return_inverse=True)
    if bases.size < crossing_P2.size:
        raise ValueError("a base is in two pairs: pseudoknots are not defined; drop one of them")
    # From the far end: among equals `nest_pairs` leaves the base it meets first unpaired.
    mirrored_P2 = bases.size - 1 - packed.reshape(-1, 2)
    weights = np.zeros((bases.size, bases.size))
    weights[mirrored_P2[:, 1], mirrored_P2[:, 0]] = 1
    is_knot = is_crossing.copy()
    is_knot[is_crossing] = ~np.isin(mirrored_P2[:, 1], nest_pairs(weights)[:, 0])
    return is_knot


def count_pseudoknot_pairs(target_P2: Pairs, predicted_P2: Pairs, *, relaxed: bool) -> PairCounts:
    """Counts over the pseudoknot pairs of both structures.

    A predicted one is right where any known pair is, and a known one is found by any predicted
    pair: which helix of two that cross is called the pseudoknot does not matter.
    """

    def count(target: PairSource, predicted: PairSource) -> PairCounts:
        return count_pairs(target, predicted, relaxed=relaxed)

    of_predicted = count(target_P2, predicted_P2[find_pseudoknot_pairs(predicted_P2)])
    of_target = count(target_P2[find_pseudoknot_pairs(target_P2)], predicted_P2)
    return PairCounts(
        predicted=of_predicted.predicted,
        predicted_hits=of_predicted.predicted_hits,
        target=of_target.target,
        target_hits=of_target.target_hits,
    )
