"""Every file of ds_configs on one and two CPU ranks: the losses and weights of plain PyTorch."""

import json

import pytest
import torch

from openrinalmo.ds_configs import FOLDER
from openrinalmo.pipeline.pretraining.engine_settings import OWNED_BY_RUN
from support.engine_cases import case, read_settings, run_cases, step, train_plain

NAMES = ("cpu", "zero1", "zero2", "zero3", "zero3_fast", "zero3_offload")
STEPS = [step(0), step(1), step(2)]
SHORT = STEPS[:2]


@pytest.fixture(scope="module")
def plain():
    return train_plain(case("plain", {}, STEPS))


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def runs(request, tmp_path_factory):
    exact = [case(name, read_settings(name, bf16=False), STEPS) for name in NAMES]
    low = [case(f"{name}-bf16", read_settings(name, bf16=True), SHORT) for name in NAMES]
    return run_cases(tmp_path_factory.mktemp("stages"), exact + low, num_ranks=request.param)


@pytest.mark.parametrize("name", NAMES)
def test_losses_norms_and_weights_are_those_of_plain_pytorch(runs, plain, name):
    run = runs[name]
    assert run["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    assert run["norms"] == pytest.approx(plain["norms"], rel=1e-5)
    assert run["applied"] == [True] * len(STEPS)
    for key, weight in plain["final"].items():
        torch.testing.assert_close(run["final"][key]["weight"], weight, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_stays_near_and_keeps_fp32_weights(runs, plain, name):
    run = runs[f"{name}-bf16"]
    assert run["losses"] == pytest.approx(plain["losses"][:2], rel=3e-3)
    for kinds in run["final"].values():
        assert {values.dtype for values in kinds.values()} == {torch.float32}
    # More digits than bf16 has: the updates are not rounded away.
    weight = run["final"]["encoder.blocks.0.attention.qkv.weight"]["weight"]
    assert not torch.equal(weight, weight.bfloat16().float())


def test_every_file_is_tried_and_none_states_facts_of_the_run():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(NAMES)
    for name in NAMES:
        settings = json.loads((FOLDER / f"{name}.json").read_text())
        assert not settings.keys() & set(OWNED_BY_RUN)
        assert settings["wall_clock_breakdown"] is False  # would wait for the device every step
