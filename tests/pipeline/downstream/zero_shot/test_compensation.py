"""Compensatory exchanges are what they say; a model that knows pairs passes, one of letters not."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structure import ALLOWED_PAIRS
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from openrinalmo.pipeline.downstream.zero_shot.compensation import (
    ACCURACY,
    AUC,
    EPISTASIS,
    draw_compensations,
    measure_compensation,
)


def make_record(sequence, structure):
    return StructureRecord(
        id="x", family="y", sequence=sequence, pairs_P2=parse_dot_bracket(structure)
    )


RECORD = make_record("AGGCAUUCGAAAUGCCUAGGCUAAAGCC", "(((((((...)))))))(((....))).." )  # fmt: skip


def draw(record, limit=50, seed=0):
    return draw_compensations(record, limit, np.random.default_rng(seed))


def find_changes(sequence):
    return {i: b for i, (a, b) in enumerate(zip(RECORD.sequence, sequence, strict=True)) if a != b}


def test_exchanges_keep_the_pair_and_singles_break_it():
    pairs = {tuple(pair) for pair in RECORD.pairs_P2.tolist()}
    found = draw(RECORD)
    assert found
    for exchange in found:
        double = find_changes(exchange.pair.double)
        i, j = sorted(double)
        assert (i, j) in pairs
        assert double[i] + double[j] in ("AU", "UA", "GC", "CG")
        assert find_changes(exchange.pair.first) == {i: double[i]}
        assert find_changes(exchange.pair.second) == {j: double[j]}
        assert double[i] + RECORD.sequence[j] not in ALLOWED_PAIRS
        assert RECORD.sequence[i] + double[j] not in ALLOWED_PAIRS

        decoy = find_changes(exchange.decoy.double)
        [other] = decoy.keys() - {i}
        assert decoy == {i: double[i], other: double[j]}
        assert RECORD.sequence[other] == RECORD.sequence[j]
        assert other != j
        assert exchange.decoy.first == exchange.pair.first


def test_draws_are_seeded_and_limited():
    assert draw(RECORD) == draw(RECORD)
    assert draw(RECORD, limit=2) == draw(RECORD)[:2]
    assert draw(RECORD, seed=1) != draw(RECORD)


@pytest.mark.parametrize(
    ("sequence", "structure"),
    [
        ("", ""),
        ("GAAAC", "....."),
        ("GAAAC", "(...)"),  # no second C for a decoy
        ("GAAAUUUUU", "(...)...."),  # a wobble
        ("NAAANNNNN", "(...)...."),
        ("GACCCCC", "(.)...."),  # too near
    ],
)
def test_rnas_without_an_exchange(sequence, structure):
    assert draw(make_record(sequence, structure)) == []


def test_metrics_by_hand():
    pairs = np.array([[-2.0, -3.0, -1.0], [-1.0, -5.0, -3.0]])
    decoys = np.array([[-2.0, -3.0, -5.0], [-1.0, -5.0, -2.5]])
    found = measure_compensation(pairs, decoys)
    assert found[ACCURACY] == 3 / 4
    # -1 against -2 -3 -1 -5: three wins and a tie; -3 against them: one win and a tie.
    assert found[AUC] == (3.5 + 1.5) / 8
    # Epistasis 4, 3 at pairs; 0, 3.5 at decoys.
    assert found[EPISTASIS] == 3 / 4


def test_a_model_that_adds_up_is_blind():
    singles = np.random.default_rng(0).normal(size=(20, 2))
    adds_up = np.concatenate([singles, singles.sum(1, keepdims=True)], axis=1)
    found = measure_compensation(adds_up, adds_up[::-1].copy())
    assert found[EPISTASIS] == 0.5


def test_a_model_that_counts_broken_pairs_passes():
    def score(sequence):
        return -float(
            sum(sequence[i] + sequence[j] not in ALLOWED_PAIRS for i, j in RECORD.pairs_P2)
        )

    exchanges = draw(RECORD)
    pairs, decoys = (
        np.array([[score(one) for one in getattr(exchange, kind)] for exchange in exchanges])
        for kind in ("pair", "decoy")
    )
    found = measure_compensation(pairs, decoys)
    assert found[ACCURACY] == found[AUC] == found[EPISTASIS] == 1
