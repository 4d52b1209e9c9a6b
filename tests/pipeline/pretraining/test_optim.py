import math

import pytest
import torch

from openrinalmo.pipeline.pretraining.optim import OptimConfig, build_optimizer, compute_lr

CONFIG = OptimConfig(peak_lr=1e-3, start_lr=1e-7, min_lr=1e-4, warmup_steps=10, decay_steps=100)


def test_warm_up_is_linear_and_the_cosine_ends_at_the_floor():
    assert compute_lr(0, CONFIG) == 1e-7
    assert compute_lr(5, CONFIG) == pytest.approx((1e-7 + 1e-3) / 2)
    assert compute_lr(10, CONFIG) == 1e-3
    assert compute_lr(60, CONFIG) == pytest.approx((1e-3 + 1e-4) / 2)
    assert compute_lr(110, CONFIG) == pytest.approx(1e-4)
    assert compute_lr(10_000, CONFIG) == pytest.approx(1e-4)


def test_the_published_recipe_ends_a_third_of_the_way_down():
    config = OptimConfig()
    assert compute_lr(2_000, config) == config.peak_lr == 5e-5
    expected = 1e-5 + 4e-5 * 0.5 * (1 + math.cos(math.pi * 74_000 / 200_000))
    assert compute_lr(76_000, config) == pytest.approx(expected)
    assert expected == pytest.approx(3.7e-5, rel=0.05)


def test_the_optimizer_has_the_settings():
    parameter = torch.nn.Parameter(torch.zeros(2))
    (group,) = build_optimizer(
        [parameter], OptimConfig(beta2=0.98), torch.device("cpu")
    ).param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.98), 0.01)


@pytest.mark.parametrize(
    "settings",
    [
        {"peak_lr": 0.0},
        {"weight_decay": -1.0},
        {"warmup_steps": -1},
        {"decay_steps": 0},
        {"muon_lr": 0.0},
        {"muon_momentum": 1.0},
        {"beta2": 1.5},
        {"name": "sgd"},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"optim.{next(iter(settings))}"):
        OptimConfig(**settings)
