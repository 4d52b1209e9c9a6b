"""Rows of a pack are those of each sequence alone, of every kind, computed once or each time."""

import numpy as np
import pytest
import torch

from openrinalmo.model.alphabet import encode
from openrinalmo.pipeline.downstream.representations.embed import Representations, select_rows
from openrinalmo.pipeline.downstream.representations.row_readers import EncoderRows, FrozenRows
from support.regimes import CPU, SEQUENCES, build_encoder


def alone(encoder, sequence):
    ids = encode(sequence)
    with torch.no_grad():
        return encoder(ids, torch.tensor([0, len(ids)], dtype=torch.int32), len(ids))


KINDS = {
    "specials": lambda rows_LD: rows_LD,
    "tokens": lambda rows_LD: rows_LD[1:-1],
    "cls": lambda rows_LD: rows_LD[:1],
    "mean": lambda rows_LD: (rows_LD[1:-1].sum(0) / (len(rows_LD) - 2))[None],
}


@pytest.mark.parametrize("reads", KINDS)
def test_encoder_rows_are_those_of_each_sequence_alone(reads):
    encoder = build_encoder()
    reader = EncoderRows(encoder, SEQUENCES, reads=reads, device=CPU)
    packed = reader([3, 1, 2])
    expected = [KINDS[reads](alone(encoder, SEQUENCES[index])) for index in (3, 1, 2)]
    assert packed.cu_seqlens.dtype == torch.int32
    for actual, one in zip(packed.split(), expected, strict=True):
        torch.testing.assert_close(actual, one, rtol=0, atol=1e-5)


def test_frozen_rows_are_found_by_index():
    rows_TD = np.arange(24, dtype=np.float16).reshape(12, 2)
    spans = {7: slice(0, 3), 2: slice(3, 4), 5: slice(4, 12)}
    reader = FrozenRows(Representations(rows_TD=rows_TD, spans=spans), CPU)
    packed = reader([5, 7])
    assert packed.cu_seqlens.tolist() == [0, 8, 11]
    assert packed.rows_TD.dtype == torch.float32
    np.testing.assert_array_equal(packed.rows_TD, np.concatenate([rows_TD[4:], rows_TD[:3]]))
    with pytest.raises(ValueError, match="no sequence to read"):
        reader([])


def test_bf16_rounds_the_computation_and_gradients_reach_fp32_weights():
    encoder = build_encoder()
    exact = EncoderRows(encoder, SEQUENCES, reads="tokens", device=CPU)([0, 2]).rows_TD
    reader = EncoderRows(encoder, SEQUENCES, reads="tokens", device=CPU, dtype=torch.bfloat16)
    rounded = reader([0, 2]).rows_TD
    assert rounded.dtype == torch.float32
    error = (rounded - exact).abs().max()
    assert 1e-4 < error < 0.1
    weights_TD = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    loss = (exact * weights_TD).sum()
    weight = encoder.get_parameter("blocks.0.attention.qkv.weight")
    (gradient,) = torch.autograd.grad(loss, weight)
    (rounded_gradient,) = torch.autograd.grad((rounded * weights_TD).sum(), weight)
    assert weight.dtype == rounded_gradient.dtype == torch.float32
    assert torch.cosine_similarity(rounded_gradient.flatten(), gradient.flatten(), dim=0) > 0.95


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no nucleotides"):
        select_rows(torch.zeros(2, 8), "mean")
