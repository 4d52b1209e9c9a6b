"""Paired gains and p-values, against exact enumeration and SciPy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import r2_score

from openrinalmo.pipeline.downstream.scores.bootstrap import (
    BootstrapConfig,
    estimate_mean,
    estimate_mean_of_families,
)
from openrinalmo.pipeline.downstream.scores.paired import (
    build_family_gain,
    build_gain,
    build_metric_gain,
    compute_sign_flip_p,
)
from support.intervals import ends_of

NAMES = ("pretrained", "one-hot")


def build(system, baseline, **settings):
    config = BootstrapConfig(num_resamples=300)
    return build_gain(
        system, baseline, config, names=NAMES, part="tRNA", metric="F1 relaxed", **settings
    )


@pytest.mark.parametrize("size", [1, 2, 5, 9, 12])
def test_few_units_are_enumerated(size):
    differences = np.random.default_rng(size).normal(0.3, 1, size)
    extreme = [
        abs(np.dot(signs, differences)) >= abs(differences.sum()) - 1e-12
        for signs in product((1, -1), repeat=size)
    ]
    assert compute_sign_flip_p(differences) == pytest.approx(np.mean(extreme), abs=1e-12)


def test_few_units_by_hand():
    assert compute_sign_flip_p([1.0]) == 1
    assert compute_sign_flip_p([1, 2, 3]) == 2 / 8
    assert compute_sign_flip_p([0.1, 0.2, -0.3]) == 1
    assert compute_sign_flip_p([0.0, 0.0, 0.0]) == 1
    assert compute_sign_flip_p([0.1] * 9) == 2 / 512


def test_many_units_agree_with_scipy():
    differences = np.random.default_rng(0).normal(0.05, 1, 150)
    expected = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).pvalue
    p_value = compute_sign_flip_p(differences)
    assert 0.01 < expected < 0.5
    # Both are shares of 10,000 draws: four standard errors of their difference.
    assert p_value == pytest.approx(expected, abs=4 * float(np.sqrt(2 * expected / 10_000)))
    assert compute_sign_flip_p(differences) == p_value
    assert compute_sign_flip_p(differences, seed=1) != p_value


def test_is_never_zero_and_uniform_without_a_difference():
    assert compute_sign_flip_p(np.ones(200)) == pytest.approx(1 / 10_001)
    generator = np.random.default_rng(2)
    p_values = [compute_sign_flip_p(generator.normal(0, 1, 10)) for _ in range(200)]
    assert np.mean(np.array(p_values) < 0.2) == pytest.approx(0.2, abs=0.1)


def test_gain_is_of_the_same_units():
    generator = np.random.default_rng(4)
    easy = generator.random(50)
    gain = build(easy + 0.01, easy, unit="families")
    assert gain.gain == pytest.approx(0.01)
    assert gain.low == pytest.approx(0.01)
    assert gain.p_value < 0.001
    assert (gain.system, gain.baseline, gain.unit) == (*NAMES, "families")
    noisy = generator.random(50)
    other = build(noisy, easy)
    expected = estimate_mean(noisy - easy, BootstrapConfig(num_resamples=300))
    assert (other.gain, other.low, other.high) == expected
    back = build(easy, noisy)
    assert (back.gain, back.p_value) == pytest.approx((-other.gain, other.p_value))


def test_other_metrics_swap_predictions():
    generator = np.random.default_rng(5)
    targets = generator.normal(0, 1, 60)
    good = targets + generator.normal(0, 0.3, 60)
    poor = targets + generator.normal(0, 0.9, 60)

    def gain_of(first, second):
        return build_metric_gain(
            lambda predictions, targets: r2_score(targets, predictions),
            (first, second),
            targets,
            BootstrapConfig(num_resamples=200),
            names=NAMES,
            part="Human7600",
            metric="R2",
        )

    gain = gain_of(good, poor)
    assert gain.gain == pytest.approx(r2_score(targets, good) - r2_score(targets, poor))
    low, high = ends_of(gain)
    assert 0 < low < gain.gain < high
    assert gain.p_value == pytest.approx(1 / 201)
    same = gain_of(good, good)
    assert (same.gain, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    alike = gain_of(good, targets + generator.normal(0, 0.3, 60))
    assert alike.p_value > 0.01


def test_of_a_metric_that_is_a_mean_it_is_the_sign_flip():
    differences = np.random.default_rng(6).normal(0.4, 1, 8)
    gain = build_metric_gain(
        lambda predictions, targets: float(np.mean(predictions - targets)),
        (differences, np.zeros(8)),
        np.ones(8),
        BootstrapConfig(),
        names=NAMES,
        part="all",
        metric="mean",
    )
    assert gain.p_value == pytest.approx(compute_sign_flip_p(differences))


def test_groups_swap_whole():
    """Copies of a unit in its group change nothing of the p-value, which counts groups."""
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 6))
    targets = generator.normal(size=6)
    config = BootstrapConfig(num_resamples=50)
    names = {"names": ("a", "b"), "part": "p", "metric": "m"}

    def score(predictions, targets):
        return -np.abs(predictions - targets).mean()

    alone = build_metric_gain(score, (first, second), targets, config, **names)
    groups = np.repeat(np.arange(6), 5)
    many = build_metric_gain(
        score, (first[groups], second[groups]), targets[groups], config, groups_N=groups, **names
    )
    assert many.p_value == alone.p_value
    assert (many.low, many.high) == pytest.approx((alone.low, alone.high))


def test_rows_of_classes_swap_whole():
    scores = np.eye(3)[[0, 1, 2, 0]]
    gain = build_metric_gain(
        lambda predictions, targets: float(np.mean(predictions.argmax(1) == targets)),
        (scores, np.roll(scores, 1, axis=1)),
        np.array([0, 1, 2, 0]),
        BootstrapConfig(),
        names=NAMES,
        part="all",
        metric="accuracy",
    )
    assert (gain.gain, gain.p_value) == (1, 2 / 16)


def test_other_units_are_refused():
    with pytest.raises(ValueError, match="pretrained has 2 sequences and one-hot 3"):
        build([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="no differences to test"):
        compute_sign_flip_p([])


def test_a_mean_of_families_has_one_interval_and_flips_whole_families():
    config = BootstrapConfig(num_resamples=300)
    system = {"tRNA": [0.9, 0.5, 0.7], "5s": [0.4], "srp": [0.6, 0.8]}
    baseline = {"tRNA": [0.8, 0.5, 0.3], "5s": [0.1], "srp": [0.7, 0.3]}
    gain = build_family_gain(
        system, baseline, config, names=NAMES, part="mean of families", metric="F1 relaxed"
    )
    differences = [[0.1, 0.0, 0.4], [0.3], [-0.1, 0.5]]
    expected = estimate_mean_of_families(differences, config)
    assert (gain.gain, gain.low, gain.high) == pytest.approx(expected)
    assert gain.gain == pytest.approx((0.5 / 3 + 0.3 + 0.2) / 3)
    assert (
        gain.p_value == compute_sign_flip_p([float(np.mean(one)) for one in differences]) == 2 / 8
    )
    assert (gain.unit, gain.system, gain.baseline) == ("families", *NAMES)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"tRNA": [0.8], "5s": [0.1]}, "2 sequences of tRNA and one-hot 1"),
        ({"5s": [0.1], "tRNA": [0.8, 0.5]}, "families tRNA, 5s and one-hot 5s, tRNA"),
    ],
)
def test_families_that_do_not_match_are_refused(other, problem):
    system = {"tRNA": [0.9, 0.5], "5s": [0.4]}
    with pytest.raises(ValueError, match=problem):
        build_family_gain(system, other, BootstrapConfig(), names=NAMES, part="", metric="")
