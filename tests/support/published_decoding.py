"""The published way from probabilities to a tuned threshold, step by step: oracle and baseline.

Written from its description: a Python loop over all pairs for the mask, an argmax over the matrix
for each pair, all of it again for each threshold, and scikit-learn's scores on flattened triangles.
"""

from typing import Any

import numpy as np
from sklearn.metrics import precision_score, recall_score

CANONICAL = {"AU", "UA", "GC", "CG", "GU", "UG"}
GRID = [step / 100 for step in range(1, 30)]
UNDEFINED: Any = 0
"""What scikit-learn, which has no types, returns where a score is not defined."""


def decode_as_published(probabilities, sequence, threshold):
    """Mask, cut, then the largest entry again and again; rows and columns of both bases cleared."""
    length = len(sequence)
    letters = sequence.replace("T", "U")
    left = np.array(probabilities, copy=True)
    for i in range(length):
        for j in range(length):
            if abs(i - j) < 4 or letters[i] + letters[j] not in CANONICAL:
                left[i, j] = 0
    left[~(left > threshold)] = 0
    decoded = np.zeros((length, length), np.int8)
    while left.size and left.max() > 0:
        i, j = np.unravel_index(np.argmax(left), left.shape)
        left[[i, j], :] = 0
        left[:, [i, j]] = 0
        decoded[i, j] = decoded[j, i] = 1
    return decoded


def widen(contact_map):
    """Also the four neighbours of every pair."""
    padded = np.pad(contact_map, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return contact_map | near


def score_as_published(target, predicted, relaxed=True):
    """(precision, recall, F1) of two contact maps by scikit-learn; 0 where not defined."""
    upper = np.triu_indices(len(target), 1)
    near_target, near_predicted = (
        (widen(target), widen(predicted)) if relaxed else (target, predicted)
    )
    precision = precision_score(near_target[upper], predicted[upper], zero_division=UNDEFINED)
    recall = recall_score(target[upper], near_predicted[upper], zero_division=UNDEFINED)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def tune_as_published(probabilities, sequences, targets, relaxed=True):
    """The best threshold of the grid and its mean F1; `targets` are contact maps."""
    mean_f1 = [
        np.mean(
            [
                score_as_published(target, decode_as_published(matrix, sequence, cut), relaxed)[2]
                for matrix, sequence, target in zip(probabilities, sequences, targets, strict=True)
            ]
        )
        for cut in GRID
    ]
    best = int(np.argmax(mean_f1))
    return GRID[best], mean_f1[best]
