"""Muon on slices: against whole matrices in plain PyTorch, and the singular values it promises."""

import math

import pytest
import torch

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.pipeline.pretraining.muon import orthogonalise
from openrinalmo.pipeline.pretraining.optim import OptimConfig
from support.engine_cases import backward_plain, case, run_cases, step, zero

MUON = {"name": "muon", "peak_lr": 1e-2, "muon_lr": 4e-2, "muon_momentum": 0.9}
STEPS = [step(i, lr=lr) for i, lr in enumerate((0.01, 0.006, 0.002))]
FFN_DIM, STORED = 80, 128


def iterate(matrix):
    """One matrix by the definition: singular vectors kept, each value through the polynomial."""
    u, values, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (u * values) @ vh


def split(name, whole):
    stacked = {"qkv.weight": 3, "activated_and_gate": 2}
    return whole.chunk(next((n for end, n in stacked.items() if name.endswith(end)), 1))


@pytest.fixture(scope="module")
def plain():
    """Three steps on whole weights: Muon for matrices in blocks, PyTorch's AdamW for the rest."""
    torch.manual_seed(5)
    model = MaskedLM(EncoderConfig(**case("", {}, [])["model"]))
    config = OptimConfig(**case("", {}, [], optim=MUON)["optim"])
    named = dict(model.named_parameters())
    matrices = {n: p for n, p in named.items() if p.ndim == 2 and ".blocks." in n}
    rest = [p for n, p in named.items() if n not in matrices]
    adamw = torch.optim.AdamW(rest, weight_decay=config.weight_decay)
    momenta = {n: torch.zeros_like(p) for n, p in matrices.items()}
    losses = []
    for item in STEPS:
        losses.append(backward_plain(model, item["packs"], config.max_grad_norm)[0])
        adamw.param_groups[0]["lr"] = item["lr"]
        adamw.step()
        lr = item["lr"] * config.muon_lr / config.peak_lr
        for name, p in matrices.items():
            assert p.grad is not None
            momenta[name] = 0.9 * momenta[name] + 0.1 * p.grad
            ahead = 0.9 * momenta[name] + 0.1 * p.grad
            parts = [0.2 * math.sqrt(max(m.shape)) * iterate(m) for m in split(name, ahead)]
            p.data -= lr * config.weight_decay * p.data
            p.data -= lr * torch.cat(parts).float()
    return {"losses": losses, "weights": named, "momenta": momenta}


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def runs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("muon")
    cases = []
    for stage in (1, 2, 3):
        back = {"restore": str(folder / f"{stage} two.pt"), "state": "final", "updates": 2}
        skipping = [STEPS[0], step(7, nan=0), STEPS[1], step(8, skip=True), STEPS[2]]
        cases += [
            case(f"{stage} two", zero(stage), STEPS[:2], optim=MUON),
            case(f"{stage}", zero(stage), STEPS, optim=MUON),
            case(f"{stage} skipping", zero(stage), skipping, optim=MUON),
            case(f"{stage} back", zero(stage), [step(9), back, STEPS[2]], optim=MUON),
        ]
    offload = zero(3, offload_optimizer={"device": "cpu"})
    cases.append(case("offload", offload, STEPS, optim=MUON))
    return run_cases(folder, cases, num_ranks=request.param)


@pytest.mark.parametrize("name", ["1", "2", "3", "offload"])
def test_losses_weights_and_momenta_are_those_of_whole_matrices(runs, plain, name):
    run = runs[name]
    assert run["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    for key, weight in plain["weights"].items():
        torch.testing.assert_close(run["final"][key]["weight"], weight, atol=1e-4, rtol=1e-3)
        kinds = {"weight", "momentum_buffer"} if key in plain["momenta"] else None
        assert run["final"][key].keys() == (kinds or {"weight", "exp_avg", "exp_avg_sq"})
    for key, momentum in plain["momenta"].items():
        stored = run["final"][key]["momentum_buffer"]
        torch.testing.assert_close(stored, momentum, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_skipped_steps_and_roll_backs_leave_no_trace(runs, stage):
    straight = runs[f"{stage}"]["final"]
    for other in ("skipping", "back"):
        final = runs[f"{stage} {other}"]["final"]
        for name, kinds in straight.items():
            for kind, values in kinds.items():
                assert torch.equal(final[name][kind], values), (other, name, kind)


def test_neurons_of_the_padding_stay_zero(runs):
    final = runs["3"]["final"]
    gate = final["encoder.blocks.1.feed_forward.activated_and_gate"]["weight"]
    assert not gate.view(2, STORED, -1)[:, FFN_DIM:].any()
    assert not final["encoder.blocks.1.feed_forward.out"]["weight"][:, FFN_DIM:].any()


@pytest.mark.parametrize("shape", [(1, 7, 7), (3, 30, 30), (2, 128, 30), (1, 30, 128)])
def test_singular_values_go_through_the_polynomial(shape):
    stack = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for ours, matrix in zip(orthogonalise(stack), stack, strict=True):
        torch.testing.assert_close(ours.double(), iterate(matrix), atol=2e-4, rtol=1e-3)
        assert torch.linalg.svdvals(ours).max() < 1.25


def test_a_matrix_of_zeros_has_no_update():
    assert not orthogonalise(torch.zeros(2, 5, 3)).any()
