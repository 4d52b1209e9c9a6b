"""The published groups of 33 blocks, and the same proportions of any other number."""

import pytest

from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig, plan_unfreezing


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
