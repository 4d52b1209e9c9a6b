"""The whole encoder on the kernels against the same encoder on the reference."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.model.weights import build_random_twin
from support.packs import pack
from support.triton_device import DEVICE, runs_kernels

CONFIG = EncoderConfig(
    embed_dim=32, num_blocks=2, num_heads=2, attention_dropout=0.0, residual_dropout=0.0
)


@pytest.fixture
def model() -> MaskedLM:
    model = build_random_twin(CONFIG, seed=1)
    gen = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "norm" in name or "beta" in name or "bias" in name:  # at their start they hide mistakes
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=gen)
    return model


def logits_and_grads(model: MaskedLM) -> dict[str, Tensor]:
    ids, cu_seqlens, max_seqlen = pack("GGGAAACUUCGGUUUCCCAN", "U", "ACGUACGUGGCC")
    device, dtype = model.head.out.weight.device, model.head.out.weight.dtype
    logits = model(ids.to(device), cu_seqlens.to(device), max_seqlen).logits_TV
    gen = torch.Generator().manual_seed(3)
    model.zero_grad()
    logits.backward(torch.randn(logits.shape, generator=gen).to(device, dtype))
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **grads}


@runs_kernels
def test_logits_and_every_gradient_match_the_reference(model, monkeypatch):
    exact = logits_and_grads(model.double())
    model = model.float().to(DEVICE)
    # The interpreter stands in for the GPU that the kernels are asked to be chosen for.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert "triton" in model.encoder.choose_backend(torch.device("cuda"), torch.float32)
    ours = logits_and_grads(model)
    assert ours.keys() == exact.keys()
    assert len(exact) == 1 + len(list(model.parameters()))
    for name, truth in exact.items():
        scale = 1 + truth.abs().max().item()
        torch.testing.assert_close(
            ours[name].cpu().double(),
            truth,
            atol=1e-5 * scale,  # as far as the fp32 reference is from float64
            rtol=0,
            msg=lambda m, name=name: f"{name}: {m}",
        )
