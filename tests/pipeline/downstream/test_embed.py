"""Representations from packs equal those of each RNA alone, whatever the budget."""

import numpy as np
import pytest
import torch

from openrinalmo.model.alphabet import encode
from openrinalmo.pipeline.downstream.embed import (
    EmbedConfig,
    embed_sequences,
    load_checkpoint,
    open_representations,
)
from support.families import write_checkpoint

SEQUENCES = ["GGAUACC", "A", "GCGCAAAAUGCGCAAAUUU", "NNRYGGAUACC", "CCCCCC"]


@pytest.fixture
def encoder(tmp_path):
    return load_checkpoint(write_checkpoint(tmp_path / "run")).encoder


@pytest.mark.parametrize("max_tokens", [1, 20, 8192])
def test_packed_equals_alone(encoder, max_tokens):
    config = EmbedConfig(max_tokens_per_pack=max_tokens)
    rows = embed_sequences(encoder, SEQUENCES, config, device=torch.device("cpu"))
    with torch.no_grad():
        alone = [
            encoder(ids, torch.tensor([0, len(ids)], dtype=torch.int32), len(ids))[1:-1]
            for ids in map(encode, SEQUENCES)
        ]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, torch.cat(alone).numpy(), rtol=0, atol=1e-5)
    assert np.abs(rows).max() > 0.1


def test_written_rows_are_found_again_by_index(encoder, tmp_path):
    config = EmbedConfig(dtype="float16")
    rows = embed_sequences(encoder, SEQUENCES, config, device=torch.device("cpu"))
    assert rows.dtype == np.float16
    np.save(tmp_path / "rows.npy", rows)
    lengths = dict(zip([30, 4, 7, 9, 1], map(len, SEQUENCES), strict=True))
    opened = open_representations(tmp_path / "rows.npy", lengths)
    found = opened.load(7, torch.device("cpu"))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), rows[8:27].astype(np.float32))
    assert opened.embed_dim == 8


def test_checkpoint_is_identified(tmp_path):
    first = load_checkpoint(write_checkpoint(tmp_path / "a", seed=1))
    second = load_checkpoint(write_checkpoint(tmp_path / "b", seed=2))
    assert len(first.sha256) == 64
    assert first.sha256 != second.sha256
    assert first.metadata["run"] == "toy"
    assert not first.encoder.training


def test_budget_is_checked():
    with pytest.raises(ValueError, match=r"embed.max_tokens_per_pack must be positive, got 0"):
        EmbedConfig(max_tokens_per_pack=0)
