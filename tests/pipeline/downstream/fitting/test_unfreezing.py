"""The published groups of 33 blocks, and the same proportions of any other number."""

import json

import pytest

from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig
from openrinalmo.pipeline.downstream.fitting.regime_config import (
    RegimeConfig,
    build_regime,
    describe_regime,
)
from openrinalmo.pipeline.downstream.fitting.task_model import build_param_groups
from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig, plan_unfreezing
from support.regimes import build_model


def as_lists(stages):
    return [(stage.epoch, list(stage.blocks), stage.final_norm) for stage in stages]


def test_structure_of_giga_is_the_published_list():
    stages = plan_unfreezing(UnfreezingConfig(schedule="structure"), 33)
    assert as_lists(stages) == [
        (3, [30, 31, 32], True),
        (6, [27, 28, 29], False),
        (9, [24, 25, 26], False),
        (12, [21, 22, 23], False),
        (15, [18, 19, 20], False),
        (18, [15, 16, 17], False),
        (21, [12, 13, 14], False),
        (24, [9, 10, 11], False),
    ]
    assert {stage.lr_ratio for stage in stages} == {0.1}


def test_ribosome_load_of_giga_is_the_published_group():
    (stage,) = plan_unfreezing(UnfreezingConfig(schedule="ribosome-load"), 33)
    assert (stage.epoch, stage.blocks, stage.final_norm) == (3, range(6, 33), True)
    assert stage.lr_ratio == 0.1


def test_all_trains_from_the_first_step_at_the_rate_of_the_head():
    (stage,) = plan_unfreezing(UnfreezingConfig(schedule="all"), 12)
    assert (stage.epoch, stage.blocks, stage.final_norm, stage.lr_ratio) == (0, range(12), True, 1)


@pytest.mark.parametrize("num_blocks", [1, 2, 4, 6, 11, 12, 30, 33])
def test_no_block_unfreezes_twice_and_the_top_goes_first(num_blocks):
    stages = plan_unfreezing(UnfreezingConfig(schedule="structure", every_epochs=1), num_blocks)
    blocks = [block for stage in stages for block in reversed(stage.blocks)]
    assert blocks == list(range(num_blocks - 1, num_blocks * 3 // 11 - 1, -1))
    assert [stage.epoch for stage in stages] == list(range(1, 9))
    assert [stage.final_norm for stage in stages] == [True] + [False] * 7
    assert num_blocks - 1 in stages[0].blocks


@pytest.mark.parametrize("change", [{"every_epochs": 0}, {"lr_ratio": 0.0}, {"lr_ratio": 1.5}])
def test_settings_are_checked(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"unfreezing\.{name} must be .*{value}"):
        UnfreezingConfig(**change)


def test_groups_that_never_train_are_told(caplog):
    config = RegimeConfig(regime="full", unfreezing=UnfreezingConfig(schedule="structure"))
    assert config.unfreezing.last_epoch == 24
    groups = build_param_groups(build_model(config), config, last_epoch=9)
    assert [group.epoch for group in groups] == [0, 3, 6, 9]
    (record,) = caplog.records
    assert "ends in epoch 10, and 5 of the 8 groups of regime.unfreezing.schedule=structure" in (
        record.getMessage()
    )
    caplog.clear()
    build_param_groups(build_model(config), config, last_epoch=24)
    assert not caplog.records


def test_settings_come_back_from_json():
    config = RegimeConfig(
        regime="lora", lora=LoraConfig(rank=4), unfreezing=UnfreezingConfig(every_epochs=2)
    )
    described = json.loads(json.dumps(describe_regime(config)))
    assert build_regime(described) == config
    often = RegimeConfig(save_every_steps=3, save_every_seconds=1.0)
    assert describe_regime(often) == describe_regime(RegimeConfig())
