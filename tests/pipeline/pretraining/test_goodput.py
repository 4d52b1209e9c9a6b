import contextlib

import pytest

from openrinalmo.model.encoder import build_encoder_config
from openrinalmo.pipeline.pretraining import goodput
from openrinalmo.pipeline.pretraining.goodput import Clock, Meter
from openrinalmo.pipeline.pretraining.planning.flops import flops_per_pack
from openrinalmo.pipeline.pretraining.planning.hardware import find_gpu


class FakeTime:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(goodput.time, "monotonic", lambda: self.now)


@pytest.fixture
def fake(monkeypatch):
    return FakeTime(monkeypatch)


def spend(clock: Clock, fake: FakeTime, name: str, seconds: float) -> None:
    with clock.phase(name):
        fake.now += seconds


def test_shares_are_of_the_wall_clock_and_sum_to_one(fake):
    clock = Clock()
    fake.now += 1  # start-up
    spend(clock, fake, "data", 1)
    spend(clock, fake, "step", 6)
    spend(clock, fake, "checkpoint", 2)
    assert clock.shares() == pytest.approx(
        {"data": 0.1, "step": 0.6, "checkpoint": 0.2, "other": 0.1}
    )


def test_recent_seconds_are_those_since_the_last_look(fake):
    clock = Clock()
    spend(clock, fake, "step", 3)
    assert clock.take_recent()["step"] == 3
    spend(clock, fake, "step", 2)
    assert clock.take_recent()["step"] == 2
    assert clock.take_recent()["step"] == 0


def test_steps_a_roll_back_lost_are_no_goodput(fake):
    clock = Clock()
    spend(clock, fake, "step", 4)
    clock.mark(10)
    spend(clock, fake, "step", 6)
    clock.undo_since(10)
    assert clock.shares() == pytest.approx({"step": 0.4, "undone": 0.6, "other": 0.0})


def test_a_phase_that_fails_is_counted(fake):
    clock = Clock()
    with contextlib.suppress(ZeroDivisionError), clock.phase("step"):
        fake.now += 2
        raise ZeroDivisionError
    assert clock.shares()["step"] == 1.0


def test_use_of_the_gpu_follows_from_flops_and_peak():
    model, gpu = build_encoder_config("giga"), find_gpu("h100")
    meter = Meter(model, gpu, world_size=8, recompute_every_blocks=1)
    work = {"tokens": 30_000, "squares": 12_000_000, "predicted": 4_400}
    meter.add(**work)
    meter.add(**work)
    speed = meter.take_speed(0.5)
    needed = 2 * flops_per_pack(model, *work.values())
    assert speed["tokens_per_second"] == 120_000
    assert speed["mfu"] == pytest.approx(needed / 0.5 / (8 * gpu.peak_flops), rel=1e-6)
    assert speed["hfu"] > speed["mfu"] * 1.3  # every block runs its forward twice
    assert meter.take_speed(1.0)["tokens_per_second"] == 0


def test_without_a_known_peak_there_is_no_use_to_report():
    meter = Meter(build_encoder_config("tiny"), None, world_size=1, recompute_every_blocks=0)
    meter.add(tokens=100, squares=1000, predicted=10)
    assert meter.take_speed(2.0) == {"tokens_per_second": 50}


def test_peak_memory_is_read():
    import torch

    assert 0.01 < goodput.read_peak_memory_gib(torch.device("cpu")) < 1000
