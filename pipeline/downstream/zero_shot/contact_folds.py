"""Which RNAs a way of reading pairs is chosen, tuned and scored on, family by family."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....model.contacts import MIN_SEPARATION
from ..decoders.thresholds import tune_threshold
from ..structure import RankedPairs
from ..structure_folds.folds import draw_evenly
from ..structures.records import StructureRecord

NUM_THRESHOLDS = 64


class ContactFold(NamedTuple):
    """One family to score, with RNAs of the others; indices into the records."""

    family: str
    test: tuple[int, ...]
    fit: tuple[int, ...]
    tune: tuple[int, ...]


def build_contact_folds(
    records: Sequence[StructureRecord],
    *,
    rnas_per_family: int,
    max_length_nt: int,
    fit_rnas: int,
    tune_rnas: int,
    max_fit_length_nt: int,
    seed: int,
) -> tuple[list[ContactFold], list[str]]:
    """A fold for each family in order of name, and sentences on what was left out. Pure.

    Of equal sequences the first drawn stays, so no fit sees a scored sequence.
    """
    members: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    too_long = no_pair = repeats = 0
    for index in np.random.default_rng(seed).permutation(len(records)).tolist():
        record = records[index]
        if len(record.sequence) > max_length_nt:
            too_long += 1
        elif not _can_be_scored(record):
            no_pair += 1
        elif record.sequence in seen:
            repeats += 1
        else:
            seen.add(record.sequence)
            members[record.family].append(index)
    if len(members) < 2:
        raise ValueError(
            f"reading structure of one family takes RNAs of another, got families "
            f"{', '.join(sorted(members)) or 'none'} of at most {max_length_nt} nt"
        )
    folds: list[ContactFold] = []
    for family in sorted(members):
        others = {
            other: [
                index
                for index in members[other]
                if len(records[index].sequence) <= max_fit_length_nt
            ]
            for other in sorted(members.keys() - {family})
        }
        drawn = draw_evenly(others, fit_rnas + tune_rnas)
        if len(drawn) < 2:
            raise ValueError(
                f"{len(drawn)} RNAs of families other than {family} have at most "
                f"{max_fit_length_nt} nt: raise max_fit_length_nt"
            )
        # Where RNAs are few, they are shared out as asked.
        num_fit = round(fit_rnas / (fit_rnas + tune_rnas) * len(drawn))
        num_fit = min(max(num_fit, 1), len(drawn) - 1)
        test = tuple(members[family][: rnas_per_family or None])
        folds.append(ContactFold(family, test, drawn[:num_fit], drawn[num_fit:]))
    notes = [
        "No structure of a family is used to score it; its sequences may have been in pretraining.",
        f"Left out: {too_long} RNAs of more than {max_length_nt} nt, {no_pair} without a "
        f"pair at least {MIN_SEPARATION} apart (or with nothing else), {repeats} repeated "
        "sequences.",
    ]
    return folds, notes


def tune_score(ranked: Sequence[RankedPairs], known: Sequence[NDArray[np.int64]]) -> float:
    """The score above which greedy decoding has the best mean relaxed F1; the lowest among equals.

    Candidates are quantiles of the scores of all pairs the decoder takes.
    """
    taken = np.concatenate([one.probabilities_P for one in ranked])
    if not len(taken):
        return 0.0
    grid = np.unique(np.quantile(taken, np.linspace(0, 1, NUM_THRESHOLDS)))
    return tune_threshold(ranked, known, thresholds=grid.tolist()).value


def _can_be_scored(record: StructureRecord) -> bool:
    """Whether pairs and others are among the letters far enough apart."""
    separation = len(record.sequence) - MIN_SEPARATION
    possible = separation * (separation + 1) // 2 if separation > 0 else 0
    apart = int(np.count_nonzero(np.diff(record.pairs_P2, axis=1) >= MIN_SEPARATION))
    return 0 < apart < possible
