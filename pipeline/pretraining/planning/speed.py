"""How long a pack and a step take: from a measured row where there is one, else from assumptions.

The assumed speed is a roofline: matrix products, attention and memory traffic, one after the
other, each at the share of the data sheet's figure that such work reaches.
"""

import csv
from pathlib import Path
from typing import Any, NamedTuple

from ....model.encoder import EncoderConfig
from ....model.feed_forward import aligned_width
from ..engine_settings import uses_bf16, zero_stage
from .flops import count_recomputed, flops_per_pack
from .hardware import Gpu, identify_gpu

_BANDWIDTH_SHARE = 0.84
"""Of a data sheet's memory bandwidth, assumed: a copy on an H100 reaches 2.8 to 3.0 of 3.35."""
_HOST_BYTES_PER_SECOND = 20e9
"""Assumed for a rank's part of its machine: what AdamW on the CPU reads and writes."""
_ADAM_BYTES = 30
"""Read and written by an update, a parameter: gradient, master, two moments, low-precision copy."""


class Pack(NamedTuple):
    """What a pack costs depends on these alone."""

    num_tokens: int
    sum_squared_lengths: int
    num_predicted: int


class Utilisation(NamedTuple):
    """MFU and where it is from."""

    mfu: float
    source: str
    is_measured: bool


class Traffic(NamedTuple):
    """Bytes a rank sends in a step."""

    hidden: int
    """While forward and backward run."""
    exposed: int
    """After the update: the new weights of stages 1 and 2."""


def roofline_seconds(
    config: EncoderConfig, pack: Pack, gpu: Gpu, *, recompute_every_blocks: int = 0
) -> float:
    """Assumed time of a pack's forward and backward in bf16 on the kernels."""
    without_attention = pack._replace(sum_squared_lengths=0)
    products = flops_per_pack(
        config, *without_attention, aligned=True, recompute_every_blocks=recompute_every_blocks
    )
    attention = 4 * config.embed_dim * pack.sum_squared_lengths
    forwards = config.num_blocks + count_recomputed(config, recompute_every_blocks)
    forward_share, backward_share = gpu.attention_shares
    # Attention's backward counts as 2.5 of its forward where shares are quoted: it recomputes.
    attention_peaks = forwards * attention / forward_share
    attention_peaks += config.num_blocks * 2.5 * attention / backward_share
    elementwise = pack.num_tokens * config.num_blocks * _elementwise_bytes(config)
    return (products / gpu.matmul_share + attention_peaks) / gpu.peak_flops + elementwise / (
        _BANDWIDTH_SHARE * gpu.bytes_per_second
    )


def assume_utilisation(
    config: EncoderConfig, pack: Pack, gpu: Gpu, *, recompute_every_blocks: int = 0
) -> Utilisation:
    """MFU of the roofline."""
    seconds = roofline_seconds(config, pack, gpu, recompute_every_blocks=recompute_every_blocks)
    mfu = flops_per_pack(config, *pack) / seconds / gpu.peak_flops
    forward, backward = gpu.attention_shares
    return Utilisation(
        mfu,
        f"assumed: roofline with {gpu.matmul_share:.0%} of peak in matrix products, {forward:.0%} "
        f"and {backward:.0%} in attention, {_BANDWIDTH_SHARE:.0%} of bandwidth",
        is_measured=False,
    )


def find_measured(results: Path, gpu: Gpu, preset: str) -> Utilisation | None:
    """Best MFU among rows of bench `step` for this GPU and preset; None if there are none."""
    if not results.is_file():
        return None
    with results.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["bench"], row["metric"]) == ("step", "mfu")
            and identify_gpu(row["device"]) == gpu
            and row["case"].split("-")[0] == preset
        ]
    if not rows:
        return None
    best = max(rows, key=lambda row: float(row["value"]))
    return Utilisation(
        float(best["value"]),
        f"measured: {best['device']}, {best['case']}, {best['provider']}, {best['date']}, "
        f"commit {best['commit']}",
        is_measured=True,
    )


def count_traffic(
    settings: dict[str, Any], *, parameters: int, persistent: int, micro_steps: int, world_size: int
) -> Traffic:
    """Bytes a rank sends in a step under DeepSpeed's settings, in rings.

    Stage 1 sums gradients once a step and stage 2 in every micro-step, both by all-reduce: that is
    what DeepSpeed's buckets for several ranks do. Stage 3 gathers weights and scatters gradients
    in every micro-step; twice if it may not keep them from forward to backward.
    """
    zero = settings.get("zero_optimization", {})
    once = (2 if uses_bf16(settings) else 4) * (world_size - 1) / world_size
    stage = zero_stage(settings)
    if stage < 3:
        scattered = zero.get("use_multi_rank_bucket_allreduce", True) is False
        sums = once * parameters * (1 if scattered else 2)
        return Traffic(int(sums * (micro_steps if stage == 2 else 1)), int(once * parameters))
    keeps = zero.get("stage3_max_live_parameters", 1e9) >= parameters
    gathers = once * (parameters - persistent) * (1 if keeps else 2)
    return Traffic(int(micro_steps * (gathers + once * parameters)), int(once * persistent))


def step_seconds(
    pack_seconds: float,
    traffic: Traffic,
    *,
    micro_steps: int,
    bytes_per_second: float,
    update: float,
) -> float:
    """Time of a step: what is sent meanwhile is hidden as far as computing lasts."""
    hidden, exposed = (sent / bytes_per_second for sent in traffic)
    return max(micro_steps * pack_seconds, hidden) + exposed + update


def update_seconds(parameters: int, gpu: Gpu, *, world_size: int) -> float:
    """Time of the optimizer's update of a rank's share."""
    bandwidth = _BANDWIDTH_SHARE * gpu.bytes_per_second
    return _ADAM_BYTES * parameters / world_size / bandwidth


def offloaded_update_seconds(parameters: int, world_size: int) -> float:
    """Time of the update of a rank's share in the machine's memory."""
    return _ADAM_BYTES * parameters / world_size / _HOST_BYTES_PER_SECOND


def _elementwise_bytes(config: EncoderConfig) -> int:
    """Memory traffic of a block for each token, forward and backward, outside matrix products."""
    width, ffn_dim = config.embed_dim, aligned_width(config.published_ffn_dim)
    dropout = 4 * 2.5 if config.residual_dropout else 0
    forward = (2 + 4 + 4 + 3) * width + 3 * ffn_dim  # norms, rotary, last sum; gate
    backward = (3 + 4 + 3) * width + 5 * ffn_dim  # norms, sums of gradients; gate
    return int(2 * (forward + backward + dropout * width))
