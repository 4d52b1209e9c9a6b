"""Counted operations against PyTorch's own counter on the real model, and published figures."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from openrinalmo.model.encoder import EncoderConfig, build_encoder_config
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.pipeline.pretraining.planning.flops import count_recomputed, flops_per_pack

SIZES = {
    "tiny": build_encoder_config("tiny", dropout=0.0),
    "odd": EncoderConfig(
        embed_dim=30, num_blocks=3, num_heads=3, attention_dropout=0.0, residual_dropout=0.0
    ),
    "aligned": EncoderConfig(
        embed_dim=24, num_blocks=1, num_heads=2, ffn_dim=64, attention_dropout=0.0,
        residual_dropout=0.0,
    ),
}  # fmt: skip
PACKS = {"one": [7], "odd": [1, 33, 2, 17], "many": [5] * 11}


def count_with_torch(config: EncoderConfig, lengths: list[int], rows: list[int]) -> tuple[int, int]:
    """Operations of the forward, and of forward and backward, seen by PyTorch's dispatcher."""
    model = MaskedLM(config)
    ids_T = torch.randint(5, 9, (sum(lengths),))
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    # The counter knows no formula for the CPU's fused attention: let it be two products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(ids_T, cu_seqlens, max(lengths), predicted_rows_M=torch.tensor(rows))
        forward = counter.get_total_flops()
        output.logits_TV.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("lengths", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_executed_operations_are_those_torch_counts(config, lengths):
    rows = list(range(0, sum(lengths), 3))
    squares = sum(length**2 for length in lengths)
    executed = flops_per_pack(config, sum(lengths), squares, len(rows), aligned=True)
    forward, both = count_with_torch(config, lengths, rows)
    assert both == executed
    assert 3 * forward == executed


def test_the_published_width_differs_from_the_stored_by_its_padding():
    config = SIZES["odd"]  # 80 neurons, stored as 128
    published, stored = (flops_per_pack(config, 53, 1000, 9, aligned=a) for a in (False, True))
    assert stored - published == 3 * 3 * 53 * 2 * 30 * 3 * (128 - 80)
    exact = SIZES["aligned"]  # 64 neurons, stored as they are
    assert flops_per_pack(exact, 5, 25, 1) == flops_per_pack(exact, 5, 25, 1, aligned=True)


@pytest.mark.parametrize(("every", "expected"), [(0, 0), (1, 3), (2, 1), (3, 1), (9, 0)])
def test_recomputing_adds_a_forward_of_every_kth_block(every, expected):
    config = SIZES["odd"]
    assert count_recomputed(config, every) == expected
    plain = flops_per_pack(config, 53, 1000, 0)
    more = flops_per_pack(config, 53, 1000, 0, recompute_every_blocks=every)
    assert (more - plain) * 9 == plain * expected  # a block's forward is a ninth of three blocks


@pytest.mark.parametrize(
    ("context", "gigaflops"), [(1024, 4.412), (763, 4.279), (659, 4.227), (300, 4.045)]
)
def test_giga_costs_what_was_worked_out_by_hand(context, gigaflops):
    """Operations of a token at a context of so many, by an independent estimate without a head."""
    config = build_encoder_config("giga")
    assert flops_per_pack(config, 1, context, 0) / 1e9 == pytest.approx(gigaflops, abs=1e-3)
    with_head = flops_per_pack(config, 1, context, 1) - flops_per_pack(config, 1, context, 0)
    assert with_head / 1e9 == pytest.approx(0.010, abs=1e-3)
