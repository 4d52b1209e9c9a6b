"""Contact scores by hand: APC, the logistic probe, precision, AUC."""

import math

import pytest
import torch

from openrinalmo.model.alphabet import encode
from openrinalmo.model.contacts import (
    build_pair_features,
    compute_auc,
    compute_precision,
    compute_precisions,
    correct_average_product,
    find_letters,
    fit_contact_probe,
    score_jacobian,
)


def build_map(length: int, values: dict[tuple[int, int], float]) -> torch.Tensor:
    full = torch.zeros(length, length)
    for (i, j), value in values.items():
        full[i, j] = full[j, i] = value
    return full


def test_average_product_correction_by_hand():
    # Rows sum to 3, 6, 9 and columns too; the whole is 18.
    maps = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 4.0], [2.0, 4.0, 3.0]])
    expected = maps - torch.tensor([[9.0, 18.0, 27.0], [18.0, 36.0, 54.0], [27.0, 54.0, 81.0]]) / 18
    torch.testing.assert_close(correct_average_product(maps), expected)
    # Each map of a stack by itself; a map of zeros stays one.
    stack = correct_average_product(torch.stack([maps, torch.zeros(3, 3), 2 * maps]))
    torch.testing.assert_close(stack, torch.stack([expected, torch.zeros(3, 3), 2 * expected]))


def test_features_are_symmetric_and_what_rank_one_explains_is_gone():
    row = torch.rand(7, generator=torch.Generator().manual_seed(0))
    maps = torch.stack([torch.rand(7, 7), torch.outer(row, row)])
    features = build_pair_features(maps)
    torch.testing.assert_close(features, features.mT)
    torch.testing.assert_close(features[1], torch.zeros(7, 7))


def test_the_probe_recovers_planted_weights():
    gen = torch.Generator().manual_seed(0)
    weights, bias = torch.tensor([2.0, 0.0, -1.0, 0.5]), -1.5
    scales = torch.tensor([1e-3, 1.0, 1e3, 1.0])  # which the penalty must not see
    features, labels, chances = [], [], []
    for length in (90, 61, 120):
        maps = torch.randn(4, length, length, generator=gen)
        maps = maps.triu() + maps.triu(1).mT
        chances.append(torch.sigmoid(torch.einsum("c,cij->ij", weights, maps) + bias))
        drawn = (torch.rand(length, length, generator=gen) < chances[-1]).triu(1)
        features.append(maps * scales[:, None, None])
        labels.append(drawn | drawn.T)
    probe = fit_contact_probe(features, labels, l2=0.0)
    # 13 thousand pairs: a standard error is about 0.03.
    torch.testing.assert_close((probe.weight_C * scales).float(), weights, atol=0.1, rtol=0)
    assert float(probe.bias) == pytest.approx(bias, abs=0.1)

    probs = probe.predict(features[0])
    assert torch.equal(probs, probs.T)
    torch.testing.assert_close(probs.triu(4), chances[0].triu(4), atol=0.05, rtol=0)
    assert float(probs.triu(-3).tril(3).abs().max()) == 0


def test_the_penalised_probe_is_at_the_minimum_of_its_loss():
    gen = torch.Generator().manual_seed(1)
    maps = torch.randn(3, 30, 30, generator=gen)
    labels = torch.rand(30, 30, generator=gen) < 0.1
    probe = fit_contact_probe([maps], [labels], l2=0.05)
    i, j = torch.triu_indices(30, 30, offset=4)
    x, y = maps[:, i, j].double().T, labels[i, j].double()
    x = (x - x.mean(0)) / x.std(0, correction=0)
    deviation = maps[:, i, j].double().std(1, correction=0)
    weight = probe.weight_C * deviation
    logits = torch.einsum("c,cp->p", probe.weight_C, maps[:, i, j].double()) + probe.bias
    residual = torch.sigmoid(logits) - y
    gradient = x.T @ residual / len(y) + 0.05 * weight
    assert float(gradient.abs().max()) < 1e-6
    assert abs(float(residual.mean())) < 1e-6


def test_fitting_twice_gives_the_same_probe_and_a_constant_feature_weighs_nothing():
    gen = torch.Generator().manual_seed(2)
    maps = torch.cat([torch.rand(2, 40, 40, generator=gen), torch.full((1, 40, 40), 0.7)])
    labels = [torch.rand(40, 40, generator=gen) < 0.1]
    first, second = (fit_contact_probe([maps], labels) for _ in range(2))
    assert torch.equal(first.weight_C, second.weight_C)
    assert torch.equal(first.bias, second.bias)
    assert float(first.weight_C[2]) == 0


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.rand(2, 9, 9), torch.zeros(9, 9), "paired and unpaired"),
        (torch.rand(2, 3, 3), torch.ones(3, 3), "paired and unpaired"),
        (torch.full((2, 9, 9), math.nan), torch.eye(9).flip(0), "finite"),
        (torch.rand(2, 9, 9), torch.eye(8).flip(0), "features have 15 pairs, labels 10"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_contact_probe([features], [labels])


def test_precision_at_the_number_of_pairs_by_hand():
    pairs = build_map(10, {(0, 9): 1, (1, 8): 1, (2, 7): 1})
    scores = build_map(10, {(0, 9): 0.9, (1, 8): 0.5, (0, 5): 0.8, (2, 7): 0.4, (4, 7): 9.0})
    # Best three of those at least 4 apart: a pair, no pair, a pair. (4, 7) is too near to count.
    assert compute_precision(scores, pairs) == pytest.approx(2 / 3)
    assert compute_precision(pairs, pairs) == 1
    assert compute_precision(-pairs, pairs) == 0
    both = compute_precisions(torch.stack([scores, pairs, pairs * math.nan]), pairs)
    torch.testing.assert_close(both, torch.tensor([2 / 3, 1, math.nan]).double(), equal_nan=True)


def test_level_scores_count_by_their_chance():
    pairs = build_map(10, {(0, 9): 1, (1, 8): 1})
    # 21 pairs are 4 apart or more, two are true.
    assert compute_precision(torch.zeros(10, 10), pairs) == pytest.approx(2 / 21)
    # One place is left for three level scores, of which one is true.
    scores = build_map(10, {(0, 9): 2, (1, 8): 1, (0, 6): 1, (0, 7): 1})
    assert compute_precision(scores, pairs) == pytest.approx((1 + 1 / 3) / 2)


def test_auc_is_the_share_of_ordered_couples():
    gen = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 5, (12, 12), generator=gen).float()
    pairs = torch.rand(12, 12, generator=gen) < 0.3
    counted = [(i, j) for i in range(12) for j in range(i + 4, 12)]
    couples = [
        float(scores[a] > scores[b]) + 0.5 * float(scores[a] == scores[b])
        for a in counted
        for b in counted
        if pairs[a] and not pairs[b]
    ]
    assert compute_auc(scores, pairs) == pytest.approx(sum(couples) / len(couples))


@pytest.mark.parametrize("length", [0, 1, 4, 5, 20])
def test_without_pairs_there_is_no_score(length):
    empty = torch.zeros(length, length)
    assert math.isnan(compute_precision(empty, empty))
    assert math.isnan(compute_auc(empty, empty))
    # Pairs nearer than 4 do not count either.
    near = torch.ones(length, length).tril(3).triu(-3)
    assert math.isnan(compute_precision(empty, near))


def test_scores_that_are_not_numbers_have_no_precision():
    pairs = build_map(10, {(0, 9): 1})
    scores = build_map(10, {(0, 9): 1, (0, 8): math.nan})
    assert math.isnan(compute_precision(scores, pairs))
    assert math.isnan(compute_auc(scores, pairs))


def test_letters_are_every_token_but_the_specials():
    assert find_letters(encode("ACNU-")).tolist() == [1, 2, 3, 4, 5]
    assert find_letters(encode("AC")[1:-1]).tolist() == [0, 1]
    assert find_letters(encode("")).tolist() == []


def test_jacobian_scores_follow_their_formula():
    gen = torch.Generator().manual_seed(4)
    jacobian = torch.randn(6, 4, 6, 4, generator=gen, dtype=torch.float64)
    scores = score_jacobian(jacobian)
    centred = jacobian.clone()
    for axis in range(4):
        centred -= centred.mean(axis, keepdim=True)
    norm = torch.zeros(6, 6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            if i != j:
                block = (centred[i, :, j, :] + centred[j, :, i, :].T) / 2
                norm[i, j] = torch.linalg.matrix_norm(block)
    expected = norm - norm.sum(1, keepdim=True) * norm.sum(0, keepdim=True) / norm.sum()
    torch.testing.assert_close(scores, expected)
    # What the place, or the letter of one side alone, explains is no coupling.
    lonely = torch.randn(6, 4, 1, 1) + torch.randn(6, 1, 6, 4) + torch.randn(1, 4, 6, 4)
    torch.testing.assert_close(score_jacobian(jacobian + lonely.double()), scores)
