import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from openrinalmo.kernels import reference
from support.gradients import values_and_grads
from support.numerics import assert_as_accurate_as_torch

LENGTHS = [[1], [5], [3, 1, 17], [16, 2, 2, 64, 1]]


def naive_attention(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Softmax over explicit scores with everything outside the own sequence at minus infinity."""
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    outside = owner[:, None] != owner[None, :]
    scores = torch.einsum("thk,shk->hts", q, k) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(outside, -torch.inf).softmax(-1)
    return torch.einsum("hts,shk->thk", weights, v)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("head_dim", [2, 24, 64])
def test_attention_matches_a_masked_softmax(lengths, head_dim):
    gen = torch.Generator().manual_seed(0)
    *inputs, grad = torch.randn(4, sum(lengths), 3, head_dim, generator=gen)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()

    def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return reference.attention(q, k, v, cu_seqlens, max(lengths))

    def naive(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return naive_attention(q, k, v, lengths)

    exact = values_and_grads(naive, [x.double() for x in inputs], [grad.double()])
    same = values_and_grads(naive, inputs, [grad])
    actual = values_and_grads(packed, inputs, [grad])
    # Gradients of q and k are differences of two dot products; with one token they cancel to zero.
    # A dot product's rounding goes with the sizes of what it adds, however little is left of it.
    q, k, v = inputs
    dot = (grad * v).abs().sum(-1).max()
    term = dot * head_dim**-0.5 * max(q.abs().max(), k.abs().max())
    magnitudes = (0.0, term.item(), term.item(), 0.0)
    for ours, theirs, truth, magnitude in zip(actual, same, exact, magnitudes, strict=True):
        assert_as_accurate_as_torch(ours, theirs, truth, magnitude=magnitude)


def test_attention_never_reads_a_neighbour():
    gen = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 12, 2, 8, generator=gen)
    cu_seqlens = torch.tensor([0, 4, 12]).int()
    clean = reference.attention(q, k, v, cu_seqlens, 8)
    for x in (q, k, v):
        x[4:] = torch.nan
    poisoned = reference.attention(q, k, v, cu_seqlens, 8)
    assert torch.equal(poisoned[:4], clean[:4])


@pytest.mark.parametrize(
    ("cu_seqlens", "max_seqlen", "message"),
    [
        (torch.tensor([0, 4]).int(), 4, "to the 6 tokens"),
        (torch.tensor([1, 6]).int(), 6, "rise from 0"),
        (torch.tensor([0, 5, 3, 6]).int(), 6, "rise from 0"),
        (torch.tensor([0, 6]), 6, "int32"),
        (torch.tensor([0, 6]).int(), 5, "max_seqlen is 5 but the longest sequence has 6"),
    ],
)
def test_attention_refuses_lengths_that_do_not_fit(cu_seqlens, max_seqlen, message):
    x = torch.zeros(6, 1, 4)
    with pytest.raises(ValueError, match=message):
        reference.attention(x, x, x, cu_seqlens, max_seqlen)


def test_attention_rotates_and_drops_by_seed():
    gen = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 12, 2, 8, generator=gen)
    packed = (torch.tensor([0, 4, 12]).int(), 8)
    cos, sin = reference.rotary_tables(torch.arange(12), 8)
    turned_q, turned_k = (reference.apply_rotary(x, cos, sin) for x in (q, k))
    expected = reference.attention(turned_q, turned_k, v, *packed)
    assert torch.equal(reference.attention(q, k, v, *packed, cos=cos, sin=sin), expected)

    with pytest.raises(ValueError, match="cos and sin come together, got no sin"):
        reference.attention(q, k, v, *packed, cos=cos)

    state = torch.get_rng_state()
    first, again, other = (
        reference.attention(q, k, v, *packed, dropout_p=0.5, dropout_seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_rotary_turns_each_pair_by_position_times_frequency():
    head_dim, position = 6, 700
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, head_dim, generator=gen)
    cos, sin = reference.rotary_tables(torch.tensor([position]), head_dim)
    turned = reference.apply_rotary(x, cos, sin)
    for pair in range(head_dim // 2):
        angle = position * 10_000 ** (-2 * pair / head_dim)
        as_complex = torch.complex(x[0, :, pair], x[0, :, pair + head_dim // 2])
        expected = as_complex.to(torch.complex128) * complex(math.cos(angle), math.sin(angle))
        actual = torch.complex(turned[0, :, pair], turned[0, :, pair + head_dim // 2])
        torch.testing.assert_close(actual.to(torch.complex128), expected, atol=2e-4, rtol=0)


def test_rotary_tables_stay_fp32_and_tell_late_positions_apart():
    cos, sin = reference.rotary_tables(torch.arange(1024), 64)
    assert cos.dtype == sin.dtype == torch.float32
    assert len(torch.unique(torch.cat([cos, sin], 1), dim=0)) == 1024


def test_rotary_refuses_tables_of_other_tokens():
    cos, sin = reference.rotary_tables(torch.arange(3), 4)
    with pytest.raises(ValueError, match=r"cos and sin must be \(4, 2\)"):
        reference.apply_rotary(torch.zeros(4, 1, 4), cos, sin)
    with pytest.raises(ValueError, match="even head_dim, got 5"):
        reference.rotary_tables(torch.arange(3), 5)


def test_swiglu_gradients_match_finite_differences():
    gen = torch.Generator().manual_seed(0)
    hidden, bias = torch.randn(3, 10, generator=gen), torch.randn(10, generator=gen)
    inputs = tuple(x.double().requires_grad_() for x in (hidden, torch.tensor([0.7]), bias))
    assert torch.autograd.gradcheck(reference.swiglu, inputs)
    a, g = hidden.chunk(2, 1)
    torch.testing.assert_close(reference.swiglu(hidden, torch.ones(1)), F.silu(a) * g)


def test_residual_layer_norm_normalises_the_sum():
    gen = torch.Generator().manual_seed(0)
    x, residual = 5 + torch.randn(2, 3, 8, generator=gen)
    summed, normed = reference.residual_layer_norm(x, residual, torch.ones(8), torch.zeros(8))
    assert torch.equal(summed, x + residual)
    torch.testing.assert_close(normed.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.var(1, correction=0), torch.ones(3), atol=1e-4, rtol=0)
