"""Memory of one rank for given DeepSpeed settings: what is held, and where."""

import math
from typing import Any, NamedTuple

from ....model.encoder import EncoderConfig
from ..engine_init import find_shapes
from ..engine_settings import uses_bf16, zero_stage
from ..muon import is_matrix
from ..optim import OptimConfig
from .saved_activations import saved_bytes_per_pack, working_bytes_per_token

_FP32 = 4
OVERHEAD_BYTES = 2 * 2**30
"""Assumed: the driver's context, workspaces of libraries, buffers of NCCL."""
USABLE_SHARE = 0.95
"""Of a GPU's memory, assumed: the rest is lost between blocks of the allocator."""
_MAX_LIVE_DEFAULT = int(1e9)
_BUCKET_DEFAULT = int(5e8)
_PERSISTENCE_DEFAULT = int(1e5)


class StateSizes(NamedTuple):
    """Parameters by what they need: all, those ZeRO-3 leaves whole, those with one moment."""

    parameters: int
    persistent: int
    one_moment: int


class Memory(NamedTuple):
    """Bytes of one rank at its fullest, by what they are for."""

    weights: int
    """Low-precision weights: all, or at stage 3 this rank's share."""
    gathered: int
    """Weights of other ranks held at once, at stage 3."""
    gradients: int
    master: int
    """fp32 weights."""
    moments: int
    buckets: int
    """Gradients on their way to their rank, and stage 3's ahead-of-time gathers."""
    activations: int
    working: int
    step: int
    """fp32 gradients of the update, when no activations are held."""
    host: int
    """Offloaded: in the machine's memory, not the GPU's."""

    @property
    def states(self) -> int:
        """Bytes that do not depend on the pack."""
        return self.weights + self.gradients + self.master + self.moments

    @property
    def peak(self) -> int:
        """Bytes of the device at the fullest moment: in backward, or in the update."""
        in_backward = self.activations + self.working + self.buckets
        return self.states + self.gathered + max(in_backward, self.step) + OVERHEAD_BYTES


def count_states(config: EncoderConfig, optim: OptimConfig, settings: dict[str, Any]) -> StateSizes:
    """Sizes of the stored model: aligned feed-forward included."""
    zero = settings.get("zero_optimization", {})
    threshold = zero.get("stage3_param_persistence_threshold", _PERSISTENCE_DEFAULT)
    shapes = find_shapes(config)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    muon = optim.name == "muon"
    return StateSizes(
        parameters=sum(sizes.values()),
        persistent=sum(size for size in sizes.values() if size <= threshold),
        one_moment=sum(size for n, size in sizes.items() if muon and is_matrix(n, shapes[n])),
    )


def plan_memory(
    config: EncoderConfig,
    optim: OptimConfig,
    settings: dict[str, Any],
    *,
    pack_tokens: int,
    num_predicted: int,
    world_size: int,
    recompute_every_blocks: int = 0,
) -> Memory:
    """Bytes of one rank for packs of this many tokens under DeepSpeed's `settings`."""
    zero, stage = settings.get("zero_optimization", {}), zero_stage(settings)
    item = 2 if uses_bf16(settings) else _FP32
    sizes = count_states(config, optim, settings)
    share = -(-sizes.parameters // world_size)
    grad_type = settings.get("data_types", {}).get("grad_accum_dtype")
    grad_item = {None: item, "bf16": 2, "fp32": _FP32, "float32": _FP32}[grad_type]

    weights = item * (share if stage == 3 else sizes.parameters)
    gradients = item * sizes.parameters if stage == 1 else grad_item * share
    master = _FP32 * share
    moments = _FP32 * -(-(2 * sizes.parameters - sizes.one_moment) // world_size)
    step = _FP32 * share
    bucket = item * min(zero.get("reduce_bucket_size", _BUCKET_DEFAULT), sizes.parameters)
    buckets = bucket * (2 if zero.get("overlap_comm", stage == 3) else 1)
    gathered = 0
    if stage == 3:
        live = min(zero.get("stage3_max_live_parameters", _MAX_LIVE_DEFAULT), sizes.parameters)
        gathered = item * max(live, sizes.persistent) if world_size > 1 else 0
    host = 0
    if _offloads(zero, "offload_optimizer"):
        host = master + moments + step
        if stage > 1:
            host, gradients = host + gradients, 0
        master = moments = step = 0
    if stage == 3 and _offloads(zero, "offload_param"):
        host, weights = host + weights, 0

    ops = "kernels" if uses_bf16(settings) else "reference"
    activations = saved_bytes_per_pack(
        config,
        pack_tokens,
        num_predicted,
        ops=ops,
        item_bytes=item,
        recompute_every_blocks=recompute_every_blocks,
    )
    working = pack_tokens * working_bytes_per_token(
        config, ops=ops, item_bytes=item, recompute_every_blocks=recompute_every_blocks
    )
    return Memory(
        weights=weights,
        gathered=gathered,
        gradients=gradients,
        master=master,
        moments=moments,
        buckets=buckets,
        activations=activations,
        working=working,
        step=step,
        host=host,
    )


def largest_pack(memory: Memory, pack_tokens: int, available_bytes: int) -> int:
    """Tokens of the largest pack that fits, a multiple of 1,024; 0 if not even states do."""
    per_token = (memory.activations + memory.working) / pack_tokens
    fixed = memory.states + memory.gathered + OVERHEAD_BYTES
    free = available_bytes - fixed - memory.buckets
    if free <= 0 or fixed + memory.step > available_bytes:
        return 0
    return int(free / per_token) // 1024 * 1024


def _offloads(zero: dict[str, Any], what: str) -> bool:
    return zero.get(what, {}).get("device", "none") == "cpu"
