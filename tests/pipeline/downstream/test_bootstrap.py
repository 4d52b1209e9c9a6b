"""Bootstrap intervals against a plain loop and against the textbook error of a mean."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.bootstrap import BootstrapConfig, estimate_mean


def test_equals_a_loop_over_resamples():
    values = np.random.default_rng(1).random(17)
    config = BootstrapConfig(num_resamples=200, seed=5, level=0.9)
    generator = np.random.default_rng(5)
    means = []
    for _ in range(200):
        drawn = [values[generator.integers(17)] for _ in range(17)]
        means.append(sum(drawn) / 17)
    assert estimate_mean(values, config) == pytest.approx(
        (values.mean(), np.percentile(means, 5), np.percentile(means, 95))
    )


def test_width_is_that_of_the_mean():
    values = np.random.default_rng(2).normal(0.6, 0.1, 400)
    mean, low, high = estimate_mean(values, BootstrapConfig(num_resamples=4000))
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_seed_decides():
    values = np.arange(10.0)
    assert estimate_mean(values, BootstrapConfig()) == estimate_mean(values, BootstrapConfig())
    assert estimate_mean(values, BootstrapConfig()) != estimate_mean(
        values, BootstrapConfig(seed=1)
    )


def test_one_value_has_no_width_and_none_is_refused():
    assert estimate_mean([0.4], BootstrapConfig()) == pytest.approx((0.4, 0.4, 0.4))
    with pytest.raises(ValueError, match="no values to average"):
        estimate_mean([], BootstrapConfig())


@pytest.mark.parametrize("setting", [{"num_resamples": 0}, {"level": 1.0}])
def test_settings_are_checked(setting):
    with pytest.raises(ValueError, match=f"bootstrap.{next(iter(setting))}"):
        BootstrapConfig(**setting)
