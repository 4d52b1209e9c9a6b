"""Bootstrap intervals against a plain loop and against the textbook error of a mean."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import (
    BootstrapConfig,
    estimate_mean,
    estimate_mean_of_families,
    estimate_metric,
)
from support.intervals import ends_of


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
    estimate = estimate_mean(values, BootstrapConfig(num_resamples=4000))
    low, high = ends_of(estimate)
    assert low < estimate.mean < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_seed_decides():
    values = np.arange(10.0)
    assert estimate_mean(values, BootstrapConfig()) == estimate_mean(values, BootstrapConfig())
    assert estimate_mean(values, BootstrapConfig()) != estimate_mean(
        values, BootstrapConfig(seed=1)
    )


def test_one_value_has_no_interval_and_none_is_refused():
    config = BootstrapConfig()
    assert estimate_mean([0.4], config) == (0.4, None, None)
    assert estimate_mean_of_families([[0.4]], config) == (0.4, None, None)
    assert estimate_metric(lambda x: float(x.max()), [np.array([0.4])], config) == (0.4, None, None)
    one_family = estimate_mean_of_families([[0.4, 0.6]], config)
    assert one_family == pytest.approx((0.5, 0.4, 0.6))
    with pytest.raises(ValueError, match="no values to average"):
        estimate_mean([], BootstrapConfig())


@pytest.mark.parametrize("setting", [{"num_resamples": 0}, {"level": 1.0}])
def test_settings_are_checked(setting):
    with pytest.raises(ValueError, match=f"bootstrap.{next(iter(setting))}"):
        BootstrapConfig(**setting)


def test_any_metric_is_resampled_with_its_arrays_together():
    generator = np.random.default_rng(3)
    x = generator.random(30)
    y = x + 0.3 * generator.random(30)

    def correlate(x, y):
        return float(np.corrcoef(x, y)[0, 1])

    config = BootstrapConfig(num_resamples=150, seed=4, level=0.8)
    loop = np.random.default_rng(4)
    resampled = []
    for _ in range(150):
        drawn = [int(loop.integers(30)) for _ in range(30)]
        resampled.append(correlate(x[drawn], y[drawn]))
    assert estimate_metric(correlate, [x, y], config) == pytest.approx(
        (correlate(x, y), np.percentile(resampled, 10), np.percentile(resampled, 90))
    )


def test_whole_groups_are_drawn():
    """The variance is that of the groups' means, however many units repeat them."""
    generator = np.random.default_rng(0)
    means = generator.normal(size=30)
    groups = np.repeat(np.arange(30), 20)
    shuffled = generator.permutation(len(groups))
    values = means[groups][shuffled]
    config = BootstrapConfig(num_resamples=2000)
    grouped = estimate_metric(np.mean, [values], config, groups[shuffled])
    assert grouped == pytest.approx(estimate_mean(means, config), abs=0.06)
    alone = estimate_metric(np.mean, [values], config)
    assert np.ptp(ends_of(grouped)) > 3 * np.ptp(ends_of(alone))
    one = estimate_metric(np.mean, [values], config, np.zeros(len(values), np.int64))
    assert (one.low, one.high) == (None, None)


def test_a_mean_by_either_way_is_the_same():
    values = np.random.default_rng(1).random((40, 2))
    config = BootstrapConfig(num_resamples=300)
    by_metric = estimate_metric(lambda rows: float(rows[:, 0].mean()), [values], config)
    by_mean = estimate_mean(values[:, 0], config)
    assert by_metric == pytest.approx(by_mean)


def test_resamples_without_a_value_are_left_out_and_a_metric_without_one_is_refused():
    labels = np.array([0, 1, 0, 0, 0, 0])

    def share_if_both(labels):
        return labels.mean() if 0 < labels.sum() < len(labels) else np.nan

    estimate = estimate_metric(share_if_both, [labels], BootstrapConfig())
    low, high = ends_of(estimate)
    assert estimate.mean == pytest.approx(1 / 6)
    assert low == pytest.approx(1 / 6)
    assert high < 1
    with pytest.raises(ValueError, match="not defined on these 3 units"):
        estimate_metric(share_if_both, [np.zeros(3)], BootstrapConfig())
    with pytest.raises(ValueError, match="as long as each other"):
        estimate_metric(share_if_both, [np.zeros(3), np.zeros(4)], BootstrapConfig())
    with pytest.raises(ValueError, match="no values"):
        estimate_metric(share_if_both, [np.zeros(0)], BootstrapConfig())


def test_families_and_their_sequences_give_the_variance_of_both():
    generator = np.random.default_rng(6)
    centres = generator.normal(0.5, 0.1, 60)
    families = [generator.normal(centre, 0.2, 8) for centre in centres]
    estimate = estimate_mean_of_families(families, BootstrapConfig(num_resamples=2000))
    low, high = ends_of(estimate)
    means = np.array([values.mean() for values in families])
    assert estimate.mean == pytest.approx(means.mean())
    within = np.mean([values.var() / len(values) for values in families])
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt((means.var() + within) / 60), rel=0.08)
    narrow = ends_of(estimate_mean(means, BootstrapConfig(num_resamples=2000)))
    assert high - low > narrow[1] - narrow[0]


def test_families_of_one_sequence_vary_as_families_alone():
    values = np.random.default_rng(8).random(12)
    config = BootstrapConfig(num_resamples=100)
    assert estimate_mean_of_families([[value] for value in values], config) == pytest.approx(
        estimate_mean(values, config)
    )
    assert estimate_mean_of_families([[0.1, 0.3]], config).mean == pytest.approx(0.2)
    for none in ([], [[0.1], []]):
        with pytest.raises(ValueError, match="no values"):
            estimate_mean_of_families(none, config)
