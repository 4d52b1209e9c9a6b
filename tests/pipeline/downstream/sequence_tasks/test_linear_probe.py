"""The linear map against scikit-learn's solvers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from openrinalmo.pipeline.downstream.sequence_tasks.linear_probe import fit_linear


def draw(num, num_classes, seed):
    generator = np.random.default_rng(seed)
    features = generator.normal(3, [1, 5, 0.1, 2], size=(num, 4))
    signal = (features - 3) / [1, 5, 0.1, 2] @ generator.normal(size=(4, num_classes))
    noisy = signal + generator.normal(size=signal.shape)
    return features, noisy[:, 0], noisy.argmax(axis=1).astype(float)


@pytest.mark.parametrize("penalty", [1.0, 1e-2])
def test_ridge_equals_scikit_learn(penalty):
    features, targets, _ = draw(60, 1, seed=0)
    ours = fit_linear((features, targets), (features, targets), "regression", penalties=(penalty,))
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    # Theirs is a sum of squares, ours half a mean beside half the penalty.
    theirs = Ridge(alpha=penalty * len(features)).fit(scaled, targets)
    np.testing.assert_allclose(ours.predict(features)[:, 0], theirs.predict(scaled), rtol=1e-9)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("penalty", [1.0, 1e-2])
def test_logistic_regression_equals_scikit_learn(num_classes, penalty):
    features, _, labels = draw(80, num_classes, seed=1)
    kind = "binary" if num_classes == 2 else "multiclass"
    ours = fit_linear(
        (features, labels), (features, labels), kind, num_classes=num_classes, penalties=(penalty,)
    )
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=1 / (penalty * len(features)), tol=1e-10, max_iter=10_000)
    expected = theirs.fit(scaled, labels).decision_function(scaled)
    actual = ours.predict(features)
    if num_classes == 2:
        np.testing.assert_allclose(actual[:, 0], expected, atol=1e-4)
    else:
        np.testing.assert_allclose(
            actual - actual.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            atol=1e-4,
        )


def test_the_penalty_with_the_least_validation_loss_is_taken():
    features, targets, _ = draw(12, 1, seed=2)
    others = draw(200, 1, seed=2)[:2]
    best = fit_linear((features, targets), others, "regression")
    alone = [
        fit_linear((features, targets), others, "regression", penalties=(penalty,))
        for penalty in (1.0, 0.1, 0.01, 1e-3, 1e-4)
    ]
    assert best.validation_loss == min(one.validation_loss for one in alone)
    assert best.penalty == min(alone, key=lambda one: one.validation_loss).penalty


def test_a_constant_feature_has_no_say():
    features, targets, _ = draw(30, 1, seed=3)
    constant = np.concatenate([features, np.full((30, 1), 0.1)], axis=1)
    ours = fit_linear((constant, targets), (constant, targets), "regression")
    changed = constant.copy()
    changed[:, -1] = 99
    np.testing.assert_array_equal(ours.predict(constant), ours.predict(changed))


def test_more_features_than_sequences_and_no_global_state():
    import torch

    generator = np.random.default_rng(4)
    features, labels = generator.normal(size=(10, 50)), np.arange(10) % 2.0
    before = torch.get_rng_state()
    first, second = (
        fit_linear((features, labels), (features, labels), "binary").predict(features)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match="needs training"):
        fit_linear((features[:0], labels[:0]), (features, labels), "binary")
