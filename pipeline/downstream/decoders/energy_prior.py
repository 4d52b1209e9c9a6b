"""A model's pair scores weighed against nearest-neighbour energies, by ViennaRNA's library.

Shape suffixes: L nucleotides of one RNA.
"""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 1e-6
"""Scores are held this far from 0 and 1: a rounded sigmoid must not forbid or force a pair."""


def import_viennarna() -> ModuleType:
    """ViennaRNA's module; where there is none, an error that says what to install."""
    try:
        import RNA
    except ImportError as error:
        raise ValueError(
            "decoder.use_energy=true needs ViennaRNA, and its module RNA is not installed; pip "
            "install viennarna (the extra `baselines`) or set it to false"
        ) from error
    return RNA


def weigh_against_energy(
    probabilities_LL: NDArray[np.floating],
    is_allowed_LL: NDArray[np.bool_],
    sequence: str,
    *,
    score_weight: float,
) -> NDArray[np.float64]:
    """Pair probabilities (L, L), symmetric, of the Boltzmann ensemble times the model's scores.

    A nested structure s has P(s) ~ exp(-E(s) / kT) * prod over its pairs of (odds_ij / odds)^w. E
    is ViennaRNA's energy at 37 degrees with default parameters, w is `score_weight`, odds_ij those
    of the model's probability, and odds those of its mean over this RNA's allowed pairs: scores
    that are the same everywhere say nothing and leave the energy's own probabilities. Exact, by
    McCaskill's recursion with pseudo-energies -kT w log(odds_ij / odds) on pairs.
    """
    RNA = import_viennarna()
    length = len(sequence)
    upper_LL = np.triu(is_allowed_LL, 1)
    if not upper_LL.any():
        return np.zeros((length, length))
    evidence_LL = np.where(upper_LL, _log_odds(probabilities_LL), 0.0)
    evidence_LL[upper_LL] -= _log_odds(probabilities_LL[upper_LL].mean(dtype=np.float64))

    # As in the mask, other letters and lower case never pair; ViennaRNA would read "g" as "G".
    letters = (letter if letter in "ACGU" else "N" for letter in sequence.replace("T", "U"))
    compound = RNA.fold_compound("".join(letters))
    kcal_per_nat = RNA.exp_param().kT / 1000
    bonuses = np.zeros((length + 1, length + 1))  # ViennaRNA counts bases from 1
    bonuses[1:, 1:] = -kcal_per_nat * score_weight * evidence_LL
    compound.sc_set_bp(bonuses.tolist())
    # Boltzmann factors are scaled by the best energy, bonuses included: else long RNAs overflow.
    compound.exp_params_rescale(compound.mfe()[1])
    compound.pf()
    posterior_LL = np.asarray(compound.bpp(), np.float64)[1:, 1:]
    return posterior_LL + posterior_LL.T


def _log_odds(probability: NDArray[np.floating] | np.floating) -> NDArray[np.float64]:
    clipped = np.clip(
        np.asarray(probability, np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY
    )
    return np.log(clipped) - np.log1p(-clipped)
