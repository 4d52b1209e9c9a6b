"""Made-up pair probabilities."""

import numpy as np


def draw_probabilities(length, seed):
    """A symmetric matrix of numbers below 1, with zeros on the diagonal."""
    upper = np.triu(np.random.default_rng(seed).random((length, length)), 1)
    return upper + upper.T
