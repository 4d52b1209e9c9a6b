"""Recomputing and compiling change how a step runs, not what comes out."""

from dataclasses import replace

import pytest
import torch

from openrinalmo.kernels import reference
from openrinalmo.kernels.backend import REFERENCE, rotate_then_attend
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.engine_execution import ExecutionConfig, apply_execution
from support.engine_cases import MODEL, case, make_pack, run_cases, step, zero

DROPOUT = {"attention_dropout": 0.1, "residual_dropout": 0.1}
STAGES = {"1": zero(1), "3": zero(3), "3 bf16": zero(3, bf16=True)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    cases = [
        case(
            f"{name} {every}",
            settings,
            [step(0), step(1)],
            model=DROPOUT,
            execution={"recompute_every_blocks": every},
        )
        for name, settings in STAGES.items()
        for every in (0, 1, 2)
    ]
    return run_cases(tmp_path_factory.mktemp("recompute"), cases, num_ranks=2)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", STAGES)
def test_recomputed_steps_are_the_same_bit_for_bit_with_dropout(runs, name, every):
    plain, other = runs[f"{name} 0"], runs[f"{name} {every}"]
    assert other["losses"] == plain["losses"]
    assert other["norms"] == plain["norms"]
    for key, kinds in plain["final"].items():
        for kind, values in kinds.items():
            assert torch.equal(other["final"][key][kind], values), (key, kind)


def build(execution=None, *, seeded=False):
    torch.manual_seed(0)
    model = MaskedLM(EncoderConfig(**{**MODEL, **DROPOUT}))
    if seeded:
        attention = rotate_then_attend(attend_with_drawn_seed, reference.apply_rotary)
        model.encoder.use_backend(replace(REFERENCE, rotary_attention=attention))
    if execution is not None:
        apply_execution(model, execution, stage=1)
    return model


def attend_with_drawn_seed(*arguments, dropout_p=0.0, **settings):
    """As the Triton kernels' caller does: dropout from a seed, drawn from the CPU's generator."""
    seed = int(torch.randint(2**62, ()))
    return reference.attention(*arguments, dropout_p=dropout_p, dropout_seed=seed, **settings)


def gradients(model, *, train=True):
    model.train(train)
    pack = make_pack(3)
    torch.manual_seed(1)
    logits = model(
        pack.ids_T, pack.cu_seqlens, pack.max_seqlen, predicted_rows_M=pack.predicted_rows_M
    ).logits_TV
    masked_lm_loss_sum(logits, pack.labels_M).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_seeds_that_attention_draws_are_drawn_again():
    plain = gradients(build(seeded=True))
    recomputed = gradients(build(ExecutionConfig(recompute_every_blocks=1), seeded=True))
    assert all(torch.equal(recomputed[name], plain[name]) for name in plain)
    other = gradients(build())
    assert not all(torch.equal(other[name], plain[name]) for name in plain)


@pytest.mark.parametrize(("every", "kept"), [(0, 3), (1, 0), (2, 2), (3, 2), (4, 3)])
def test_recomputed_blocks_run_twice_and_the_others_once(every, kept):
    model = build(ExecutionConfig(recompute_every_blocks=every))
    calls = []
    for i in range(3):
        qkv = model.get_submodule(f"encoder.blocks.{i}.attention.qkv")
        qkv.register_forward_hook(lambda *_: calls.append(1))
    gradients(model)
    assert len(calls) == kept + 2 * (3 - kept)
    calls.clear()
    with torch.no_grad():
        pack = make_pack(3)
        model(pack.ids_T, pack.cu_seqlens, pack.max_seqlen)
    assert len(calls) == 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["elementwise", "block"])
def test_compiled_gradients_are_the_plain_ones(how):
    plain = gradients(build(), train=False)
    compiled = gradients(build(ExecutionConfig(compile=how, recompute_every_blocks=2)), train=False)
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, atol=1e-5, rtol=1e-4)


def test_what_does_not_go_together_is_refused():
    model = build()
    with pytest.raises(ValueError, match="compile=block does not go with ZeRO stage 3"):
        apply_execution(model, ExecutionConfig(compile="block"), stage=3)
    model = MaskedLM(EncoderConfig(**MODEL, kernels="triton"))
    with pytest.raises(ValueError, match="takes the place of model.kernels=triton"):
        apply_execution(model, ExecutionConfig(compile="elementwise"), stage=1)
    with pytest.raises(ValueError, match="recompute_every_blocks must not be negative, got -1"):
        ExecutionConfig(recompute_every_blocks=-1)
