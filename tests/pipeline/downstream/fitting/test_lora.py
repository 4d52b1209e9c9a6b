"""Adapters add nothing at first, exactly what they say later, and merge into plain weights."""

import copy

import pytest
import torch

from openrinalmo.model.alphabet import encode
from openrinalmo.model.encoder import Encoder, EncoderBlock, EncoderConfig, build_encoder_config
from openrinalmo.model.feed_forward import FeedForward
from openrinalmo.model.weights import build_random_twin, load_masked_lm, save_masked_lm
from openrinalmo.pipeline.downstream.fitting.lora import (
    LoraConfig,
    LowRank,
    find_adapters,
    inject_lora,
    merge_lora,
)
from support.regimes import build_encoder

ADAPTED = LoraConfig(rank=3, alpha=5.0, every=2, feed_forward=True)


def run(encoder):
    ids = encode("GGAUACCNNACGU")
    with torch.no_grad():
        return encoder.eval()(ids, torch.tensor([0, len(ids)], dtype=torch.int32), len(ids))


def train_a_little(encoder, seed=0):
    """Move every adapter, by Adam on random targets: what real fits do to them."""
    generator = torch.Generator().manual_seed(seed)
    ids = encode("GGAUACCNNACGU")
    optimizer = torch.optim.Adam(find_adapters(encoder).values(), lr=0.05)
    for _ in range(5):
        out = encoder(ids, torch.tensor([0, len(ids)], dtype=torch.int32), len(ids))
        (out * torch.randn(out.shape, generator=generator)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("feed_forward", [False, True])
def test_adapters_change_nothing_at_first(feed_forward):
    encoder = build_encoder()
    before = run(encoder)
    config = LoraConfig(rank=3, every=1, dropout=0.5, feed_forward=feed_forward)
    inject_lora(encoder, config, seed=0)
    assert torch.equal(run(encoder), before)
    up_OR = encoder.get_parameter("blocks.0.attention.qkv.lora.up_OR")
    up_OR.data.normal_(generator=torch.Generator().manual_seed(1))
    assert (run(encoder) - before).abs().max() > 1e-3


def test_an_adapter_is_a_low_rank_update_of_the_weight():
    encoder = build_encoder(2)
    plain = copy.deepcopy(encoder)
    inject_lora(encoder, LoraConfig(rank=2, alpha=6.0, every=2), seed=0)
    train_a_little(encoder)
    for name in ("blocks.1.attention.qkv", "blocks.1.attention.out"):
        up_OR, down_RI = (
            encoder.get_parameter(f"{name}.lora.{one}") for one in ("up_OR", "down_RI")
        )
        plain.get_parameter(f"{name}.weight").data += 3.0 * up_OR @ down_RI
    torch.testing.assert_close(run(encoder), run(plain), rtol=0, atol=1e-5)


# 21 neurons are stored as 64: those past 21 must stay silent.
@pytest.mark.parametrize("ffn_dim", [21, 64])
def test_merged_equals_unmerged_and_is_a_plain_encoder(ffn_dim):
    encoder = build_encoder(ffn_dim=ffn_dim)
    plain = copy.deepcopy(encoder)
    inject_lora(encoder, ADAPTED, seed=0)
    train_a_little(encoder)
    unmerged = run(encoder)
    assert (unmerged - run(plain)).abs().max() > 1e-2
    merge_lora(encoder)
    torch.testing.assert_close(run(encoder), unmerged, rtol=0, atol=1e-5)
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    assert [type(one) for one in encoder.modules()] == [type(one) for one in plain.modules()]
    for block in encoder.blocks:
        assert isinstance(block, EncoderBlock)
        assert isinstance(block.feed_forward, FeedForward)
        stored = block.feed_forward.out.shape[1]
        assert not block.feed_forward.out[:, ffn_dim:].any()
        for first in (0, stored):
            rows = slice(first + ffn_dim, first + stored)
            assert not block.feed_forward.activated_and_gate[rows].any()


def test_dropout_is_of_what_the_adapter_reads_and_in_training_alone():
    adapter = LowRank(1000, 1, LoraConfig(rank=1, alpha=1.0, dropout=0.25))
    adapter.down_RI.data.fill_(1.0)
    adapter.up_OR.data.fill_(1.0)
    x_TI = torch.ones(1, 1000)
    assert adapter.eval()(x_TI).item() == 1000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = adapter.train()(x_TI).item() * 0.75  # dropout scales what it keeps
    assert kept == pytest.approx(750, abs=60)
    assert kept == pytest.approx(round(kept), abs=1e-2)


def test_a_merged_encoder_is_exported_as_any_other(tmp_path):
    config = EncoderConfig(embed_dim=8, num_blocks=2, num_heads=2)
    model = build_random_twin(config, 0)
    inject_lora(model.encoder, ADAPTED, seed=0)
    train_a_little(model.encoder)
    merge_lora(model.encoder)
    save_masked_lm(model, tmp_path / "model.safetensors", {})
    loaded = load_masked_lm(tmp_path / "model.safetensors").model
    assert torch.equal(run(loaded.encoder), run(model.encoder))


def test_what_a_plain_encoder_and_a_copy_share_survives_a_deep_copy():
    encoder = build_encoder()
    inject_lora(encoder, ADAPTED, seed=0)
    other = copy.deepcopy(encoder)
    train_a_little(other)
    unmerged = run(other)
    merge_lora(other)
    torch.testing.assert_close(run(other), unmerged, rtol=0, atol=1e-5)
    assert not any(
        adapter.any() for name, adapter in find_adapters(encoder).items() if "up" in name
    )


def test_published_choice_is_a_five_hundredth_of_giga():
    with torch.device("meta"):
        encoder = Encoder(build_encoder_config("giga"))
    total = sum(parameter.numel() for parameter in encoder.parameters())
    names = inject_lora(encoder, LoraConfig(), seed=0)
    adapters = sum(parameter.numel() for parameter in find_adapters(encoder).values())
    # A is (16, 1280), B is (3840, 16) and (1280, 16), in 11 of 33 blocks.
    assert adapters == 11 * 16 * (2 * 1280 + 3840 + 1280)
    assert adapters / total == pytest.approx(0.002, abs=1e-4)
    blocks = sorted({int(name.split(".")[1]) for name in names})
    assert blocks == list(range(2, 33, 3))
    trained = {name for name, one in encoder.named_parameters() if one.requires_grad}
    assert trained == set(names)


def test_a_seed_decides_the_adapters_and_global_random_state_is_untouched():
    before = torch.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        encoder = build_encoder()
        inject_lora(encoder, ADAPTED, seed=seed)
        drawn.append(torch.cat([one.flatten() for one in find_adapters(encoder).values()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_adapted_is_refused():
    encoder = build_encoder(2)
    with pytest.raises(ValueError, match=r"lora.every 3 leaves an encoder of 2 blocks without"):
        inject_lora(encoder, LoraConfig(), seed=0)
    inject_lora(encoder, LoraConfig(every=1), seed=0)
    with pytest.raises(ValueError, match="has adapters already"):
        inject_lora(encoder, LoraConfig(every=1), seed=0)


@pytest.mark.parametrize(
    "change", [{"rank": 0}, {"every": 0}, {"alpha": 0.0}, {"dropout": 1.0}], ids=str
)
def test_settings_are_checked(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"lora\.{name} must be .*{value}"):
        LoraConfig(**change)
