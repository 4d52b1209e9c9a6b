"""Heads of whole sequences against the published modules as described, padded, one by one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from openrinalmo.model.sequence_heads import (
    PUBLISHED_LOAD_TOKENS,
    ClassHead,
    RibosomeLoadHead,
    SpliceHead,
    load_published_sequence_head,
)

EMBED_DIM = 6
LENGTHS = (5, 1, 9, 2, 102, 3)
HEADS = {
    "splice": lambda: SpliceHead(EMBED_DIM),
    "class": lambda: ClassHead(EMBED_DIM, 4),
    "load": lambda: RibosomeLoadHead(EMBED_DIM),
    "load-padded": lambda: RibosomeLoadHead(EMBED_DIM, padded_tokens=102),
}


def build_head(name, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HEADS[name]().double().eval()


def random_rows(lengths=LENGTHS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(lengths), EMBED_DIM, generator=generator, dtype=torch.float64)
    return rows, torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32)


def naive_load(state, rows_LD, num_tokens):
    """The published head on one sequence followed by rows of zeros, with torch's own modules."""
    length = len(rows_LD)
    padded = F.pad(rows_LD, (0, 0, 0, num_tokens - length))
    x = F.linear(padded, state["linear_in.weight"], state["linear_in.bias"]).T[None]
    for block in range(6):
        inner = x
        for layer in (0, 3):
            weight = state[f"resnet.blocks.{block}.conv_net.{layer}.weight"]
            inner = F.conv1d(inner, weight, padding=1)
            centred = inner - inner.mean(2, keepdim=True)
            inner = F.elu(centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt())
        x = x + inner
    pooled = x[0, :, :length].mean(1)
    return F.linear(pooled, state["linear_out.weight"], state["linear_out.bias"])


@pytest.mark.parametrize("padded_tokens", [0, PUBLISHED_LOAD_TOKENS])
def test_ribosome_load_equals_the_naive_one_forward_and_gradient(padded_tokens):
    head = build_head("load-padded" if padded_tokens else "load")
    rows, cu_seqlens = random_rows()
    rows.requires_grad_()
    ours = head(rows, cu_seqlens)
    state = dict(head.named_parameters())
    naive = torch.stack(
        [naive_load(state, part, padded_tokens or len(part)) for part in rows.split(LENGTHS)]
    )
    assert ours.shape == (len(LENGTHS), 1)
    torch.testing.assert_close(ours, naive, rtol=0, atol=1e-10)
    weight = torch.arange(1, len(LENGTHS) + 1).double()[:, None]
    inputs = [rows, *head.parameters()]
    actual = torch.autograd.grad((ours * weight).sum(), inputs)
    expected = torch.autograd.grad((naive * weight).sum(), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_published_modules_of_torch_give_the_same():
    """Names, kernel sizes and norms are those of torch's modules, called as they are."""
    head = build_head("load-padded")
    rows, cu_seqlens = random_rows((7,))
    x = head.linear_in(F.pad(rows, (0, 0, 0, 95))).T[None]
    for block in head.resnet.blocks:
        assert isinstance(block.conv_net, nn.Sequential)
        x = x + block.conv_net(x)
    expected = head.linear_out(x[0, :, :7].mean(1))
    torch.testing.assert_close(head(rows, cu_seqlens)[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", HEADS)
def test_alone_equals_packed_forward_and_gradient(name):
    head = build_head(name)
    rows, cu_seqlens = random_rows()
    rows.requires_grad_()
    packed = head(rows, cu_seqlens)
    (gradient,) = torch.autograd.grad(packed.square().sum(), rows)
    for number, part in enumerate(rows.detach().split(LENGTHS)):
        part.requires_grad_()
        alone = head(part, torch.tensor([0, len(part)], dtype=torch.int32))
        torch.testing.assert_close(alone[0], packed[number], rtol=0, atol=1e-12)
        (alone_gradient,) = torch.autograd.grad(alone.square().sum(), part)
        expected = gradient[cu_seqlens[number] : cu_seqlens[number + 1]]
        torch.testing.assert_close(alone_gradient, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["splice", "class"])
def test_first_rows_alone_are_enough(name):
    head = build_head(name)
    rows, cu_seqlens = random_rows()
    first = rows[cu_seqlens[:-1].long()]
    counted = torch.arange(len(LENGTHS) + 1)
    assert torch.equal(head(first, counted), head(rows, cu_seqlens))


def test_classifiers_by_hand():
    for name in ("splice", "class"):
        head = build_head(name)
        rows, cu_seqlens = random_rows((3, 2))
        state = head.state_dict()
        hidden = rows[[0, 3]] @ state["classifier.0.weight"].T + state["classifier.0.bias"]
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        expected = hidden @ state["classifier.2.weight"].T + state["classifier.2.bias"]
        torch.testing.assert_close(head(rows, cu_seqlens), expected, rtol=0, atol=1e-12)


def test_dropout_only_in_training():
    head = RibosomeLoadHead(EMBED_DIM).double()
    rows, cu_seqlens = random_rows()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(head(rows, cu_seqlens), head(rows, cu_seqlens))
        head.eval()
        assert torch.equal(head(rows, cu_seqlens), head(rows, cu_seqlens))


def test_low_precision_keeps_its_type():
    head = build_head("load").bfloat16()
    rows, cu_seqlens = random_rows()
    outputs = head(rows.bfloat16(), cu_seqlens)
    assert outputs.dtype == torch.bfloat16
    exact = build_head("load")(rows, cu_seqlens)
    assert (outputs.double() - exact).abs().max() < 0.1 * exact.abs().max()


def test_published_sizes():
    sizes = {
        164_097: SpliceHead(1280),
        350_552: ClassHead(1280, 88),
        77_889: RibosomeLoadHead(1280),
    }
    for size, head in sizes.items():
        assert sum(parameter.numel() for parameter in head.parameters()) == size


@pytest.mark.parametrize("name", ["splice", "class", "load-padded"])
def test_published_heads_load(name):
    head = build_head(name).float()
    state = {f"pred_head.{key}": value for key, value in head.state_dict().items()}
    state["lm.embedding.weight"] = torch.zeros(22, EMBED_DIM)
    if name == "load-padded":
        state |= {"scaler._mean": torch.tensor([6.5]), "scaler._std": torch.tensor([1.5])}
        assert state["pred_head.resnet.blocks.5.conv_net.3.weight"].shape == (32, 32, 3)
        assert len(head.state_dict()) == 16
    loaded = load_published_sequence_head(state)
    assert type(loaded.head) is type(head)
    assert loaded[1:] == ((6.5, 1.5) if name == "load-padded" else (0, 1))
    rows, cu_seqlens = random_rows()
    expected = head(rows.float(), cu_seqlens)
    assert torch.equal(loaded.head(rows.float(), cu_seqlens), expected)
    with pytest.raises(ValueError, match=r"no published head of a sequence task: unexpected .*new"):
        load_published_sequence_head({**state, "pred_head.new": torch.zeros(1)})


def test_a_checkpoint_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"neither pred_head.classifier nor pred_head.linear_in"):
        load_published_sequence_head({"embedding.weight": torch.zeros(22, 4)})
    with pytest.raises(ValueError, match=r"missing scaler._mean, scaler._std"):
        load_published_sequence_head({"pred_head.linear_in.weight": torch.zeros(32, 4)})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ClassHead(4, 1), "two classes or more, got 1"),
        (lambda: RibosomeLoadHead(4, padded_tokens=-1), "padded_tokens must be positive"),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("name", HEADS)
def test_wrong_packs_are_refused(name):
    head = build_head(name)
    for wrong in ([0], [0, 4], [1, 5], [0, 6]):
        with pytest.raises(ValueError, match=r"cu_seqlens must run from 0 to the 5 rows"):
            head(torch.zeros(5, EMBED_DIM).double(), torch.tensor(wrong))
    with pytest.raises(ValueError, match=r"sequence 1 of the pack has no rows"):
        head(torch.zeros(5, EMBED_DIM).double(), torch.tensor([0, 3, 3, 5]))
    if name == "load-padded":
        with pytest.raises(ValueError, match=r"103 tokens is longer than the 102"):
            head(torch.zeros(103, EMBED_DIM).double(), torch.tensor([0, 103]))
