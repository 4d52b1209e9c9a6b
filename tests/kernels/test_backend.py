import re

import pytest
import torch

from openrinalmo.kernels import backend, reference
from openrinalmo.kernels.backend import REFERENCE, choose_backend

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODEL = {"head_dim": 64, "dropout_p": 0.0}


@pytest.fixture
def hopper(monkeypatch):
    """Torch as it answers where there is an H100; nothing is launched."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


def test_auto_takes_the_reference_on_a_cpu_and_says_why_nothing_else():
    chosen = choose_backend(CPU, torch.float32, head_dim=64, dropout_p=0.1)
    assert chosen.layer_norm is reference.layer_norm
    assert chosen.swiglu is reference.swiglu
    why = chosen.reasons["attention"]
    assert why.startswith("reference (no triton: it needs a CUDA device and this is cpu; no varlen")
    assert "no flash: " in why
    assert "rotary, norms and gate: reference (no triton: " in chosen.describe()


def test_auto_takes_the_kernels_for_everything_on_a_gpu(hopper):
    pytest.importorskip("triton")
    chosen = choose_backend(CUDA, torch.bfloat16, head_dim=64, dropout_p=0.1)
    assert set(chosen.reasons.values()) == {"triton (first choice)"}
    for op in (chosen.layer_norm, chosen.residual_layer_norm, chosen.swiglu):
        assert op.__module__.startswith("openrinalmo.kernels.")
        assert "reference" not in op.__module__


@pytest.mark.parametrize(
    ("dtype", "model", "capability", "attention"),
    [
        (torch.bfloat16, MODEL, (7, 5), "no triton: it needs compute capability 8.0 .* has 7.5"),
        (torch.bfloat16, {**MODEL, "head_dim": 40}, (9, 0), "and the model's is 40"),
        (torch.float64, MODEL, (9, 0), "no varlen: it needs bf16 or fp16 .* runs in torch.float64"),
    ],
)
def test_auto_passes_over_what_cannot_run(hopper, monkeypatch, dtype, model, capability, attention):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    chosen = choose_backend(CUDA, dtype, **model)
    name = "reference" if dtype == torch.float64 else "varlen"
    assert chosen.reasons["attention"].startswith(f"{name} (no triton: ")
    assert re.search(attention, chosen.reasons["attention"])


@pytest.mark.parametrize("name", ["triton", "flash", "varlen"])
def test_a_named_attention_that_cannot_run_is_refused(name):
    with pytest.raises(ValueError, match=f"model.attention={name} cannot run here: .*(CUDA|inst)"):
        choose_backend(CPU, torch.bfloat16, attention=name, **MODEL)


def test_named_kernels_that_cannot_run_are_refused():
    with pytest.raises(ValueError, match=r"model\.kernels=triton cannot run here: .* this is cpu"):
        choose_backend(CPU, torch.bfloat16, kernels="triton", **MODEL)


def test_dropout_rules_out_varlen():
    with pytest.raises(ValueError, match=r"no dropout and model\.attention_dropout is 0\.1"):
        choose_backend(CUDA, torch.bfloat16, attention="varlen", head_dim=64, dropout_p=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "fa"}, "model.attention must be auto or one of triton, varlen, .*; got fa"),
        ({"kernels": "fa"}, "model.kernels must be auto or one of triton, reference; got fa"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(settings, message):
    with pytest.raises(ValueError, match=message):
        choose_backend(CPU, torch.float32, **settings, **MODEL)


def test_rotary_attention_turns_queries_and_keys_and_nothing_else():
    gen = torch.Generator().manual_seed(0)
    qkv = torch.randn(9, 3, 2, 8, generator=gen, dtype=torch.float64)
    cu_seqlens = torch.tensor([0, 4, 9]).int()
    tables = reference.rotary_tables(torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4]), 8)
    q, k, v = qkv.unbind(1)
    q, k = (reference.apply_rotary(x, *tables) for x in (q, k))
    expected = reference.attention(q, k, v, cu_seqlens, 5)
    assert torch.equal(REFERENCE.rotary_attention(qkv, *tables, cu_seqlens, 5), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["triton", "varlen", "flash"])
def test_gpu_implementations_match_the_reference(name):
    lengths = [17, 1, 300, 64]
    try:
        chosen = backend.choose_backend(CUDA, torch.bfloat16, attention=name, **MODEL)
    except ValueError as error:
        pytest.skip(str(error))
    gen = torch.Generator(CUDA).manual_seed(0)
    qkv = torch.randn(sum(lengths), 3, 4, 64, generator=gen, device=CUDA).bfloat16()
    cu_seqlens = torch.tensor([0, *lengths], device=CUDA).cumsum(0).int()
    positions = torch.cat([torch.arange(length, device=CUDA) for length in lengths])
    pack = (*reference.rotary_tables(positions, 64), cu_seqlens, 300)
    exact = REFERENCE.rotary_attention(qkv.double(), *pack)
    same = REFERENCE.rotary_attention(qkv, *pack)
    allowed = 2 * (same.double() - exact).abs().max() + torch.finfo(torch.bfloat16).eps
    assert (chosen.rotary_attention(qkv, *pack).double() - exact).abs().max() <= allowed
