"""Which implementation of every op runs: decided once, from config; says why when it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from . import reference
from .interfaces import Attention, LayerNorm, ResidualLayerNorm, Rotary, RotaryAttention, SwiGLU
from .obstacles import attention_obstacles, kernel_obstacles
from .varlen import load_flash, load_varlen

AttentionName = Literal["auto", "triton", "varlen", "flash", "reference"]
KernelsName = Literal["auto", "triton", "reference"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """One implementation of every op, for the modules that call them."""

    rotary_attention: RotaryAttention
    layer_norm: LayerNorm
    residual_layer_norm: ResidualLayerNorm
    swiglu: SwiGLU
    reasons: Mapping[str, str]
    """By op: the name of the implementation, and why it is that one."""

    def describe(self) -> str:
        """One line for a log."""
        return "; ".join(f"{op}: {reason}" for op, reason in self.reasons.items())


def rotate_then_attend(attention: Attention, rotary: Rotary) -> RotaryAttention:
    """Join two ops: queries and keys turn in one call, without a copy of the projection.

    What comes of it pickles, as functions do: models are sent to other processes with it.
    """
    return partial(_rotate_then_attend, attention, rotary)


def _rotate_then_attend(
    attention: Attention,
    rotary: Rotary,
    qkv_T3HK: Tensor,
    cos_TK2: Tensor,
    sin_TK2: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    dropout_p: float = 0.0,
) -> Tensor:
    # split, not slices: its backward is one concatenation, with no tensor filled with zeros.
    qk_T2HK, v_T1HK = qkv_T3HK.split((2, 1), dim=1)
    turned = rotary(qk_T2HK.flatten(1, 2), cos_TK2, sin_TK2)
    q_THK, k_THK = turned.chunk(2, dim=1)
    v_THK = v_T1HK.squeeze(1)
    return attention(q_THK, k_THK, v_THK, cu_seqlens, max_seqlen, dropout_p=dropout_p)


REFERENCE = Backend(
    rotary_attention=rotate_then_attend(reference.attention, reference.apply_rotary),
    layer_norm=reference.layer_norm,
    residual_layer_norm=reference.residual_layer_norm,
    swiglu=reference.swiglu,
    reasons=dict.fromkeys(("attention", "rotary, norms and gate"), "reference"),
)
"""Plain PyTorch throughout: what a model has until it is told where it runs."""


def choose_backend(
    device: torch.device,
    dtype: torch.dtype,
    *,
    attention: AttentionName = "auto",
    kernels: KernelsName = "auto",
    head_dim: int,
    dropout_p: float,
) -> Backend:
    """The implementation of every op; a named one that cannot run here is refused.

    `attention` is chosen by itself, `kernels` for rotary, norms and gate. `auto` takes the first
    that runs: triton, varlen, flash, reference. On a CPU that is always the reference.
    """
    kernels_name, kernels_why = _choose("kernels", kernels, kernel_obstacles(device, dtype))
    attention_name, attention_why = _choose(
        "attention",
        attention,
        attention_obstacles(device, dtype, head_dim=head_dim, dropout_p=dropout_p),
    )
    backend, rotary = REFERENCE, reference.apply_rotary
    if kernels_name == "triton":
        backend, rotary = _load_triton_kernels()
    return replace(
        backend,
        rotary_attention=_load_attention(attention_name, rotary),
        reasons={"attention": attention_why, "rotary, norms and gate": kernels_why},
    )


def _choose(setting: str, asked: str, obstacles: Mapping[str, str]) -> tuple[str, str]:
    """A name out of `obstacles` and the reason for it."""
    if asked == "auto":
        passed_over = []
        for name, obstacle in obstacles.items():
            if not obstacle:
                return name, f"{name} ({'; '.join(passed_over) or 'first choice'})"
            passed_over.append(f"no {name}: {obstacle}")
        raise AssertionError("the reference runs everywhere")
    if asked not in obstacles:
        raise ValueError(
            f"model.{setting} must be auto or one of {', '.join(obstacles)}; got {asked}"
        )
    if obstacles[asked]:
        raise ValueError(f"model.{setting}={asked} cannot run here: {obstacles[asked]}")
    return asked, f"{asked} (asked for)"


def _load_attention(name: str, rotary: Rotary) -> RotaryAttention:
    if name == "triton":
        return _load_triton_attention()
    load = {"varlen": load_varlen, "flash": load_flash, "reference": lambda: reference.attention}
    return rotate_then_attend(load[name](), rotary)


def _load_triton_attention() -> RotaryAttention:
    """Our kernels, which rotate by themselves: their backward turns gradients on the way out."""
    from .attention import rotary_attention as seeded

    def rotary_attention(
        qkv_T3HK: Tensor,
        cos_TK2: Tensor,
        sin_TK2: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        dropout_p: float = 0.0,
    ) -> Tensor:
        # Drawn on the CPU: a number from the device would have to be waited for.
        seed = int(torch.randint(2**62, ())) if dropout_p else 0
        return seeded(
            qkv_T3HK,
            cos_TK2,
            sin_TK2,
            cu_seqlens,
            max_seqlen,
            dropout_p=dropout_p,
            dropout_seed=seed,
        )

    return rotary_attention


def _load_triton_kernels() -> tuple[Backend, Rotary]:
    from .norm import layer_norm, residual_layer_norm
    from .rope import apply_rotary
    from .swiglu import swiglu

    kernels = replace(
        REFERENCE, layer_norm=layer_norm, residual_layer_norm=residual_layer_norm, swiglu=swiglu
    )
    return kernels, apply_rotary
