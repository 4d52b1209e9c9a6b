"""Scores against golden arrays, against values worked out by hand and against a dense scorer."""

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

from openrinalmo.pipeline.downstream.scoring import (
    PairCounts,
    compute_inf,
    compute_mcc,
    compute_metrics,
    count_candidates,
    count_pairs,
    pool_counts,
    score_pairs,
    select_truth,
)
from openrinalmo.pipeline.downstream.structure import build_contact_map, read_contact_map
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket
from support.published_decoding import UNDEFINED
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


def score_as_sinclab(known, predicted, *, shifted):
    """What sinc-lab's benchmark calls strict and shifted F1, from its definition: (P, R, F1).

    A pair is found where the other structure has it or, shifted, one of the four pairs that differ
    by one in one base. Shares of pairs found; two empty structures score 1.
    """
    if not len(known) and not len(predicted):
        return 1.0, 1.0, 1.0
    distances = np.abs(known[:, None] - predicted).sum(axis=2)  # (known, predicted)
    is_near = distances <= int(shifted)
    recall = is_near.any(axis=1).sum() / len(known) if len(known) else 0.0
    precision = is_near.any(axis=0).sum() / len(predicted) if len(predicted) else 0.0
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def random_and_degenerate_cases():
    """1,000 of (length, known, predicted): empty, short, full, multiplets, equal, near, far."""
    generator = np.random.default_rng(7)
    for number in range(1000):
        length = int(generator.choice([1, 2, 3, 4, 5, 8, 20, 60]))
        candidates = np.argwhere(np.triu(np.ones((length, length)), 1))
        structures = []
        for _ in range(2):
            share = generator.choice([0, 0.02, 0.1, 0.5, 1.0], p=[0.2, 0.3, 0.3, 0.15, 0.05])
            structures.append(candidates[generator.random(len(candidates)) < share])
        known, predicted = structures
        if number % 4 == 1:  # one partner at most
            known = random_structure(generator, length, length // 3)
        if number % 4 > 1 and len(known):  # near ones
            shifted = known + generator.integers(-1, 2, known.shape)
            inside = (shifted[:, 0] >= 0) & (shifted[:, 0] < shifted[:, 1])
            predicted = np.unique(shifted[inside & (shifted[:, 1] < length)], axis=0)
        if number % 10 == 9:
            predicted = known
        yield length, known, predicted


@pytest.mark.parametrize("relaxed", [False, True])
def test_equals_sinclab_on_a_thousand_cases(relaxed):
    scores = []
    for _, known, predicted in random_and_degenerate_cases():
        expected = score_as_sinclab(known, predicted, shifted=relaxed)
        counts = count_pairs(known, predicted, relaxed=relaxed)
        assert counts.score("one") == pytest.approx(expected, abs=1e-12)
        if len(known) or len(predicted):
            assert counts.score() == counts.score("one")
        else:
            assert counts.score() == (0, 0, 0)
        scores.append(expected[2])
    assert 0.2 < np.mean(np.array(scores) == 0) < 0.6
    assert np.mean(np.array(scores) == 1) > 0.1
    assert len(set(scores)) > 100


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_equals_scikit_learn_on_a_thousand_flattened_triangles():
    mccs = []
    for length, known, predicted in random_and_degenerate_cases():
        if length == 1:
            continue  # scikit-learn refuses to score no candidate at all
        upper = np.triu_indices(length, 1)
        truth, guess = (
            build_contact_map(pairs, length)[upper].astype(bool) for pairs in (known, predicted)
        )
        metrics = compute_metrics(
            count_pairs(known, predicted, relaxed=False), count_candidates(length)
        )
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, guess, average="binary", zero_division=UNDEFINED
        )
        assert metrics == pytest.approx(
            {
                "precision": precision,
                "recall": recall,
                "F1": f1,
                "MCC": matthews_corrcoef(truth, guess),
                "INF": np.sqrt(precision * recall),
            },
            abs=1e-9,
        )
        mccs.append(metrics["MCC"])
    assert min(mccs) < 0
    assert max(mccs) == pytest.approx(1)


def test_relaxed_mcc_by_hand():
    # 45 candidates. Known (0, 9), (1, 8); predicted (0, 8), next to both, and (3, 7).
    counts = count_pairs([(0, 9), (1, 8)], [(0, 8), (3, 7)], relaxed=True)
    assert counts == PairCounts(predicted=2, predicted_hits=1, target=2, target_hits=2)
    # No known pair is missed; one error, 1.5 hits, so 42.5 true negatives.
    expected = np.sqrt(0.5 * 1 * (42.5 / 43.5) * 1)
    assert compute_mcc(counts, count_candidates(10)) == pytest.approx(expected)
    assert compute_mcc(count_pairs([(0, 9)], [(0, 9)], relaxed=True), 45) == 1


@pytest.mark.parametrize("relaxed", [False, True])
def test_every_pair_predicted_says_nothing(relaxed):
    everything = np.argwhere(np.triu(np.ones((8, 8)), 1))
    some = [(0, 7), (1, 6)]
    for known, predicted in [(some, everything), (everything, some)]:
        counts = count_pairs(known, predicted, relaxed=relaxed)
        assert compute_mcc(counts, count_candidates(8)) == 0


def test_relaxed_mcc_is_defined_and_in_range_in_every_case():
    for length, known, predicted in random_and_degenerate_cases():
        counts = count_pairs(known, predicted, relaxed=True)
        mcc = compute_mcc(counts, count_candidates(length))
        assert -1 - 1e-12 <= mcc <= 1 + 1e-12


def test_pooled_mcc_is_that_of_all_candidates_together():
    cases = [case for case in random_and_degenerate_cases() if 1 < case[0] < 10][:60]
    pooled, candidates, truth, guess = PairCounts(), 0, [], []
    for length, known, predicted in cases:
        upper = np.triu_indices(length, 1)
        pooled += count_pairs(known, predicted, relaxed=False)
        candidates += count_candidates(length)
        truth.append(build_contact_map(known, length)[upper])
        guess.append(build_contact_map(predicted, length)[upper])
    expected = matthews_corrcoef(np.concatenate(truth), np.concatenate(guess))
    assert compute_mcc(pooled, candidates) == pytest.approx(expected, abs=1e-12)


def test_empty_policy_of_every_metric():
    none = count_pairs([], [], relaxed=False)
    assert set(compute_metrics(none, 45).values()) == {0}
    assert set(compute_metrics(none, 45, "one").values()) == {1}
    missed = count_pairs([(0, 9)], [], relaxed=False)
    assert set(compute_metrics(missed, 45, "one").values()) == {0}
    assert compute_inf(count_pairs([(0, 9), (1, 8)], [(0, 9)], relaxed=False).score()) == (
        pytest.approx(np.sqrt(0.5))
    )


def test_counts_that_do_not_fit_the_candidates_are_refused():
    with pytest.raises(ValueError, match="does not fit 1 candidate pairs"):
        compute_mcc(count_pairs([(0, 9), (1, 8)], [(2, 7)], relaxed=False), 1)


def test_truth_policies():
    sequence = "GAUACNCA"
    pairs = np.array([[0, 4], [0, 6], [1, 3], [1, 7], [3, 5]])
    assert select_truth(pairs, sequence, "all pairs") is pairs
    assert select_truth(pairs, sequence, "canonical only").tolist() == [[0, 4], [0, 6]]
    none = np.empty((0, 2), np.int64)
    assert select_truth(none, sequence, "canonical only").shape == (0, 2)
