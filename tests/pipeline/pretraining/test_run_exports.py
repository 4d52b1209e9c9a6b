"""What a watcher asks of a run's folder, on checkpoints written by the real writer."""

import json
import shutil
from dataclasses import asdict

import pytest
from safetensors import safe_open

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin, load_masked_lm
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import DamagedError
from openrinalmo.pipeline.pretraining.run_exports import export_step, has_all_steps, list_digests
from support.checkpoints import flip, make_state, save

CONFIG = EncoderConfig(embed_dim=8, num_blocks=1, num_heads=2)


def save_step(run, step, seed=0):
    weights = dict(build_random_twin(CONFIG, seed=seed).named_parameters())
    config = {f"model.{name}": value for name, value in asdict(CONFIG).items()}
    save(
        run / "checkpoints",
        step,
        values={name: {"weight": value.detach()} for name, value in weights.items()},
        shapes={name: tuple(value.shape) for name, value in weights.items()},
        state=make_state(step)._replace(config=config),
    )
    return weights


def test_steps_and_their_weights(tmp_path):
    run = tmp_path / "run"
    assert list_digests(run) == {}
    weights = save_step(run, 10)
    save_step(run, 20, seed=1)
    digests = list_digests(run)
    assert list(digests) == [10, 20]
    state = (run / "checkpoints" / "step-00000010" / "state.sha256").read_text()
    assert state.startswith(digests[10])
    export_step(run, 10, tmp_path / "w.safetensors")
    loaded = load_masked_lm(tmp_path / "w.safetensors")
    for name, parameter in loaded.model.named_parameters():
        assert parameter.equal(weights[name])
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert (file.metadata()["run"], file.metadata()["step"]) == ("run", "10")


def test_other_weights_of_a_step_have_another_digest(tmp_path):
    save_step(tmp_path, 10)
    before = list_digests(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    save_step(tmp_path, 10, seed=1)
    assert list_digests(tmp_path) != before


def test_deleted_half_deleted_and_damaged(tmp_path):
    save_step(tmp_path, 10)
    with pytest.raises(FileNotFoundError, match="step 20 any more"):
        export_step(tmp_path, 20, tmp_path / "w.safetensors")
    folder = tmp_path / "checkpoints" / "step-00000010"
    (tensors,) = folder.glob("rank-*")
    flip(tensors, -1)
    with pytest.raises(DamagedError, match="is damaged"):
        export_step(tmp_path, 10, tmp_path / "w.safetensors")
    (folder / "state.sha256").unlink()
    assert list_digests(tmp_path) == {}
    folder.rename(folder.with_name(folder.name + ".partial"))
    assert list_digests(tmp_path) == {}
    assert not (tmp_path / "w.safetensors").exists()


def test_finished_where_the_last_step_is_saved(tmp_path):
    assert not has_all_steps(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"config": {"steps": 20}}))
    assert not has_all_steps(tmp_path)
    save_step(tmp_path, 10)
    assert not has_all_steps(tmp_path)
    save_step(tmp_path, 20)
    assert has_all_steps(tmp_path)
