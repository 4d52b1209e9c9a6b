"""The base-pair head against a naive implementation that builds the whole L x L x 2D tensor."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from openrinalmo.model.heads import (
    BasePairHead,
    base_pair_loss,
    export_published_head,
    load_published_head,
)
from support.shared import SHARED, requires_shared

GOLDEN = "parity/upstream_structure.npz"


def naive_logits(state, representation_LD):
    """The published head as its description reads: concatenate, project, convolve, mirror."""
    length, embed_dim = representation_LD.shape
    at_i = representation_LD[:, None, :].expand(length, length, embed_dim)
    at_j = representation_LD[None, :, :].expand(length, length, embed_dim)
    pair = torch.cat([at_i, at_j], dim=-1) @ state["linear_in.weight"].T + state["linear_in.bias"]
    pair = pair.permute(2, 0, 1)[None]
    for block in range(2):
        inner = pair
        for layer in (0, 3, 6):
            weight = state[f"resnet.blocks.{block}.conv_net.{layer}.weight"]
            inner = F.conv2d(inner, weight, padding=weight.shape[-1] // 2)
            mean = inner.mean((2, 3), keepdim=True)
            variance = ((inner - mean) ** 2).mean((2, 3), keepdim=True)
            inner = ((inner - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
        pair = pair + inner
    logits = F.conv2d(pair, state["conv_out.weight"], state["conv_out.bias"], padding=1)[0, 0]
    above = torch.ones(length, length).triu(1).bool()
    return torch.where(above, logits, torch.where(above.T, logits.T, torch.zeros(())))


def random_head(embed_dim, seed=0, channels=64):
    torch.manual_seed(seed)
    return BasePairHead(embed_dim, channels=channels)


@pytest.mark.parametrize(("length", "embed_dim"), [(2, 3), (7, 4), (33, 20)], ids=str)
def test_head_equals_the_naive_one_forward_and_gradient(length, embed_dim):
    head = random_head(embed_dim).double()
    generator = torch.Generator().manual_seed(1)
    representation = torch.randn(length, embed_dim, generator=generator, dtype=torch.float64)
    representation.requires_grad_()
    weight = torch.randn(length, length, generator=generator, dtype=torch.float64)
    parameters = [representation, *head.parameters()]

    ours = head(representation)
    naive = naive_logits(dict(head.named_parameters()), representation)
    our_gradients = torch.autograd.grad((ours * weight).sum(), parameters)
    naive_gradients = torch.autograd.grad((naive * weight).sum(), parameters)

    torch.testing.assert_close(ours, naive, rtol=0, atol=1e-10)
    for actual, expected in zip(our_gradients, naive_gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)


def test_the_order_of_concatenation_matters():
    head = random_head(4)
    swapped = random_head(4)
    weight = head.linear_in.weight.detach()
    swapped.linear_in.weight.data = torch.cat([weight[:, 4:], weight[:, :4]], dim=1)
    representation = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
    assert (head(representation) - swapped(representation)).abs().max() > 1e-2


@requires_shared(GOLDEN)
def test_golden_arrays_of_the_published_head():
    golden = np.load(SHARED / GOLDEN)
    state = {key: torch.from_numpy(golden[key]) for key in golden if key.startswith("pred_head.")}
    head = load_published_head(state).head
    with torch.no_grad():
        logits = head(torch.from_numpy(golden["representation"])[0])
    torch.testing.assert_close(logits, torch.from_numpy(golden["logits"])[0], rtol=0, atol=1e-5)


def test_result_does_not_depend_on_who_came_before_or_on_mode():
    head = random_head(6)
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(12, 6, generator=generator), torch.randn(31, 6, generator=generator)
    alone = head(first)
    packed = torch.cat([second, first, second])
    from_pack = [head(part) for part in packed.split([31, 12, 31])]
    assert torch.equal(from_pack[1], alone)
    assert torch.equal(head.eval()(first), alone)


def test_loss_is_the_mean_over_the_strict_upper_triangle():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(6, 6, generator=generator)
    target = (torch.rand(6, 6, generator=generator) < 0.3).float()
    by_hand = [
        -np.log(1 / (1 + np.exp(-z)) if y else 1 - 1 / (1 + np.exp(-z)))
        for i in range(6)
        for j in range(i + 1, 6)
        for z, y in [(logits[i, j].item(), target[i, j].item())]
    ]
    assert base_pair_loss(logits, target).item() == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_published_keys_there_and_back():
    head = random_head(5)
    state = export_published_head(head, threshold=0.06)
    shapes = {key: np.shape(value) for key, value in state.items()}
    assert shapes["pred_head.linear_in.weight"] == (64, 10)
    assert shapes["pred_head.resnet.blocks.1.conv_net.3.weight"] == (64, 64, 3, 3)
    assert len(state) == 11
    loaded = load_published_head({**state, "lm.embedding.weight": torch.zeros(22, 5)})
    assert loaded.threshold == 0.06
    representation = torch.randn(8, 5, generator=torch.Generator().manual_seed(5))
    assert torch.equal(loaded.head(representation), head(representation))


def test_published_size():
    assert sum(p.numel() for p in BasePairHead(1280).parameters()) == 254_593


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred_head.conv_out.bias": None}, "missing pred_head.conv_out.bias"),
        ({"pred_head.extra": torch.zeros(1)}, "unexpected pred_head.extra"),
        ({"pred_head.conv_out.bias": torch.zeros(2)}, r"is \(2,\), must be \(1,\)"),
        ({"pred_head.linear_in.weight": None}, "linear_in.weight must be .* it is absent"),
    ],
)
def test_partial_or_misshaped_state_is_refused(change, message):
    state = {**export_published_head(random_head(5)), **change}
    with pytest.raises(ValueError, match=message):
        load_published_head({key: value for key, value in state.items() if value is not None})


@pytest.mark.parametrize("shape", [(1, 5), (0, 5), (8, 4), (2, 8, 5)], ids=str)
def test_wrong_representation_is_refused(shape):
    with pytest.raises(ValueError, match=r"base-pair head reads|has no pairs"):
        random_head(5)(torch.zeros(shape))
