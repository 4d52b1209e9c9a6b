from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from openrinalmo.kernels import attention
from support.attention_packs import DTYPES, AttentionPack, draw_pack
from support.gradients import assert_op_as_accurate, values_and_grads
from support.philox import kept_weights, philox
from support.triton_device import DEVICE, runs_kernels

P, SEED = 0.25, 2**40 + 12_345


def attend(pack: AttentionPack, seed: int = SEED):
    return lambda q, k, v: attention.attention(
        q, k, v, pack.cu_seqlens, pack.max_seqlen, dropout_p=P, dropout_seed=seed
    )


def attend_with_mask(pack: AttentionPack, keeps_HTT: Tensor):
    bounds = pack.cu_seqlens.tolist()

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        outputs = []
        for begin, end in pairwise(bounds):
            one = slice(begin, end)
            scores = torch.einsum("ihk,jhk->hij", q[one], k[one]) * q.shape[-1] ** -0.5
            weights = scores.softmax(-1) * keeps_HTT[:, one, one] / (1 - P)
            outputs.append(torch.einsum("hij,jhk->ihk", weights, v[one]))
        return torch.cat(outputs)

    return attend


def kept_by(pack: AttentionPack, seed: int = SEED) -> Tensor:
    num_tokens, num_heads, _ = pack.q.shape
    return kept_weights(num_tokens, num_heads, P, seed).to(DEVICE)


def test_philox_gives_the_published_words():
    # Known answers of the authors' Random123, file kat_vectors: philox4x32 with 7 rounds.
    assert [int(w) for w in philox([np.array(0)] * 4, 0, rounds=7)] == [
        0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48,
    ]  # fmt: skip
    ones = 0xFFFFFFFF
    assert [int(w) for w in philox([np.array(ones)] * 4, ones << 32 | ones, rounds=7)] == [
        0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662,
    ]  # fmt: skip


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("lengths", [[3, 40, 1], [100], [30, 150]], ids=str)
def test_value_and_gradients_are_those_of_the_mask(lengths, dtype):
    pack = draw_pack(lengths, head_dim=64, num_heads=1, dtype=dtype)
    masked = attend_with_mask(pack, kept_by(pack))
    # A kept weight is scaled up, so the terms that cancel are too.
    magnitudes = [magnitude / (1 - P) for magnitude in pack.magnitudes]
    assert_op_as_accurate(attend(pack), masked, pack.inputs, [pack.grad], magnitudes=magnitudes)


@runs_kernels
@pytest.mark.parametrize("length", [40, 100], ids=["one-tile backward", "two-kernel backward"])
def test_forward_and_every_gradient_drop_the_same_weights(length):
    """Probes with unit vectors turn each result into the mask itself.

    Equal scores make all weights 1 / length. Then row i of the output, and of dv, lists the kept
    weights, and a row of dq or dk is positive where a weight is kept.
    """
    before = 9
    pack = draw_pack([before, length], head_dim=128, dtype=torch.float16)
    own = slice(before, before + length)
    units = torch.zeros_like(pack.v)
    units[own, :, :length] = torch.eye(length, device=DEVICE)[:, None].to(units.dtype)
    nothing, ones = torch.zeros_like(units), torch.ones_like(units)

    out, _, _, dv = values_and_grads(attend(pack), [nothing, nothing, units], [units])
    dq = values_and_grads(attend(pack), [nothing, units, ones], [ones])[1]
    dk = values_and_grads(attend(pack), [units, nothing, ones], [ones])[2]

    kept = kept_by(pack)[:, own, own]
    as_mask = [(x[own, :, :length] > 0).transpose(0, 1) for x in (out, dq, dv, dk)]
    for name, mask in zip(("out", "dq", "dv", "dk"), as_mask, strict=True):
        expected = kept if name in ("out", "dq") else kept.transpose(1, 2)
        assert torch.equal(mask, expected), name


@runs_kernels
def test_masks_differ_by_head_sequence_and_seed_but_not_by_call():
    pack = draw_pack([32, 32], head_dim=32, dtype=torch.float16)
    for x in pack.inputs:
        x.copy_(x[:32, :1].repeat(2, 2, 1))
    out = attend(pack)(*pack.inputs)
    assert torch.equal(attend(pack)(*pack.inputs), out)
    assert not torch.equal(attend(pack, seed=SEED + 1)(*pack.inputs), out)
    assert not torch.equal(out[:, 0], out[:, 1])
    assert not torch.equal(out[:32], out[32:])


def test_the_share_of_dropped_weights_is_p_in_every_row_and_column():
    kept = kept_weights(512, 2, P, SEED).double()
    tokens = kept.shape[-1]
    deviation = (P * (1 - P)) ** 0.5
    assert abs(kept.mean() - (1 - P)) < 4 * deviation / kept.numel() ** 0.5
    for axis in (1, 2):
        # The largest of 1,024 normal deviates passes 5.5 once in 25,000 seeds.
        worst = (kept.mean(axis) - (1 - P)).abs().max()
        assert worst < 5.5 * deviation / tokens**0.5
    heads = kept - kept.mean()
    correlation = (heads[0] * heads[1]).mean() / (heads**2).mean()
    assert abs(correlation) < 4 / tokens
