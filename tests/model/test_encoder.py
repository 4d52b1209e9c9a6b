"""The encoder against an independent, padded, straight-from-the-description implementation.

Shape suffixes: L positions, D embed_dim, F published feed-forward width.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from openrinalmo.model import alphabet
from openrinalmo.model.encoder import EncoderBlock, EncoderConfig, build_encoder_config
from openrinalmo.model.feed_forward import aligned_width
from openrinalmo.model.masked_lm import IGNORE_INDEX, MaskedLM, masked_lm_loss_sum
from openrinalmo.model.upstream import export_published, published_shapes
from openrinalmo.model.weights import build_random_twin
from support.packs import pack

CONFIG = EncoderConfig(embed_dim=40, num_blocks=2, num_heads=5)
SEQUENCES = ("ACGUACGUGGCC", "U", "GGGAAACUUCGGUUUCCCAN", "AC" * 40)


@pytest.fixture
def model() -> MaskedLM:
    model = build_random_twin(CONFIG, seed=1)
    gen = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "norm" in name or "beta" in name:  # at their start they hide mistakes
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=gen)
    return model


def published_forward(state: dict[str, Tensor], ids: Tensor, num_heads: int) -> Tensor:
    """Logits of one sequence, from published keys, as the paper's description reads."""

    def linear(x: Tensor, key: str) -> Tensor:
        bias = state.get(key + ".bias")
        return x @ state[key + ".weight"].T + (0 if bias is None else bias)

    def norm(x: Tensor, key: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return scaled * state[key + ".weight"] + state[key + ".bias"]

    def rotate(x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angle = torch.arange(len(x))[:, None] / 10_000 ** (torch.arange(half) / half)
        turn = torch.polar(torch.ones_like(angle), angle)[:, None]
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], -1)

    embed_dim = state["embedding.weight"].shape[1]
    is_mask = ids == alphabet.MASK
    x = state["embedding.weight"][ids] * ~is_mask[:, None]
    x = x * (1 - 0.15 * 0.8) / (1 - is_mask.double().mean())
    num_blocks = sum(key.endswith(".beta") for key in state)
    for i in range(num_blocks):
        block = f"transformer.blocks.{i}."
        h = norm(x, block + "attn_layer_norm")
        q, k, v = linear(h, block + "mh_attn.Wqkv").split(embed_dim, -1)
        q, k, v = (y.unflatten(-1, (num_heads, -1)) for y in (q, k, v))
        scores = torch.einsum("ihd,jhd->hij", rotate(q), rotate(k)) / math.sqrt(q.shape[-1])
        mixed = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)
        y = h + linear(mixed, block + "mh_attn.out_proj")
        u = norm(y, block + "out_layer_norm")
        a, g = (linear(u, block + f"transition.0.{n}") for n in ("linear", "linear_gate"))
        gated = a * torch.sigmoid(state[block + "transition.0.beta"] * a) * g
        x = y + linear(gated, block + "transition.2")
    x = norm(x, "transformer.final_layer_norm")
    x = norm(F.gelu(linear(x, "lm_mask_head.linear1")), "lm_mask_head.layer_norm")
    return linear(x, "lm_mask_head.linear2")


@pytest.mark.parametrize("masked", [False, True])
def test_matches_an_independent_implementation_forward_and_gradient(model, masked):
    ids = [alphabet.encode(s) for s in SEQUENCES]
    if masked:
        for x in (ids[0], ids[2]):
            x[2:7:2] = alphabet.MASK
    model = model.double()
    state = {k: v.clone().requires_grad_() for k, v in export_published(model).items()}
    expected = torch.cat([published_forward(state, x.long(), CONFIG.num_heads) for x in ids])
    actual = model(*pack(*ids)).logits_TV
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)  # rotary tables are fp32

    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)).double()
    expected_grads = torch.autograd.grad((expected * weight).sum(), list(state.values()))
    (actual * weight).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad
    for (name, ours), theirs in zip(export_published(model).items(), expected_grads, strict=True):
        scale = 1 + theirs.abs().max().item()
        torch.testing.assert_close(
            ours, theirs, atol=1e-5 * scale, rtol=0, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_sequence_does_not_depend_on_what_it_is_packed_with(model):
    together = model(*pack(*SEQUENCES)).representation_TD
    alone = torch.cat([model(*pack(s)).representation_TD for s in SEQUENCES])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_masks_of_a_neighbour_do_not_rescale_a_sequence(model):
    masked = alphabet.encode(SEQUENCES[2])
    masked[1:9] = alphabet.MASK
    beside_masked = model(*pack(SEQUENCES[0], masked)).representation_TD
    beside_plain = model(*pack(SEQUENCES[0], SEQUENCES[2])).representation_TD
    length = len(SEQUENCES[0]) + 2
    torch.testing.assert_close(beside_masked[:length], beside_plain[:length], atol=1e-6, rtol=0)


def test_the_head_on_chosen_rows_equals_those_rows_of_the_head_on_all(model):
    inputs = pack(*SEQUENCES)
    rows = torch.tensor([1, 5, 14, 30])
    chosen = model(*inputs, predicted_rows_M=rows)
    torch.testing.assert_close(chosen.logits_TV, model(*inputs).logits_TV[rows])
    assert len(chosen.representation_TD) == len(inputs[0])


def test_padding_neurons_stay_zero_and_change_nothing_in_training():
    config = EncoderConfig(embed_dim=40, num_blocks=1, num_heads=5)
    model = build_random_twin(config, seed=0).double()
    block = model.encoder.blocks[0]
    assert isinstance(block, EncoderBlock)
    feed_forward = block.feed_forward
    ffn_dim, stored = feed_forward.ffn_dim, feed_forward.out.shape[1]
    assert (ffn_dim, stored) == (106, 128)
    narrow = {k: v.clone().requires_grad_() for k, v in export_published(model).items()}
    # A large eps: with a small one, Adam makes whole steps of gradients that are only rounding.
    optimizer, narrow_optimizer = (
        torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1, eps=1e-4)
        for parameters in (model.parameters(), narrow.values())
    )
    ids, cu_seqlens, max_seqlen = pack("GGGAAACUUCGGUUUCCCAN")
    for _ in range(5):
        for output, step in (
            (model(ids, cu_seqlens, max_seqlen).logits_TV, optimizer),
            (published_forward(narrow, ids.long(), 5), narrow_optimizer),
        ):
            step.zero_grad()
            F.cross_entropy(output, ids.long()).backward()
            step.step()
    assert not feed_forward.out[:, ffn_dim:].any()
    for first in (0, stored):
        padding = slice(first + ffn_dim, first + stored)
        assert not feed_forward.activated_and_gate[padding].any()
        assert not feed_forward.activated_and_gate_bias[padding].any()
    for name, ours in export_published(model).items():
        torch.testing.assert_close(ours, narrow[name].detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("size", "count", "tensors"),
    [
        ("nano", 7_508_824, 87),
        ("micro", 33_491_074, 165),
        ("mega", 148_056_972, 399),
        ("giga", 650_901_793, 438),
    ],
)
def test_published_sizes(size, count, tensors):
    with torch.device("meta"):
        shapes = published_shapes(build_encoder_config(size))
    assert sum(math.prod(shape) for shape in shapes.values()) == count
    assert len(shapes) == tensors


def test_tiny_is_under_a_million_parameters():
    model = MaskedLM(build_encoder_config("tiny"))
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


def test_stored_widths_are_aligned():
    assert [aligned_width(w) for w in (853, 1280, 1706, 3413)] == [896, 1280, 1728, 3456]


def test_initial_weights_have_the_spread_of_pytorch_defaults():
    torch.manual_seed(0)
    state = export_published(MaskedLM(EncoderConfig(embed_dim=320, num_blocks=1, num_heads=5)))
    block = "transformer.blocks.0."
    for key, fan_in in (
        ("mh_attn.Wqkv.weight", 320),
        ("transition.0.linear.weight", 320),
        ("transition.0.linear_gate.bias", 320),
        ("transition.2.weight", 853),
    ):
        expected = 1 / math.sqrt(3 * fan_in)
        assert state[block + key].std().item() == pytest.approx(expected, rel=0.1), key
    assert state[block + "transition.0.beta"].item() == 1
    assert state["embedding.weight"].std().item() == pytest.approx(1, rel=0.05)
    assert not state["embedding.weight"][alphabet.PAD].any()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model = MaskedLM(EncoderConfig(embed_dim=40, num_blocks=1, num_heads=5))
    inputs = pack(*SEQUENCES)
    model.train()
    assert not torch.equal(model(*inputs).logits_TV, model(*inputs).logits_TV)
    model.eval()
    assert torch.equal(model(*inputs).logits_TV, model(*inputs).logits_TV)


def test_loss_is_the_sum_over_labelled_rows():
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 22, generator=gen)
    labels = torch.tensor([5, 6, IGNORE_INDEX, 7, IGNORE_INDEX, 8])
    by_hand = sum(
        torch.logsumexp(logits[i], 0) - logits[i, label]
        for i, label in enumerate(labels.tolist())
        if label != IGNORE_INDEX
    )
    torch.testing.assert_close(masked_lm_loss_sum(logits, labels), by_hand)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embed_dim": 0}, "must be positive, got 0"),
        ({"embed_dim": 30}, "multiple of twice model.num_heads 4"),
        ({"attention_dropout": 1.0}, r"model.attention_dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**{"embed_dim": 32, "num_blocks": 1, "num_heads": 4, **settings})


def test_padded_ids_are_refused(model):
    with pytest.raises(ValueError, match=r"packed, one dimension.*\(2, 3\)"):
        model(torch.zeros(2, 3), torch.tensor([0, 6]).int(), 6)
