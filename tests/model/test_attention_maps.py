"""Recorded attention against what the blocks' own outputs imply; recording changes nothing."""

from itertools import pairwise

import pytest
import torch

from openrinalmo.model.attention import SelfAttention
from openrinalmo.model.attention_maps import record_attention
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.model.weights import build_random_twin
from support.packs import pack

CONFIG = EncoderConfig(embed_dim=40, num_blocks=3, num_heads=5)
SEQUENCES = ("ACGUACGUGGCC", "U", "GGGAAACUUCGGUUUCCCAN")


@pytest.fixture
def model() -> MaskedLM:
    return build_random_twin(CONFIG, seed=1)


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Turn (tokens, heads, width) of one sequence by its positions, as complex numbers."""
    half = x.shape[-1] // 2
    angle = torch.arange(len(x))[:, None] / 10_000 ** (torch.arange(half) / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(angle), angle
    ).unsqueeze(1)
    return torch.cat([turned.real, turned.imag], -1)


def test_maps_equal_attention_from_hooked_inputs_and_explain_the_outputs(model):
    modules = [module for module in model.modules() if isinstance(module, SelfAttention)]
    inputs: list[torch.Tensor] = []
    mixed: list[torch.Tensor] = []
    for module in modules:
        module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        module.out.register_forward_pre_hook(lambda _, args: mixed.append(args[0]))
    ids, cu_seqlens, max_seqlen = pack(*SEQUENCES)
    with torch.no_grad(), record_attention(model) as record:
        model(ids, cu_seqlens, max_seqlen)

    heads, width = CONFIG.num_heads, CONFIG.head_dim
    for number, (start, end) in enumerate(pairwise(cu_seqlens)):
        expected = []
        for module, x, out in zip(modules, inputs, mixed, strict=True):
            qkv = (x[start:end] @ module.qkv.weight.T).detach().view(-1, 3, heads, width)
            q, k = rotate(qkv[:, 0]), rotate(qkv[:, 1])
            maps = (torch.einsum("ihk,jhk->hij", q, k) / width**0.5).softmax(-1)
            # They are what the block mixed its values with.
            again = torch.einsum("hij,jhk->ihk", maps, qkv[:, 2]).flatten(1)
            torch.testing.assert_close(again, out[start:end])
            expected.append(maps[:, 1:-1, 1:-1])
        maps = record.read_maps(ids[start:end], sequence=number)
        assert maps.shape == (15, len(SEQUENCES[number]), len(SEQUENCES[number]))
        torch.testing.assert_close(maps, torch.cat(expected))


def test_recording_changes_no_output_and_leaves_nothing_behind(model):
    packed = pack(*SEQUENCES)
    with torch.no_grad():
        before = model(*packed)
        with record_attention(model):
            during = model(*packed)
        after = model(*packed)
    for output in (during, after):
        assert torch.equal(output.logits_TV, before.logits_TV)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_sequence_has_the_same_maps_packed_and_alone(model):
    with torch.no_grad(), record_attention(model) as packed:
        model(*pack(*SEQUENCES))
    for number, sequence in enumerate(SEQUENCES):
        ids = pack(sequence)[0]
        with torch.no_grad(), record_attention(model) as alone:
            model(*pack(sequence))
        maps = alone.read_maps(ids)
        torch.testing.assert_close(packed.read_maps(ids, sequence=number), maps)


def test_maps_are_those_of_the_newest_forward_pass(model):
    with torch.no_grad(), record_attention(model) as record:
        model(*pack("ACGU"))
        model(*pack("ACGUACG"))
    assert record.read_maps(pack("ACGUACG")[0]).shape == (15, 7, 7)


def test_a_window_without_cls_and_eos_keeps_all_its_letters(model):
    ids = pack("GGGAAACCC")[0][1:-1]
    with torch.no_grad(), record_attention(model) as record:
        model(*pack(ids))
    assert record.read_maps(ids).shape == (15, 9, 9)


def test_maps_are_fp32_where_the_model_is_bf16(model):
    model.bfloat16()
    with torch.no_grad(), record_attention(model) as record:
        model(*pack("GGGAAACCC"))
    maps = record.read_maps(pack("GGGAAACCC")[0])
    assert maps.dtype == torch.float32
    assert bool((maps.sum(-1) < 1).all())


def test_compiled_blocks_are_recorded_and_not_compiled_again(model):
    packed = pack("GGGAAACCC")
    with torch.no_grad(), record_attention(model) as record:
        model(*packed)
    eager = record.read_maps(packed[0])
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _):
        graphs.append(graph)
        return graph.forward

    for block in model.encoder.blocks:
        block.compile(backend=backend)
    with torch.no_grad():
        model(*packed)
        num_graphs = len(graphs)
        with record_attention(model) as record:
            model(*packed)
        model(*packed)
    assert torch.equal(record.read_maps(packed[0]), eager)
    assert len(graphs) == num_graphs > 0


def test_reading_before_a_forward_pass_or_for_other_ids_is_refused(model):
    with torch.no_grad(), record_attention(model) as record:
        with pytest.raises(ValueError, match="recorded in 0 of 3 blocks"):
            record.read_maps(pack("ACGU")[0])
        model(*pack("ACGU"))
        with pytest.raises(ValueError, match="has 6 tokens, got the ids of 7"):
            record.read_maps(pack("ACGUA")[0])
