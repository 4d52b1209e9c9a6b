import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.model.upstream import export_published
from openrinalmo.model.weights import build_random_twin, load_masked_lm, save_masked_lm
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_export import (
    consolidate_checkpoint,
    export_checkpoint,
)
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_writer import (
    CheckpointConfig,
    CheckpointWriter,
)
from support.checkpoints import (
    ALONE,
    SHAPES,
    assert_equal,
    cut,
    make_state,
    make_values,
    open_alone,
    save,
)

CONFIG = EncoderConfig(embed_dim=24, num_blocks=2, num_heads=3, residual_dropout=0.25)
MODEL = build_random_twin(CONFIG, seed=0)
STATE = make_state(10)._replace(
    config={f"model.{name}": value for name, value in asdict(CONFIG).items()}
)


def save_model(folder, export=None):
    """The model from three ranks, unevenly; its moments are its weights doubled."""
    weights = {name: value.detach() for name, value in MODEL.named_parameters()}
    values = {name: {"weight": value, "exp_avg": 2 * value} for name, value in weights.items()}
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    return save(
        folder,
        10,
        sizes=(301, 7, 50_000),
        values=values,
        shapes=shapes,
        state=STATE,
        export=export,
    )


def test_the_streamed_export_is_the_file_of_a_model_in_memory(tmp_path):
    save_model(tmp_path)
    export_checkpoint(open_alone(tmp_path), tmp_path / "streamed.safetensors", "my-run")
    with safe_open(tmp_path / "streamed.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (metadata["run"], metadata["step"], metadata["updates"]) == ("my-run", "10", "9")
    save_masked_lm(MODEL, tmp_path / "whole.safetensors", metadata)
    streamed, whole = (tmp_path / f"{name}.safetensors" for name in ("streamed", "whole"))
    assert streamed.read_bytes() == whole.read_bytes()
    expected = export_published(MODEL)
    loaded = load_file(streamed)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    assert load_masked_lm(streamed).model.config == CONFIG


def test_an_export_says_what_its_data_was_made_without(tmp_path):
    excluded = {"families": ["tRNA"], "benchmarks": {}, "identity": 0.8, "coverage": 0.8}
    save(tmp_path, 10, state=STATE._replace(excluded=excluded))
    checkpoint = open_alone(tmp_path)
    assert checkpoint.state.excluded == excluded
    consolidate_checkpoint(checkpoint, tmp_path / "own.safetensors", "my-run")
    with safe_open(tmp_path / "own.safetensors", "pt") as file:
        assert json.loads(file.metadata()["excluded"]) == excluded


def test_every_checkpoint_is_exported_too(tmp_path):
    save_model(tmp_path / "checkpoints", export=tmp_path / "model.safetensors")
    loaded = load_masked_lm(tmp_path).model
    for (name, a), b in zip(MODEL.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_an_export_reads_one_tensor_at_a_time(tmp_path, monkeypatch):
    save_model(tmp_path)
    checkpoint = open_alone(tmp_path)
    sizes = []
    read = Checkpoint.read

    def read_and_note(self, name, kind="weight"):
        sizes.append(read(self, name, kind).numel())
        return read(self, name, kind)

    monkeypatch.setattr(Checkpoint, "read", read_and_note)
    monkeypatch.setattr(Checkpoint, "iter_full", None)
    export_checkpoint(checkpoint, tmp_path / "a", "run")
    num_parameters = len(list(MODEL.parameters()))
    assert len(sizes) == num_parameters + 2 * CONFIG.num_blocks  # halves of joined ones


@pytest.mark.parametrize("moments", [False, True])
def test_consolidated_weights_have_our_names_and_widths(tmp_path, moments):
    values = save_model(tmp_path)
    path = tmp_path / "all.safetensors"
    consolidate_checkpoint(open_alone(tmp_path), path, "my-run", moments=moments)
    loaded = load_file(path)
    model = MaskedLM(CONFIG)
    model.load_state_dict({name: loaded.pop(name) for name in values}, strict=True)
    for (name, a), b in zip(model.named_parameters(), MODEL.parameters(), strict=True):
        assert torch.equal(a, b), name
    expected = {f"exp_avg.{name}": kinds["exp_avg"] for name, kinds in values.items()}
    assert loaded.keys() == (expected.keys() if moments else set())
    assert all(torch.equal(loaded[key], expected[key]) for key in loaded)


def test_a_checkpoint_fills_a_model_of_its_size_only(tmp_path):
    save_model(tmp_path)
    fresh = MaskedLM(CONFIG)
    open_alone(tmp_path).load_weights(fresh)
    assert_equal(
        ((name, {"weight": value.detach()}) for name, value in fresh.named_parameters()),
        {name: {"weight": value.detach()} for name, value in MODEL.named_parameters()},
    )
    with pytest.raises(ValueError, match="holds another model's parameters"):
        open_alone(tmp_path).load_weights(MaskedLM(replace(CONFIG, num_blocks=1)))


def test_a_failed_export_leaves_the_checkpoint_and_the_export_before(tmp_path):
    export = tmp_path / "no-such-folder" / "model.safetensors"
    with pytest.raises(OSError, match="step-00000010 is saved, but not its export .*No such file"):
        save_model(tmp_path, export=export)
    assert open_alone(tmp_path).state.step == 10


def test_a_checkpoint_that_names_no_model_is_not_exported(tmp_path):
    writer = CheckpointWriter(tmp_path, CheckpointConfig(), ALONE, export=tmp_path / "x")
    state = make_state(10)._replace(config={})
    writer.save(cut(make_values(1), 0, (0,)).items(), SHAPES, state)
    with pytest.raises(ValueError, match="no model"):
        writer.finish()
