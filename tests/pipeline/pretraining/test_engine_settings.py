import json

import pytest
import torch

from openrinalmo.pipeline.pretraining.engine_settings import (
    find_engine_settings,
    read_engine_settings,
    uses_bf16,
    zero_stage,
)

BF16 = {"bf16": {"enabled": True}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_batch_size": 8}, "sets train_batch_size: the run's config owns"),
        ({}, "ZeRO stage 0: give 1, 2 or 3"),
        ({"zero_optimization": {"stage": 0}}, "ZeRO stage 0: give 1, 2 or 3"),
        ({"fp16": {"enabled": True}, "zero_optimization": {"stage": 2}}, "fp16.enabled to True"),
        (
            {"zero_optimization": {"stage": 2, "compute_grad_norm": False}},
            "zero_optimization.compute_grad_norm to False",
        ),
        (
            {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}},
            "offload_optimizer.device to nvme: moments are saved from memory",
        ),
        (
            BF16 | {"zero_optimization": {"stage": 1}, "data_types": {"grad_accum_dtype": "fp32"}},
            "in fp32 at ZeRO stage 1",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused_by_name(tmp_path, settings, message):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message) as refusal:
        read_engine_settings(path)
    assert str(path) in str(refusal.value)


def test_no_json_is_named(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="mine.json is no JSON"):
        read_engine_settings(path)


def test_auto_fits_the_device_and_paths_are_taken(tmp_path):
    assert find_engine_settings("auto", torch.device("cpu")).stem == "cpu"
    assert find_engine_settings("auto", torch.device("cuda")).stem == "zero3"
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    assert find_engine_settings(str(mine), torch.device("cpu")) == mine
    with pytest.raises(ValueError, match="engine=zero9: no such settings; give one of cpu, zero1"):
        find_engine_settings("zero9", torch.device("cpu"))


def test_stage_and_precision():
    settings = read_engine_settings(find_engine_settings("zero2", torch.device("cpu")))
    assert (zero_stage(settings), uses_bf16(settings)) == (2, True)
