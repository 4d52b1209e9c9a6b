"""Scores against golden arrays, against values worked out by hand and against a dense scorer."""

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.dot_bracket import parse_dot_bracket
from openrinalmo.pipeline.downstream.scoring import count_pairs, pool_counts, score_pairs
from openrinalmo.pipeline.downstream.structure import build_contact_map, read_contact_map
from support.shared import SHARED, requires_shared

GOLDEN = "parity/upstream_structure.npz"


def dense_score(target, predicted, relaxed):
    """The same on (L, L) matrices: shift, take the upper triangle, count."""

    def widen(matrix):
        padded = np.pad(matrix, 1)
        up, down = padded[:-2, 1:-1], padded[2:, 1:-1]
        left, right = padded[1:-1, :-2], padded[1:-1, 2:]
        return matrix | up | down | left | right

    upper = np.triu_indices(len(target), 1)
    near_target = widen(target)[upper] if relaxed else target[upper]
    near_predicted = widen(predicted)[upper] if relaxed else predicted[upper]
    target, predicted = target[upper], predicted[upper]
    precision = (predicted & near_target).sum() / max(predicted.sum(), 1)
    recall = (target & near_predicted).sum() / max(target.sum(), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def random_structure(generator, length=40, num_pairs=9):
    return np.sort(generator.permutation(length)[: 2 * num_pairs].reshape(-1, 2), axis=1)


@requires_shared(GOLDEN)
@pytest.mark.parametrize("name", ["strict", "relaxed"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, read_contact_map])
def test_golden_values_of_the_published_scorer(name, kind):
    golden = np.load(SHARED / GOLDEN)
    score = score_pairs(kind(golden["target"]), kind(golden["decoded"]), name == "relaxed")
    for metric, value in score._asdict().items():
        assert value == pytest.approx(float(golden[f"ss_{metric}_{name}"]), abs=1e-12)


def test_by_hand():
    target = parse_dot_bracket("((((....))))")
    predicted = [(0, 11), (1, 9), (2, 6), (4, 7)]
    # Strict: (0, 11) of 4 and 4. Relaxed: (0, 11) and (1, 9), next to (1, 10), are right; the
    # target's (0, 11), (1, 10) and (2, 9) each have a predicted pair at one step.
    assert score_pairs(target, predicted, relaxed=False) == (0.25, 0.25, 0.25)
    assert score_pairs(target, predicted, relaxed=True) == pytest.approx((0.5, 0.75, 0.6))


@pytest.mark.parametrize("relaxed", [False, True])
def test_equals_a_dense_scorer(relaxed):
    generator = np.random.default_rng(0)
    scores = []
    for _ in range(20):
        target, predicted = random_structure(generator), random_structure(generator)
        predicted[:5] = target[:5] + generator.integers(-1, 2, (5, 1)) * [[0, 1]]
        predicted = predicted[(predicted[:, 0] < predicted[:, 1]) & (predicted[:, 1] < 40)]
        maps = [build_contact_map(pairs, 40).astype(bool) for pairs in (target, predicted)]
        score = score_pairs(target, predicted, relaxed)
        assert score == pytest.approx(dense_score(maps[0], maps[1], relaxed))
        scores.append(score.f1)
    assert 0 < np.mean(scores) < 1


@pytest.mark.parametrize("relaxed", [False, True])
def test_what_is_not_defined_is_zero(relaxed):
    assert score_pairs([], [(0, 9)], relaxed) == (0, 0, 0)
    assert score_pairs([(0, 9)], [], relaxed) == (0, 0, 0)
    assert score_pairs([], [], relaxed) == (0, 0, 0)


def test_order_direction_and_duplicates_do_not_matter():
    assert score_pairs([(9, 0), (0, 9)], [(0, 9)], relaxed=False) == (1, 1, 1)


def test_two_pairs_in_an_array_are_pairs_not_a_map():
    pairs = np.array([[0, 9], [1, 8]])
    assert score_pairs(pairs, pairs, relaxed=False) == (1, 1, 1)
    assert count_pairs(pairs, [(0, 9)], relaxed=False).target == 2


def test_pooled_score_weighs_pairs():
    long = count_pairs(
        [(n, 40 - n) for n in range(9)], [(n, 40 - n) for n in range(9)], relaxed=False
    )
    short = count_pairs([(0, 9)], [(1, 7)], relaxed=False)
    assert pool_counts([long, short]) == pytest.approx((0.9, 0.9, 0.9))
    assert pool_counts([]) == (0, 0, 0)


@pytest.mark.parametrize("pairs", [[(3, 3)], np.zeros((4, 3))])
def test_no_pairs_at_all_is_refused(pairs):
    with pytest.raises(ValueError, match=r"cannot pair with itself|pairs must be"):
        score_pairs(pairs, [], relaxed=False)
