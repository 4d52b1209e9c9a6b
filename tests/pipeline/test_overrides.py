from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from openrinalmo.pipeline.overrides import apply_overrides, describe
from openrinalmo.pipeline.pretraining.batches import BatchConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    peak_lr: float = 1e-3

    def __post_init__(self) -> None:
        if self.peak_lr <= 0:
            raise ValueError(f"optim.peak_lr must be positive, got {self.peak_lr}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int = 10
    resume: bool = False
    out: Path = Path("runs")
    attention: Literal["triton", "sdpa"] = "sdpa"
    limit: int | None = None
    folds: tuple[str, ...] = ()
    optim: Inner = field(default_factory=Inner)


def test_values_take_the_type_of_their_field():
    settings = (
        "steps=1_000 resume=true out=a/b attention=triton limit=3 folds=x,y optim.peak_lr=5e-5"
    )
    assert apply_overrides(Outer(), settings.split()) == Outer(
        steps=1000,
        resume=True,
        out=Path("a/b"),
        attention="triton",
        limit=3,
        folds=("x", "y"),
        optim=Inner(peak_lr=5e-5),
    )
    assert apply_overrides(Outer(limit=3), ["limit=none"]) == Outer()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optim.peak_lrr=1",
            r"no field 'peak_lrr' in Inner \(from 'optim.peak_lrr'\); did you mean 'peak_lr'",
        ),
        ("optim.peak_lr=-1", "optim.peak_lr must be positive, got -1.0"),
        ("steps=1.5", "steps must be int; got '1.5'"),
        ("attention=fa", "attention must be one of triton, sdpa; got 'fa'"),
        ("resume=1", "resume must be true or false; got '1'"),
        ("optim=3", "optim is a group of settings; set one of optim.peak_lr"),
        ("steps.more=3", "goes below 'steps', a single value: 10"),
        ("steps", "'steps' is no setting: write path=value"),
    ],
)
def test_a_wrong_override_is_refused_with_its_cure(override, message):
    with pytest.raises(ValueError, match=message):
        apply_overrides(Outer(), [override])


def test_settings_that_must_fit_each_other_change_together():
    config = BatchConfig(micro_batch_tokens=64, global_batch_tokens=128)
    changed = apply_overrides(config, ["micro_batch_tokens=100", "global_batch_tokens=300"])
    assert changed.packs_per_step == 3


def test_describe_lists_every_setting_as_plain_values():
    assert describe(Outer())["optim.peak_lr"] == 1e-3
    assert describe(Outer())["out"] == "runs"
