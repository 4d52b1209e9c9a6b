"""Names and layout of the published weights, both ways; a partial load is refused.

A published state dict is flat, fp32, and stores the feed-forward at its published width with the
two branches apart (docs/parity.md lists every key).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .encoder import EncoderConfig
from .feed_forward import aligned_width
from .masked_lm import MaskedLM

_OUTER_KEYS = {
    "embedding.weight": "encoder.embedding.weight",
    "transformer.final_layer_norm.weight": "encoder.final_norm.weight",
    "transformer.final_layer_norm.bias": "encoder.final_norm.bias",
    "lm_mask_head.linear1.weight": "head.dense.weight",
    "lm_mask_head.linear1.bias": "head.dense.bias",
    "lm_mask_head.layer_norm.weight": "head.norm.weight",
    "lm_mask_head.layer_norm.bias": "head.norm.bias",
    "lm_mask_head.linear2.weight": "head.out.weight",
    "lm_mask_head.linear2.bias": "head.out.bias",
}
_BLOCK_KEYS = {
    "mh_attn.Wqkv.weight": "attention.qkv.weight",
    "mh_attn.out_proj.weight": "attention.out.weight",
    "attn_layer_norm.weight": "attention_norm.weight",
    "attn_layer_norm.bias": "attention_norm.bias",
    "transition.0.beta": "feed_forward.beta",
    "transition.2.bias": "feed_forward.out_bias",
    "out_layer_norm.weight": "feed_forward_norm.weight",
    "out_layer_norm.bias": "feed_forward_norm.bias",
}
_BRANCHES = ("transition.0.linear", "transition.0.linear_gate")
"""The activated branch, then the plain one: reverse of the usual LLaMA naming."""
_PROJECTION = "transition.2.weight"


class PublishedTensor(NamedTuple):
    """Which part of which of our parameters is stored under a published key."""

    name: str
    part: tuple[slice, ...]


def published_layout(config: EncoderConfig) -> dict[str, PublishedTensor]:
    """Every key of a published state dict of this size, and where its values are in ours."""
    layout = {theirs: PublishedTensor(name, ()) for theirs, name in _OUTER_KEYS.items()}
    ffn_dim, stored = config.published_ffn_dim, aligned_width(config.published_ffn_dim)
    for i in range(config.num_blocks):
        theirs_prefix, prefix = f"transformer.blocks.{i}.", f"encoder.blocks.{i}."
        for theirs, name in _BLOCK_KEYS.items():
            layout[theirs_prefix + theirs] = PublishedTensor(prefix + name, ())
        joined = prefix + "feed_forward.activated_and_gate"
        for branch, first in zip(_BRANCHES, (0, stored), strict=True):
            rows = (slice(first, first + ffn_dim),)
            layout[f"{theirs_prefix}{branch}.weight"] = PublishedTensor(joined, rows)
            layout[f"{theirs_prefix}{branch}.bias"] = PublishedTensor(f"{joined}_bias", rows)
        columns = (slice(None), slice(ffn_dim))
        layout[theirs_prefix + _PROJECTION] = PublishedTensor(prefix + "feed_forward.out", columns)
    return layout


def published_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Every key of a published state dict of this size, with its shape."""
    with torch.device("meta"):
        state = export_published(MaskedLM(config))
    return {key: tuple(value.shape) for key, value in state.items()}


def load_published(state: Mapping[str, Tensor], num_heads: int) -> MaskedLM:
    """Build the model a published state dict describes, in fp32 and `eval` mode.

    Sizes come from the shapes; the number of heads is nowhere in them (20 in every released
    model). Raises `ValueError` naming the keys that are missing, unexpected or mis-shaped.
    """
    state = {key: torch.as_tensor(value) for key, value in state.items()}
    config = _config_of(state, num_heads)
    _refuse_mismatch(published_shapes(config), state)
    model = MaskedLM(config)
    model.load_state_dict(_import_published(state, config), strict=True)
    return model.eval()


def export_published(model: MaskedLM) -> dict[str, Tensor]:
    """The model's parameters under their published keys and at their published widths."""
    ours = model.state_dict()
    layout = published_layout(model.config)
    return {key: ours[name][part].contiguous() for key, (name, part) in layout.items()}


def _import_published(state: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename, join the two feed-forward branches and pad them with zeros to the stored width."""
    ours = {name: state[theirs].float() for theirs, name in _OUTER_KEYS.items()}
    padding = aligned_width(config.published_ffn_dim) - config.published_ffn_dim
    for i in range(config.num_blocks):
        theirs_prefix, prefix = f"transformer.blocks.{i}.", f"encoder.blocks.{i}."
        for theirs, name in _BLOCK_KEYS.items():
            ours[prefix + name] = state[theirs_prefix + theirs].float()
        weights = [state[f"{theirs_prefix}{branch}.weight"].float() for branch in _BRANCHES]
        biases = [state[f"{theirs_prefix}{branch}.bias"].float() for branch in _BRANCHES]
        pad = torch.nn.functional.pad
        ours[prefix + "feed_forward.activated_and_gate"] = torch.cat(
            [pad(weight, (0, 0, 0, padding)) for weight in weights]
        )
        ours[prefix + "feed_forward.activated_and_gate_bias"] = torch.cat(
            [pad(bias, (0, padding)) for bias in biases]
        )
        projection = state[theirs_prefix + _PROJECTION].float()
        ours[prefix + "feed_forward.out"] = pad(projection, (0, padding))
    return ours


def _config_of(state: Mapping[str, Tensor], num_heads: int) -> EncoderConfig:
    first_ffn_key = f"transformer.blocks.0.{_BRANCHES[0]}.weight"
    if missing := [key for key in ("embedding.weight", first_ffn_key) if key not in state]:
        raise ValueError(
            f"no published RiNALMo pretraining weights: {', '.join(missing)} missing among "
            f"{len(state)} keys such as {', '.join(list(state)[:3])}{_hint(state)}"
        )
    indices = [int(key.split(".")[2]) for key in state if key.startswith("transformer.blocks.")]
    return EncoderConfig(
        embed_dim=state["embedding.weight"].shape[1],
        num_blocks=max(indices) + 1,
        num_heads=num_heads,
        ffn_dim=state[first_ffn_key].shape[0],
    )


def _hint(state: Mapping[str, Tensor]) -> str:
    for prefix in ("lm.", "rinalmo.", "module."):
        if any(key.startswith(prefix + "embedding") for key in state):
            return f"; the keys carry the prefix '{prefix}': strip it, and drop the task's head"
    return ""


def _refuse_mismatch(expected: dict[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> None:
    complaints = []
    if missing := sorted(expected.keys() - state.keys()):
        complaints.append(f"missing {', '.join(missing)}")
    if unexpected := sorted(state.keys() - expected.keys()):
        complaints.append(f"unexpected {', '.join(unexpected)}")
    complaints += [
        f"{key} is {tuple(state[key].shape)}, must be {shape}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if complaints:
        raise ValueError(
            "these are not whole published weights, nothing was loaded: " + "; ".join(complaints)
        )
