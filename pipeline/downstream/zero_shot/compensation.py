"""Double mutants that restore a base pair, against the two single ones that break it.

A check of mutation effects that takes known structures and no assay.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..structure import ALLOWED_PAIRS, MIN_PAIR_DISTANCE
from ..structures.records import StructureRecord
from .rank_statistics import compute_auc_of_groups

WATSON_CRICK = ("AU", "CG", "GC", "UA")
ACCURACY, AUC = "accuracy of compensation", "AUC of compensation"
EPISTASIS = "AUC of epistasis"
METRICS = (ACCURACY, AUC, EPISTASIS)


class Quartet(NamedTuple):
    """Three variants of an RNA: either letter changed, or both."""

    first: str
    second: str
    double: str


class Compensation(NamedTuple):
    """The letters of a known pair exchanged for another pair, and a decoy for comparison.

    The decoy makes the same two exchanges, but the second at the same letter elsewhere, which does
    not pair with the first position.
    """

    pair: Quartet
    decoy: Quartet


class ExchangedRna(NamedTuple):
    """An RNA with a known structure, and what is exchanged in it."""

    record: StructureRecord
    exchanges: tuple[Compensation, ...]


def choose_rnas(
    records: Sequence[StructureRecord],
    *,
    rnas_per_family: int,
    pairs_per_rna: int,
    max_length_nt: int,
    seed: int,
) -> list[ExchangedRna]:
    """RNAs of each family, in order of family, with their exchanges; those without one are out.

    Pure. An RNA's exchanges come from the seed and its place in the file; sequences are distinct.
    """
    chosen: dict[str, list[ExchangedRna]] = defaultdict(list)
    seen: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(records)).tolist():
        record = records[index]
        is_full = rnas_per_family and len(chosen[record.family]) >= rnas_per_family
        if is_full or len(record.sequence) > max_length_nt or record.sequence in seen:
            continue
        generator = np.random.default_rng([seed, index])
        if exchanges := draw_compensations(record, pairs_per_rna, generator):
            seen.add(record.sequence)
            chosen[record.family].append(ExchangedRna(record, tuple(exchanges)))
    return [rna for family in sorted(chosen) for rna in chosen[family]]


def draw_compensations(
    record: StructureRecord, limit: int, generator: np.random.Generator
) -> list[Compensation]:
    """One exchange at each of up to `limit` known Watson-Crick pairs, in order of position.

    Taken are exchanges whose single changes leave neither a Watson-Crick nor a wobble pair: AU and
    UA to CG and UA, say, but never to GC. A pair without a possible decoy is passed over.
    """
    found: list[Compensation] = []
    for place in generator.permutation(len(record.pairs_P2)).tolist():
        i, j = record.pairs_P2[place].tolist()
        left, right = record.sequence[i], record.sequence[j]
        options = [
            pair
            for pair in WATSON_CRICK
            if pair[0] != left
            and pair[1] != right
            and pair[0] + right not in ALLOWED_PAIRS
            and left + pair[1] not in ALLOWED_PAIRS
        ]
        if left + right not in WATSON_CRICK or j - i < MIN_PAIR_DISTANCE:
            continue
        elsewhere = [
            other
            for other, letter in enumerate(record.sequence)
            if letter == right and other != j and abs(other - i) >= MIN_PAIR_DISTANCE
        ]
        if not elsewhere:
            continue
        new = options[int(generator.integers(len(options)))]
        other = elsewhere[int(generator.integers(len(elsewhere)))]
        found.append(
            Compensation(
                _exchange(record.sequence, i, j, new), _exchange(record.sequence, i, other, new)
            )
        )
        if len(found) == limit:
            break
    return found


def measure_compensation(
    pairs_N3: NDArray[np.float64], decoys_N3: NDArray[np.float64]
) -> dict[str, float]:
    """Metrics of one RNA from the scores (N, 3) of its quartets: first, second, double.

    Accuracy: how often a double mutant scores higher than each of its two singles; ties count half.
    AUC: the same of all doubles against all singles of the RNA. AUC of epistasis: how often
    double - first - second is higher at a known pair than at a decoy, where the score of a model
    that adds up over positions is 0.5.
    """
    doubles, singles = pairs_N3[:, 2:], pairs_N3[:, :2]
    wins = (doubles > singles) + (doubles == singles) / 2
    epistasis = [one[:, 2] - one[:, 0] - one[:, 1] for one in (pairs_N3, decoys_N3)]
    # Scores are sums of fp32 log-probabilities: smaller differences are rounding.
    rounded = [np.round(values, 5) for values in epistasis]
    return {
        ACCURACY: float(wins.mean()),
        AUC: compute_auc_of_groups(doubles.ravel(), singles.ravel()),
        EPISTASIS: compute_auc_of_groups(*rounded),
    }


def _exchange(sequence: str, i: int, j: int, new: str) -> Quartet:
    first, second, double = list(sequence), list(sequence), list(sequence)
    first[i] = double[i] = new[0]
    second[j] = double[j] = new[1]
    return Quartet("".join(first), "".join(second), "".join(double))
