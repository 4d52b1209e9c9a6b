"""What the fit holds of the test: exact copies, fragments, mutated copies, and strangers."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structure_folds.fit_overlap import (
    estimate_identities,
    find_fit_overlap,
)
from openrinalmo.pipeline.downstream.structure_folds.folds import Fold
from openrinalmo.pipeline.downstream.structures.records import StructureRecord

NO_PAIRS = np.empty((0, 2), np.int64)


def draw(generator, length):
    return "".join(generator.choice(list("ACGU"), length))


def mutate(generator, sequence, share):
    letters = list(sequence)
    for place in generator.choice(len(letters), round(share * len(letters)), replace=False):
        letters[place] = generator.choice([x for x in "ACGU" if x != letters[place]])
    return "".join(letters)


def count_by_hand(test, fit):
    """Largest share of the distinct 8-mers of `test` in one sequence of `fit`."""
    kmers = {test[n : n + 8] for n in range(len(test) - 7) if set(test[n : n + 8]) <= set("ACGU")}
    shares = [
        len(kmers & {other[n : n + 8] for n in range(len(other) - 7)}) / len(kmers)
        for other in fit
        if kmers
    ]
    return max(shares, default=0.0)


def test_equals_sets_of_kmers_by_hand():
    generator = np.random.default_rng(0)
    fit = [draw(generator, int(n)) for n in generator.integers(5, 300, 40)]
    test = [draw(generator, int(n)) for n in generator.integers(1, 300, 30)]
    test += [mutate(generator, one, 0.1) for one in fit[:10]] + [fit[3], "N" * 50, "A" * 30, "ACG"]
    expected = [count_by_hand(one, fit) ** (1 / 8) for one in test]
    assert estimate_identities(test, fit).tolist() == pytest.approx(expected)
    assert estimate_identities(test, []).tolist() == [0.0] * len(test)
    assert estimate_identities([], fit).tolist() == []


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3])
def test_the_estimate_is_near_the_identity_of_mutated_copies(share):
    generator = np.random.default_rng(1)
    fit = [draw(generator, 400) for _ in range(40)]
    test = [mutate(generator, one, share) for one in fit]
    assert estimate_identities(test, fit).mean() == pytest.approx(1 - share, abs=0.05)


def test_copies_fragments_and_strangers_of_a_fold():
    generator = np.random.default_rng(2)
    fit = [draw(generator, 200) for _ in range(20)] + ["GGGAAAC"]
    test = [
        fit[0],
        fit[1][40:120],
        mutate(generator, fit[2], 0.08),
        draw(generator, 200),
        "GGGAAAC",
    ]
    records = [
        StructureRecord(id=str(n), family="f", sequence=sequence, pairs_P2=NO_PAIRS)
        for n, sequence in enumerate([*fit, *test])
    ]
    places = range(len(records))
    fold = Fold(
        part="t", test=tuple(places[21:]), train=tuple(places[:1]), validation=tuple(places[1:21])
    )
    overlap = find_fit_overlap(fold, records, min_identity=0.8)
    assert overlap.is_exact.tolist() == [True, False, False, False, True]
    assert overlap.is_near.tolist() == [True, True, True, False, True]
    assert (overlap.num_exact, overlap.num_near) == (2, 4)
