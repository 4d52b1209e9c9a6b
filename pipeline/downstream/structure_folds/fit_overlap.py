"""Which tested RNAs the fit has seen, letter for letter or nearly, judged by shared 8-mers.

Structured RNAs are short, so k is: 8-mers see relatives, where longer ones see copies alone. A
mutation spoils k of them, so of identity p about p^k is shared (Mash's estimate). In families
mutations stand together and spoil fewer: of bpRNA's TS0, filtered against TR0 at 80 %, RNAs with an
estimate of 0.90 to 0.95 have a true identity of 0.78 (median of 21; 0.64 to 0.82) to the one found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..structures.records import StructureRecord
from .folds import Fold

K = 8
NUM_KMERS = 4**K
_CODES = np.full(256, 4, np.int64)
_CODES[[ord(letter) for letter in "ACGU"]] = range(4)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitOverlap:
    """What a fold's fit and test share; arrays have an entry for each tested RNA, in order."""

    is_exact: NDArray[np.bool_]
    """Its sequence is in the fit."""
    is_near: NDArray[np.bool_]
    """It is in the fit, or one RNA of the fit is near; so exact ones are among these."""

    @property
    def num_exact(self) -> int:
        """Tested RNAs whose sequence is in the fit."""
        return int(self.is_exact.sum())

    @property
    def num_near(self) -> int:
        """Tested RNAs that are near one of the fit, exact copies included."""
        return int(self.is_near.sum())


def find_fit_overlap(
    fold: Fold, records: Sequence[StructureRecord], *, min_identity: float
) -> FitOverlap:
    """Compare each tested RNA with those that trained or tuned; `min_identity` is what is near."""
    fit = [records[index].sequence for index in (*fold.train, *fold.validation)]
    test = [records[index].sequence for index in fold.test]
    known = set(fit)
    is_exact = np.array([sequence in known for sequence in test], bool)
    return FitOverlap(
        is_exact=is_exact, is_near=is_exact | (estimate_identities(test, fit) >= min_identity)
    )


def estimate_identities(test: Sequence[str], fit: Sequence[str]) -> NDArray[np.float64]:
    """Identity of each tested sequence to the nearest of the fit: share of its 8-mers ^ (1/8).

    Distinct 8-mers of A, C, G, U count, on the same strand; a sequence without one has 0. It sees
    a tested RNA that lies inside a longer one, and not the other way round.
    """
    kmers = [_list_kmers(sequence) for sequence in fit]
    owners = np.repeat(np.arange(len(fit)), [len(one) for one in kmers])
    # Owners of k-mer x are owner_of_place[starts[x]:starts[x + 1]].
    together = np.concatenate([np.empty(0, np.int64), *kmers])
    order = np.argsort(together, kind="stable")
    owner_of_place = owners[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(together, minlength=NUM_KMERS))])
    identities = np.zeros(len(test))
    for number, sequence in enumerate(test):
        mine = _list_kmers(sequence)
        found = [owner_of_place[starts[kmer] : starts[kmer + 1]] for kmer in mine.tolist()]
        shared = np.bincount(np.concatenate([np.empty(0, np.int64), *found]))
        if len(shared):
            identities[number] = (shared.max() / len(mine)) ** (1 / K)
    return identities


def _list_kmers(sequence: str) -> NDArray[np.int64]:
    """Distinct 8-mers of A, C, G, U as numbers, in order."""
    codes = _CODES[np.frombuffer(sequence.encode("ascii"), np.uint8)]
    if len(codes) < K:
        return np.empty(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, K)
    whole = windows[(windows < 4).all(axis=1)]
    return np.unique(whole @ 4 ** np.arange(K - 1, -1, -1))
