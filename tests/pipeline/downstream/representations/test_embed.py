"""Representations from packs equal those of each RNA alone, whatever the budget."""

import numpy as np
import pytest
import torch

from openrinalmo.model.alphabet import encode
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    count_rows,
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


@pytest.mark.parametrize(
    ("reads", "select"),
    [
        ("specials", lambda rows_LD: rows_LD),
        ("cls", lambda rows_LD: rows_LD[:1]),
        ("mean", lambda rows_LD: rows_LD[1:-1].mean(axis=0, keepdims=True)),
    ],
)
def test_other_kinds_of_rows(encoder, reads, select):
    config = EmbedConfig(max_tokens_per_pack=20)
    device = torch.device("cpu")
    rows = embed_sequences(encoder, SEQUENCES, config, device=device, reads=reads)
    expected = []
    for ids in map(encode, SEQUENCES):
        with torch.no_grad():
            alone = encoder(ids, torch.tensor([0, len(ids)], dtype=torch.int32), len(ids))
        expected.append(select(alone.numpy()))
        assert len(expected[-1]) == count_rows(reads, len(ids) - 2)
    np.testing.assert_allclose(rows, np.concatenate(expected), rtol=0, atol=1e-5)


def test_no_sequences_have_no_rows(encoder):
    assert embed_sequences(encoder, [], EmbedConfig(), device=torch.device("cpu")).shape == (0, 8)


def test_budget_is_checked():
    with pytest.raises(ValueError, match=r"embed.max_tokens_per_pack must be positive, got 0"):
        EmbedConfig(max_tokens_per_pack=0)
