"""The padded rival computes the same function as the packed model: losses and every gradient."""

from functools import partial

import pytest
import step_rungs
import torch
from padded import build_padded, padded_loss_sum
from step_data import StepData, build_step_data
from step_rungs import CPU_RUNGS, build_rung, drop_alignment

from openrinalmo.model import alphabet
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import IGNORE_INDEX, MaskedLM, masked_lm_loss_sum
from openrinalmo.model.upstream import export_published
from openrinalmo.pipeline.pretraining.optim import OptimConfig

CONFIG = EncoderConfig(
    embed_dim=40,
    num_blocks=2,
    num_heads=5,
    ffn_dim=107,
    attention_dropout=0.0,
    residual_dropout=0.0,
)
LENGTHS = [33, 1, 64, 7, 2, 129, 40]
CPU = torch.device("cpu")


@pytest.fixture
def model() -> MaskedLM:
    torch.manual_seed(1)
    model = MaskedLM(CONFIG)
    for name, parameter in model.named_parameters():
        if "norm" in name or "beta" in name:  # at their start they hide mistakes
            parameter.data += 0.3 * torch.randn(parameter.shape)
    # so small that the first norm, by its epsilon, does not undo token dropout's scale
    model.encoder.embedding.weight.data *= 3e-3
    return model


@pytest.fixture
def data() -> StepData:
    return build_step_data(LENGTHS, CPU, seed=2)


def packed_loss_sum(model: MaskedLM, data: StepData) -> torch.Tensor:
    output = model(
        data.ids_T, data.cu_seqlens, data.max_seqlen, predicted_rows_M=data.predicted_rows_M
    )
    return masked_lm_loss_sum(output.logits_TV, data.labels_M)


def published_gradients(model: MaskedLM) -> dict[str, torch.Tensor]:
    """Gradients under the published keys: the export only renames and slices."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad
    return export_published(model)


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_loss_and_gradients_are_those_of_the_packed_model(
    model: MaskedLM, data: StepData, is_checkpointed: bool
) -> None:
    rival = build_padded(model, is_checkpointed=is_checkpointed).double()
    model = model.double()
    theirs = sum(padded_loss_sum(rival, batch) for batch in data.padded)
    assert isinstance(theirs, torch.Tensor)
    theirs.backward()
    ours = packed_loss_sum(model, data)
    ours.backward()

    # cross-entropy is taken in fp32 by both
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0.0)
    gradients = published_gradients(model)
    named = dict(rival.named_parameters())
    assert named.keys() == gradients.keys()
    for key, parameter in named.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, f"{key} has no gradient to compare"
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-4, atol=1e-5)


def test_padding_does_not_reach_real_positions(model: MaskedLM, data: StepData) -> None:
    rival = build_padded(model, is_checkpointed=False)
    (batch,) = data.padded
    with torch.no_grad():
        together = rival(batch.ids_BL)
        for row, length in enumerate(LENGTHS):
            alone = rival(batch.ids_BL[row : row + 1, :length])
            torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_both_layouts_hold_the_same_sequences_and_labels() -> None:
    lengths = [3, 5] * 20  # more rows than a padded batch takes
    data = build_step_data(lengths, CPU, seed=0)
    assert len(data.padded) == 3
    ids, labels = [], []
    for batch in data.padded:
        is_real_BL = batch.ids_BL != alphabet.PAD
        assert (batch.labels_BL[~is_real_BL] == IGNORE_INDEX).all()
        ids.append(batch.ids_BL[is_real_BL])
        labels.append(batch.labels_BL[is_real_BL])
    torch.testing.assert_close(torch.cat(ids), data.ids_T)
    flat = torch.cat(labels)
    torch.testing.assert_close((flat != IGNORE_INDEX).nonzero()[:, 0], data.predicted_rows_M)
    torch.testing.assert_close(flat[flat != IGNORE_INDEX], data.labels_M)
    assert data.num_tokens == 160
    assert data.num_cells == 40 * 5
    assert data.sum_squared_lengths == 20 * (9 + 25)


def test_every_rung_takes_the_same_steps(model: MaskedLM, data: StepData) -> None:
    losses = {}
    for name in CPU_RUNGS:
        step = build_rung(name, model, CPU, torch.float32)
        losses[name] = [step(data) for _ in range(3)]
    first = losses["padded_checkpointed"]
    assert first[0] > first[1] > first[2]  # an optimizer that does nothing would agree as well
    for name, values in losses.items():
        assert values == pytest.approx(first, rel=1e-5), name


def test_bf16_rungs_keep_updates_below_bf16s_spacing(
    model: MaskedLM, data: StepData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_rungs, "OptimConfig", partial(OptimConfig, start_lr=1e-4))
    fallen = {}
    for dtype in (torch.float32, torch.bfloat16):
        step = build_rung("padded", model, CPU, dtype)
        losses = [step(data) for _ in range(20)]
        fallen[dtype] = losses[0] - losses[-1]
    assert fallen[torch.bfloat16] == pytest.approx(fallen[torch.float32], rel=0.15)


def test_an_unaligned_feed_forward_is_stored_at_its_published_width(
    model: MaskedLM, data: StepData
) -> None:
    aligned = packed_loss_sum(model, data)
    drop_alignment(model)
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    prefix = "encoder.blocks.1.feed_forward."
    assert shapes[prefix + "activated_and_gate"] == (2 * 107, 40)
    assert shapes[prefix + "activated_and_gate_bias"] == (2 * 107,)
    assert shapes[prefix + "out"] == (40, 107)
    torch.testing.assert_close(packed_loss_sum(model, data), aligned)


def test_refuses_a_rung_that_is_none(model: MaskedLM) -> None:
    with pytest.raises(ValueError, match="padded_checkpointed, padded, .*got paded"):
        build_rung("paded", model, CPU, torch.float32)
