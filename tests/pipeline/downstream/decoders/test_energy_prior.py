"""Scores times energies, against the sum over every structure of a short RNA."""

import math
import sys

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.decoders.energy_prior import weigh_against_energy
from openrinalmo.pipeline.downstream.structure import find_allowed_pairs
from support.all_structures import iter_nested
from support.pair_probabilities import draw_probabilities

SEQUENCE = "GGACGAAAGUCC"
KT = 0.0019871692 * 310.15
"""kcal/mol at 37 degrees; ViennaRNA's gas constant is 1.98717 cal/(mol K)."""


def marginals_of_all_structures(probabilities, sequence, score_weight):
    viennarna = pytest.importorskip("RNA")
    compound = viennarna.fold_compound(sequence)
    allowed = np.triu(find_allowed_pairs(sequence))
    candidates = [tuple(pair) for pair in np.argwhere(allowed).tolist()]
    mean = probabilities[allowed].mean()
    total, marginals = 0.0, np.zeros(allowed.shape)
    for pairs in iter_nested(candidates):
        marks = ["."] * len(sequence)
        factor = 1.0
        for i, j in pairs:
            marks[i], marks[j] = "(", ")"
            odds = probabilities[i, j] / (1 - probabilities[i, j]) / (mean / (1 - mean))
            factor *= odds**score_weight
        factor *= math.exp(-compound.eval_structure("".join(marks)) / KT)
        total += factor
        for i, j in pairs:
            marginals[i, j] += factor
            marginals[j, i] += factor
    return marginals / total


@pytest.mark.parametrize("score_weight", [0.0, 0.5, 1.0])
def test_equals_the_sum_over_all_structures(score_weight):
    pytest.importorskip("RNA")
    probabilities = draw_probabilities(len(SEQUENCE), 0)
    posterior = weigh_against_energy(
        probabilities, find_allowed_pairs(SEQUENCE), SEQUENCE, score_weight=score_weight
    )
    expected = marginals_of_all_structures(probabilities, SEQUENCE, score_weight)
    assert expected.max() > 0.2
    np.testing.assert_allclose(posterior, expected, atol=2e-4)


def test_scores_that_say_nothing_leave_the_energies_own_probabilities():
    viennarna = pytest.importorskip("RNA")
    sequence = "GGGAAACUUCGGUUUCCCAGCGAAAGC" * 8
    compound = viennarna.fold_compound(sequence)
    compound.exp_params_rescale(compound.mfe()[1])
    compound.pf()
    own = np.array(compound.bpp())[1:, 1:]
    same = np.full((len(sequence),) * 2, 0.013, np.float32)
    posterior = weigh_against_energy(same, find_allowed_pairs(sequence), sequence, score_weight=1.0)
    np.testing.assert_allclose(posterior, own + own.T, atol=1e-5)


def test_sure_scores_overrule_energies_also_in_a_long_rna():
    pytest.importorskip("RNA")
    generator = np.random.default_rng(3)
    sequence = "".join(generator.choice(list("ACGU"), 600))
    allowed = find_allowed_pairs(sequence)
    helix = [pair for pair in np.argwhere(np.triu(allowed)).tolist() if sum(pair) == 599][::3]
    probabilities = np.zeros(allowed.shape, np.float32)
    for i, j in helix:
        probabilities[i, j] = probabilities[j, i] = 1.0
    posterior = weigh_against_energy(probabilities, allowed, sequence, score_weight=1.0)
    assert np.isfinite(posterior).all()
    assert posterior.max() <= 1 + 1e-6
    assert np.mean([posterior[i, j] for i, j in helix]) > 0.9


@pytest.mark.parametrize("sequence", ["", "A", "GAAC", "NNNNNNNN", "gggaaaccc"])
def test_nothing_to_pair(sequence):
    length = len(sequence)
    posterior = weigh_against_energy(
        np.zeros((length, length)), find_allowed_pairs(sequence), sequence, score_weight=1.0
    )
    np.testing.assert_array_equal(posterior, np.zeros((length, length)))


def test_without_viennarna_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "RNA", None)
    with pytest.raises(ValueError, match="use_energy=true needs ViennaRNA"):
        weigh_against_energy(
            np.zeros((5, 5)), find_allowed_pairs("GAAAC"), "GAAAC", score_weight=1.0
        )
