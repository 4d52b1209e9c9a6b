"""The checkpoint doctor as a user calls it."""

from dataclasses import asdict

import pytest
import torch

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin, load_masked_lm
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import read_latest
from support.checkpoints import flip, make_state, save
from support.launch import run_script

CONFIG = EncoderConfig(embed_dim=12, num_blocks=1, num_heads=3)
MODEL = build_random_twin(CONFIG, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two checkpoints of two ranks, and the export of the second."""
    folder = tmp_path_factory.mktemp("runs") / "my-run"
    weights = {name: value.detach() for name, value in MODEL.named_parameters()}
    for step in (10, 20):
        save(
            folder / "checkpoints",
            step,
            sizes=(50, 10_000),
            values={name: {"weight": w, "exp_avg": w / step} for name, w in weights.items()},
            shapes={name: tuple(w.shape) for name, w in weights.items()},
            state=make_state(step)._replace(
                config={f"model.{name}": value for name, value in asdict(CONFIG).items()}
            ),
            export=folder / "model.safetensors",
        )
    return folder


def doctor(*arguments, code: int = 0) -> str:
    done = run_script("pipeline/checkpoint.py", *map(str, arguments))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_list_and_verify(run, tmp_path):
    listed = doctor("list", run).splitlines()
    assert [line.split()[-1] for line in listed[1:3]] == ["whole", "whole"]
    assert "latest export" in listed[2]
    assert "verified, all as written" in doctor("verify", run)
    file = run / "checkpoints" / "step-00000020" / "rank-00001-of-00002.safetensors"
    flip(file, 5_000)
    assert f"{file} is damaged" in doctor("verify", run, code=1)
    assert f"{file} is damaged" in doctor("export", run, "latest", tmp_path / "x", code=1)
    flip(file, 5_000)


def test_the_export_is_what_the_run_exported(run, tmp_path):
    doctor("export", run, 20, tmp_path / "model.safetensors")
    exported = (tmp_path / "model.safetensors").read_bytes()
    assert exported == (run / "model.safetensors").read_bytes()
    loaded = load_masked_lm(tmp_path).model
    assert all(map(torch.equal, loaded.parameters(), MODEL.parameters()))


def test_reshape_consolidate_and_diff(run, tmp_path):
    one = tmp_path / "one"
    doctor("reshape", run, 10, 1, one)
    assert len(Checkpoint(one).files) == 1
    differences = doctor("diff", one, run / "checkpoints" / "step-00000020")
    assert "weight: 0 of " in differences
    largest = max(float(weight.detach().abs().max()) for weight in MODEL.parameters()) / 20
    assert f"values differ, most by {largest:.3g} in " in differences  # 1/10 - 1/20
    doctor("consolidate", run, "latest", tmp_path / "ours.safetensors", "--moments")
    assert (tmp_path / "ours.safetensors").stat().st_size > Checkpoint(one).num_bytes * 0.9


def test_use_moves_latest_and_what_cannot_be_done_is_said(run, tmp_path):
    assert "step-00000010" in doctor("use", run, 10)
    assert read_latest(run / "checkpoints") == (10, None)
    assert "give latest or one of 10, 20" in doctor("use", run, 15, code=1)
    assert "No such file" in doctor("export", run, 10, tmp_path / "no" / "x", code=1)
