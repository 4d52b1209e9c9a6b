"""Bytes that are saved against PyTorch's hooks; bytes of states against a worked-out case."""

import pytest
import torch

from openrinalmo.model.encoder import EncoderConfig, build_encoder_config
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.optim import OptimConfig
from openrinalmo.pipeline.pretraining.planning.hardware import find_gpu
from openrinalmo.pipeline.pretraining.planning.memory import (
    OVERHEAD_BYTES,
    USABLE_SHARE,
    count_states,
    largest_pack,
    plan_memory,
)
from openrinalmo.pipeline.pretraining.planning.saved_activations import saved_bytes_per_pack
from support.saved_bytes import count_saved_bytes

BF16 = {"bf16": {"enabled": True}}
GIGA = build_encoder_config("giga")


def settings(stage: int, **zero) -> dict:
    return {**BF16, "zero_optimization": {"stage": stage, "reduce_bucket_size": 50_000_000, **zero}}


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("every", [0, 1, 2])
@pytest.mark.parametrize(
    ("embed_dim", "num_heads", "num_blocks", "lengths", "predicted"),
    [(24, 2, 1, [7, 9], 5), (40, 4, 3, [16, 1, 4], 3), (96, 4, 2, [33], 10)],
)
def test_saved_bytes_are_those_torch_keeps(
    embed_dim, num_heads, num_blocks, lengths, predicted, every, dropout
):
    config = EncoderConfig(
        embed_dim=embed_dim,
        num_blocks=num_blocks,
        num_heads=num_heads,
        attention_dropout=0.0,
        residual_dropout=dropout,
    )
    model = MaskedLM(config)
    model.encoder.recompute_blocks(every=every)
    ids_T = torch.randint(5, 9, (sum(lengths),), dtype=torch.uint8)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    rows_M, labels_M = torch.arange(predicted), torch.zeros(predicted, dtype=torch.long)

    def run() -> object:
        output = model(ids_T, cu_seqlens, max(lengths), predicted_rows_M=rows_M)
        return masked_lm_loss_sum(output.logits_TV, labels_M)

    measured = count_saved_bytes(run, known=[*model.parameters(), cu_seqlens, rows_M, labels_M])
    counted = saved_bytes_per_pack(
        config,
        sum(lengths),
        predicted,
        ops="reference",
        item_bytes=4,
        recompute_every_blocks=every,
    )
    assert measured == counted + 4  # the loss's own sum of weights


def plan(stage_settings: dict, *, world_size: int, pack_tokens: int = 32_768, every: int = 0, **o):
    return plan_memory(
        GIGA,
        OptimConfig(**o),
        stage_settings,
        pack_tokens=pack_tokens,
        num_predicted=int(0.15 * pack_tokens),
        world_size=world_size,
        recompute_every_blocks=every,
    )


def test_states_on_one_rank_are_sixteen_bytes_a_parameter_at_every_stage():
    sizes = count_states(GIGA, OptimConfig(), settings(3))
    published = 650_880_000
    assert published < sizes.parameters < 1.01 * published  # aligned feed-forward
    for stage in (1, 2, 3):
        assert plan(settings(stage), world_size=1).states == 16 * sizes.parameters


@pytest.mark.parametrize(
    ("stage", "whole", "shared"), [(1, 4, 12), (2, 2, 14), (3, 0, 16)], ids=["zero1", "2", "3"]
)
def test_stages_share_what_they_should(stage, whole, shared):
    numel = count_states(GIGA, OptimConfig(), settings(stage)).parameters
    memory = plan(settings(stage), world_size=64)
    assert memory.states == pytest.approx(numel * (whole + shared / 64), rel=1e-6)
    assert (memory.gathered > 0) == (stage == 3)


def test_muon_holds_one_moment_for_matrices():
    adamw, muon = (plan(settings(3), world_size=8, name=name) for name in ("adamw", "muon"))
    assert 0.5 < muon.moments / adamw.moments < 0.51


def test_offload_moves_states_to_the_host():
    zero3 = plan(settings(3), world_size=8)
    offload = plan(settings(3, offload_optimizer={"device": "cpu"}), world_size=8)
    assert (offload.master, offload.moments) == (0, 0)
    assert offload.host == zero3.master + zero3.moments + zero3.step + zero3.gradients
    assert offload.peak < zero3.peak


def test_live_parameters_bound_what_is_gathered():
    kept = plan(settings(3, stage3_max_live_parameters=2_000_000_000), world_size=8)
    released = plan(settings(3, stage3_max_live_parameters=100_000_000), world_size=8)
    assert kept.gathered == pytest.approx(8 * kept.weights, abs=16)
    assert released.gathered == 2 * 100_000_000
    fast = settings(
        3, stage3_max_live_parameters=100_000_000, stage3_param_persistence_threshold=100_000_000
    )
    assert plan(fast, world_size=8).gathered == kept.gathered


def test_giga_without_recomputing_fits_80_gb_at_32k_tokens():
    memory = plan(settings(3, stage3_max_live_parameters=2_000_000_000), world_size=8)
    assert memory.peak < USABLE_SHARE * find_gpu("h100").memory_bytes
    assert 45e9 < memory.activations < 56e9
    every = plan(settings(3), world_size=8, every=1)
    assert every.activations < 0.1 * memory.activations


def test_the_largest_pack_is_the_last_that_fits():
    available = int(USABLE_SHARE * find_gpu("h100").memory_bytes)
    largest = largest_pack(plan(settings(3), world_size=8), 32_768, available)
    assert plan(settings(3), world_size=8, pack_tokens=largest).peak <= available
    assert plan(settings(3), world_size=8, pack_tokens=largest + 1024).peak > available
    tight = plan(settings(1), world_size=1)
    assert largest_pack(tight, 32_768, tight.states + OVERHEAD_BYTES) == 0
