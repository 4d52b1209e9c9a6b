"""The rungs of the ladder: each builds a model from the same weights and trains it step by step.

Each rung has one thing more than the one before. All hold weights and activations in one dtype; in
bf16 every rung keeps fp32 masters that AdamW updates and gradients are clipped on, as ZeRO does:
the padded rungs are spared autocast, with its casts of every weight in every pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import torch
from padded import PaddedMaskedLM, build_padded, padded_loss_sum
from step_data import StepData
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from openrinalmo.kernels.backend import AttentionName, KernelsName, choose_backend
from openrinalmo.kernels.obstacles import attention_obstacles
from openrinalmo.model.encoder import EncoderBlock, EncoderConfig
from openrinalmo.model.feed_forward import aligned_width
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.optim import OptimConfig, build_optimizer

Step = Callable[[StepData], float]
"""One optimizer step; returns the loss before it, the mean over the predicted tokens."""

ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedRung:
    """Which of our choices a packed rung makes."""

    is_checkpointed: bool = False
    is_aligned: bool = True
    attention: AttentionName | None = None
    """None takes what others wrote: torch's varlen, flash-attn, or SDPA sequence by sequence."""
    kernels: KernelsName = "reference"


PADDED = ("padded_checkpointed", "padded")
PACKED = {
    "packed_checkpointed": PackedRung(is_checkpointed=True, is_aligned=False),
    "packed": PackedRung(is_aligned=False),
    "aligned": PackedRung(),
    "own_attention": PackedRung(attention="triton"),
    "fused_ops": PackedRung(attention="triton", kernels="triton"),
}
ENGINES = ("zero1", "zero2", "zero3", "zero3_fast")
"""Settings in ds_configs; the engine takes the best kernels by itself."""
LADDER = (*PADDED, *PACKED, *ENGINES)
CPU_RUNGS = (*PADDED, "packed_checkpointed", "packed", "aligned")
WEIGHTS_SEED = 0


def rungs_that_differ(config: EncoderConfig, device: torch.device) -> list[str]:
    """The ladder on this device; on a CPU without those that need kernels of ours or ranks."""
    is_aligned = aligned_width(config.published_ffn_dim) == config.published_ffn_dim
    names = [name for name in LADDER if not (is_aligned and name == "aligned")]
    if device.type == "cpu":
        names = [name for name in names if name in CPU_RUNGS]
    return names


@contextmanager
def open_rung(
    name: str, model: MaskedLM, device: torch.device, dtype: torch.dtype
) -> Iterator[Step]:
    """A rung's step on `device`, from a copy of `model`'s weights; its memory is freed after.

    The engines' rungs draw theirs from `WEIGHTS_SEED` and take the dtype of their settings: give a
    model drawn so.
    """
    if name in ENGINES:
        from step_engine import open_engine_step  # imports deepspeed

        with open_engine_step(name, model.config, device, seed=WEIGHTS_SEED) as step:
            yield step
    else:
        yield build_rung(name, model, device, dtype)


def build_rung(name: str, model: MaskedLM, device: torch.device, dtype: torch.dtype) -> Step:
    """A step of a rung without an engine, from a copy of `model`'s weights."""
    if name in PADDED:
        rival = build_padded(model, is_checkpointed=name == "padded_checkpointed")
        return _build_step(rival.to(device, dtype), _padded_loss_sums)
    if name in PACKED:
        rung, ours = PACKED[name], deepcopy(model)
        if not rung.is_aligned:
            drop_alignment(ours)
        ours.to(device, dtype)
        _choose_ops(ours, rung, device, dtype)
        if rung.is_checkpointed:
            ours.encoder.recompute_blocks(every=1)
        return _build_step(ours, _packed_loss_sums)
    raise ValueError(f"--rungs must be out of {', '.join(LADDER)}; got {name}")


def _padded_loss_sums(model: PaddedMaskedLM, data: StepData) -> Iterator[Tensor]:
    """One forward pass a batch: the caller goes back through each before the next."""
    return (padded_loss_sum(model, batch) for batch in data.padded)


def _packed_loss_sums(model: MaskedLM, data: StepData) -> Iterator[Tensor]:
    output = model(
        data.ids_T, data.cu_seqlens, data.max_seqlen, predicted_rows_M=data.predicted_rows_M
    )
    yield masked_lm_loss_sum(output.logits_TV, data.labels_M)


def _build_step(model: ModelT, loss_sums: Callable[[ModelT, StepData], Iterator[Tensor]]) -> Step:
    """Forward, backward, clipping and AdamW as every rung but the engines' does them."""
    config = OptimConfig()
    weights = list(model.parameters())
    device, has_masters = weights[0].device, weights[0].dtype != torch.float32
    masters = [nn.Parameter(w.detach().float()) for w in weights] if has_masters else weights
    optimizer = build_optimizer(masters, config, device)

    def step(data: StepData) -> float:
        loss = torch.zeros((), device=device)
        for loss_sum in loss_sums(model, data):
            share = loss_sum / len(data.labels_M)
            share.backward()
            loss += share.detach()
        if has_masters:
            for master, weight in zip(masters, weights, strict=True):
                assert weight.grad is not None
                master.grad, weight.grad = weight.grad.float(), None
        clip_grad_norm_(masters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        if has_masters:
            with torch.no_grad():
                for master, weight in zip(masters, weights, strict=True):
                    weight.copy_(master)
        return loss.item()

    return step


def drop_alignment(model: MaskedLM) -> None:
    """Store the feed-forward at its published, odd width."""
    for block in model.encoder.blocks:
        assert isinstance(block, EncoderBlock)
        ffn = block.feed_forward
        width = ffn.ffn_dim
        for name in ("activated_and_gate", "activated_and_gate_bias"):
            branches = getattr(ffn, name).detach().chunk(2)
            joined = torch.cat([branch[:width] for branch in branches])
            setattr(ffn, name, nn.Parameter(joined))
        ffn.out = nn.Parameter(ffn.out.detach()[:, :width].contiguous())


def _choose_ops(
    model: MaskedLM, rung: PackedRung, device: torch.device, dtype: torch.dtype
) -> None:
    attention = rung.attention or next(_others_attention(model, device, dtype))
    model.encoder.use_backend(
        choose_backend(
            device,
            dtype,
            attention=attention,
            kernels=rung.kernels,
            head_dim=model.config.head_dim,
            dropout_p=0.0,
        )
    )


def _others_attention(
    model: MaskedLM, device: torch.device, dtype: torch.dtype
) -> Iterator[AttentionName]:
    obstacles = attention_obstacles(device, dtype, head_dim=model.config.head_dim, dropout_p=0.0)
    names: tuple[AttentionName, ...] = ("varlen", "flash", "reference")
    return (name for name in names if not obstacles[name])
