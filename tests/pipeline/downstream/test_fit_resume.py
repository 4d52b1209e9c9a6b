"""A killed fit goes on to the same bits, in every regime, wherever it is killed."""

import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.fitting.regimes import fit
from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig
from support.regimes import CPU, LENGTHS, build_model, squared_error


class KilledError(Exception):
    """Stands for whatever ends a process."""


def build_config(regime, **changes):
    settings = {
        "epochs": 3,
        "batch_sequences": 3,
        "peak_lr": 1e-2,
        "save_every_steps": 1,
        "lora": LoraConfig(rank=2, every=2, dropout=0.2),
        "unfreezing": UnfreezingConfig(schedule="structure", every_epochs=1),
    }
    return RegimeConfig(regime=regime, **{**settings, **changes})


def run_fit(config, folder, *, key="fit"):
    """Log and weights of a fit, and how many losses it computed."""
    done = run_killed(config, folder, kill_at=0, key=key)
    assert done is not None
    return done


def run_killed(config, folder, *, kill_at, key="fit"):
    """The same, or None if it is killed in its `kill_at`-th loss."""
    model = build_model(config, head_dropout=0.3)
    calls = []

    def compute_loss(model, indices):
        calls.append(indices)
        if len(calls) == kill_at:
            raise KilledError
        return squared_error(model, indices)

    def validate(model):
        return squared_error(model, range(7)).item()  # falls: the best are the first

    try:
        log = fit(
            model,
            list(LENGTHS),
            LENGTHS,
            compute_loss,
            config,
            folder=folder,
            key=key,
            device=CPU,
            validate=validate,
        )
    except KilledError:
        return None
    return log, model.state_dict(), len(calls)


def assert_same(one, other):
    assert one[0].losses == other[0].losses
    assert one[0].validation == other[0].validation
    assert one[0].step == other[0].step
    assert one[1].keys() == other[1].keys()
    for name, value in one[1].items():
        assert torch.equal(value, other[1][name]), name


@pytest.mark.parametrize("choose", ["last", "best-validation"])
@pytest.mark.parametrize("regime", ["frozen", "linear", "lora", "full"])
def test_killed_again_and_again_equals_uninterrupted(regime, choose, tmp_path):
    config = build_config(regime, choose=choose)
    whole = run_fit(config, tmp_path / "whole")
    assert len(whole[0].losses) == 9
    assert whole[0].step == (9 if choose == "last" else 3)
    resumed = None
    for _ in range(9):
        resumed = run_killed(config, tmp_path / "killed", kill_at=3)
        if resumed:
            break
    assert resumed
    assert resumed[2] < 3  # it was killed four times on the way
    assert_same(resumed, whole)


@pytest.mark.parametrize("every", [2, 4])
def test_steps_since_the_last_save_are_repeated(every, tmp_path):
    config = build_config("full", save_every_steps=every)
    whole = run_fit(config, tmp_path / "whole")
    assert run_killed(config, tmp_path / "killed", kill_at=8) is None
    resumed = run_fit(config, tmp_path / "killed")
    assert resumed[2] == 9 - 7 // every * every
    assert_same(resumed, whole)


def test_a_finished_fit_is_read_back_without_training(tmp_path):
    config = build_config("full")
    whole = run_fit(config, tmp_path)
    again = run_fit(config, tmp_path)
    assert again[2] == 0
    assert_same(again, whole)
    assert again[0].seconds == whole[0].seconds
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["finished"]


def test_how_often_is_saved_does_not_matter_and_other_settings_are_refused(tmp_path):
    whole = run_fit(build_config("frozen"), tmp_path)
    again = run_fit(build_config("frozen", save_every_steps=5), tmp_path)
    assert again[2] == 0
    assert_same(again, whole)
    with pytest.raises(ValueError, match=r"fit holds a fit with other settings.*another key"):
        run_fit(build_config("frozen", peak_lr=1e-3), tmp_path)


def test_one_state_is_kept_and_time_saves_too(tmp_path):
    config = build_config("frozen", save_every_steps=0, save_every_seconds=0.0)
    assert run_killed(config, tmp_path, kill_at=5) is None
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["4"]
    rare = build_config("frozen", save_every_steps=0)
    assert run_killed(rare, tmp_path, kill_at=5, key="rare") is None
    assert not (tmp_path / "rare").exists()
