import json
import math

import numpy as np
import pytest

from openrinalmo.pipeline.pretraining.guards import Guards, GuardsConfig

CONFIG = GuardsConfig(window_steps=32, spike_patience_steps=3, max_unusable_steps=2)


def feed(guards: Guards, losses, norms=None, first=0) -> list[str]:
    norms = [1.0] * len(losses) if norms is None else norms
    return [
        guards.judge(first + i, loss=loss, grad_norm=norm, applied=True)
        for i, (loss, norm) in enumerate(zip(losses, norms, strict=True))
    ]


def noisy(steps: int, seed: int = 0) -> list[float]:
    """A loss that falls, with noise."""
    rng = np.random.default_rng(seed)
    return list(1.3 + np.exp(-np.arange(steps) / 50) + rng.normal(0, 0.03, steps))


def test_noise_and_a_falling_loss_are_no_spike():
    for seed in range(20):
        verdicts = feed(Guards(CONFIG), noisy(400, seed))
        assert set(verdicts) == {"fine"}


@pytest.mark.parametrize("kind", ["loss", "norm", "infinite norm"])
def test_a_streak_out_of_line_is_a_spike_at_its_last_step(kind):
    guards = Guards(CONFIG)
    feed(guards, noisy(100))
    losses = [4.0] * 3 if kind == "loss" else [1.35] * 3
    norms = {"loss": [1.0] * 3, "norm": [25.0] * 3, "infinite norm": [math.inf] * 3}[kind]
    assert feed(guards, losses, norms, first=100) == ["fine", "fine", "spike"]
    assert guards.first_suspect == 100


def test_a_streak_that_ends_is_none():
    guards = Guards(CONFIG)
    feed(guards, noisy(100))
    assert set(feed(guards, [4.0, 4.0, 1.4, 4.0, 4.0, 1.4], first=100)) == {"fine"}
    assert guards.first_suspect is None


def test_a_plateau_after_a_spike_does_not_become_normal():
    guards = Guards(CONFIG)
    feed(guards, noisy(100))
    feed(guards, [4.0] * 60, first=100)
    assert guards.judge(160, loss=4.0, grad_norm=1.0, applied=True) == "spike"


def test_nothing_is_judged_before_half_a_window():
    assert feed(Guards(CONFIG), [1.0] * 15 + [9.0]) == ["fine"] * 16


def test_a_window_without_noise_tolerates_a_small_rise():
    assert set(feed(Guards(CONFIG), [1.0] * 40 + [1.005] * 5)) == {"fine"}


def test_spikes_can_be_turned_off():
    config = GuardsConfig(window_steps=32, spike_deviations=0)
    assert set(feed(Guards(config), [1.0] * 40 + [1e9] * 5)) == {"fine"}


def test_unusable_steps_are_counted_within_the_window_only():
    guards = Guards(CONFIG)
    verdicts = [
        guards.judge(step, loss=math.nan, grad_norm=math.nan, applied=False)
        for step in (0, 1, 40, 41)
    ]
    assert verdicts == ["unusable"] * 4
    assert not guards.has_too_many_unusable
    guards.judge(42, loss=math.nan, grad_norm=math.nan, applied=False)
    assert guards.has_too_many_unusable


def test_a_restored_guard_judges_as_the_one_that_went_on():
    losses = noisy(100) + [4.0] * 3
    for stop in (20, 99, 101, 102):
        whole = Guards(CONFIG)
        expected = feed(whole, losses)
        first = Guards(CONFIG)
        feed(first, losses[:stop])
        second = Guards(CONFIG, json.loads(json.dumps(first.state())))
        assert feed(second, losses[stop:], first=stop) == expected[stop:]
        assert second.first_suspect == whole.first_suspect


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_unusable_steps", -1),
        ("window_steps", 7),
        ("spike_grad_norm_ratio", 1.0),
        ("spike_patience_steps", 0),
        ("stall_seconds", -1.0),
    ],
)
def test_senseless_settings_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=f"guards.{setting}"):
        GuardsConfig(**{setting: value})
