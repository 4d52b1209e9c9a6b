import numpy as np
import pytest
import torch

from openrinalmo.model import alphabet
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.upstream import export_published, load_published, published_shapes
from openrinalmo.model.weights import build_random_twin
from support.packs import pack
from support.shared import SHARED, requires_shared

CONFIG = EncoderConfig(embed_dim=40, num_blocks=2, num_heads=5)


@pytest.fixture
def state():
    return export_published(build_random_twin(CONFIG, seed=0))


def test_export_then_load_gives_the_same_model_back(state):
    loaded = load_published(state, num_heads=5)
    again = export_published(loaded)
    assert again.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(again[key], value), key
    inputs = pack("ACGUUGCA", "GG")
    assert torch.equal(
        loaded(*inputs).logits_TV, build_random_twin(CONFIG, seed=0)(*inputs).logits_TV
    )
    assert not loaded.training


def test_export_has_the_published_width_though_storage_is_wider(state):
    assert state["transformer.blocks.1.transition.0.linear.weight"].shape == (106, 40)
    assert state["transformer.blocks.1.transition.2.weight"].shape == (40, 106)


def test_a_partial_state_dict_is_refused_by_key(state):
    del state["transformer.blocks.1.transition.0.beta"]
    with pytest.raises(ValueError, match=r"missing transformer\.blocks\.1\.transition\.0\.beta"):
        load_published(state, num_heads=5)


def test_an_unexpected_key_is_refused_by_name(state):
    state["threshold"] = torch.tensor(0.5)
    with pytest.raises(ValueError, match="unexpected threshold"):
        load_published(state, num_heads=5)


def test_a_misshaped_tensor_is_refused_with_both_shapes(state):
    state["lm_mask_head.linear2.weight"] = torch.zeros(28, 40)
    with pytest.raises(ValueError, match=r"linear2\.weight is \(28, 40\), must be \(22, 40\)"):
        load_published(state, num_heads=5)


def test_a_fine_tuned_checkpoint_is_refused_with_the_cure(state):
    prefixed = {f"lm.{key}": value for key, value in state.items()}
    with pytest.raises(ValueError, match="prefix 'lm.': strip it"):
        load_published(prefixed, num_heads=5)


def test_a_wrong_number_of_heads_is_refused(state):
    with pytest.raises(ValueError, match="multiple of twice model.num_heads 7"):
        load_published(state, num_heads=7)


def test_shapes_of_a_size_need_no_weights():
    shapes = published_shapes(CONFIG)
    assert shapes["transformer.blocks.0.mh_attn.Wqkv.weight"] == (120, 40)


@requires_shared("parity/upstream_tiny.npz")
@pytest.mark.parametrize("kind", ["plain", "masked"])
@pytest.mark.parametrize("together", [True, False])
def test_golden_arrays_of_the_published_implementation(kind, together):
    golden = np.load(SHARED / "parity" / "upstream_tiny.npz")
    state = {
        key.removeprefix("state."): torch.from_numpy(golden[key])
        for key in golden.files
        if key.startswith("state.")
    }
    model = load_published(state, int(golden["num_heads"]))
    rows = [torch.from_numpy(row[row != alphabet.PAD]) for row in golden[f"{kind}_tokens"]]
    if kind == "plain":
        for sequence, row in zip(golden["sequences"], rows, strict=True):
            assert alphabet.encode(str(sequence)).tolist() == row.tolist()
    packs = [rows] if together else [[row] for row in rows]
    outputs = [model(*pack(*members)) for members in packs]
    for name, actual in (
        ("representation", torch.cat([output.representation_TD for output in outputs])),
        ("logits", torch.cat([output.logits_TV for output in outputs])),
    ):
        padded = torch.from_numpy(golden[f"{kind}_{name}"])
        expected = torch.cat([padded[i, : len(row)] for i, row in enumerate(rows)])
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
