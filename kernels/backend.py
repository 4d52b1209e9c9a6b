"""Which implementation of attention runs: decided once, from config; says why when it cannot."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, Protocol

import torch
from torch import Tensor

from . import reference

AttentionName = Literal["auto", "varlen", "flash", "reference"]


class Attention(Protocol):
    """The one interface every implementation of packed attention has."""

    def __call__(
        self,
        q_THK: Tensor,
        k_THK: Tensor,
        v_THK: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        softmax_scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Attend inside each sequence; shapes as in `reference.attention`."""
        ...


def choose_attention(
    name: AttentionName, *, device: torch.device, dtype: torch.dtype, dropout_p: float
) -> tuple[Attention, str]:
    """The implementation to run and the reason for it; a named one that cannot run is refused.

    `auto` takes flash-attn where it is importable, else torch's own variable-length attention,
    else the reference. Only the reference runs on a CPU or in fp32.
    """
    obstacles = {
        "flash": _flash_obstacle(device, dtype),
        "varlen": _varlen_obstacle(device, dtype, dropout_p),
        "reference": "",
    }
    implementations: dict[str, Callable[[], Attention]] = {
        "flash": _load_flash,
        "varlen": _load_varlen,
        "reference": lambda: reference.attention,
    }
    if name != "auto":
        if name not in obstacles:
            raise ValueError(f"attention must be auto or one of {', '.join(obstacles)}; got {name}")
        if obstacles[name]:
            raise ValueError(f"attention={name} cannot run here: {obstacles[name]}")
        return implementations[name](), f"{name} (asked for)"
    passed_over = []
    for candidate, obstacle in obstacles.items():
        if not obstacle:
            why = "; ".join(passed_over) or "first choice"
            return implementations[candidate](), f"{candidate} ({why})"
        passed_over.append(f"no {candidate}: {obstacle}")
    raise AssertionError("the reference runs everywhere")


def _flash_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if find_spec("flash_attn") is None:
        return "flash-attn is not installed"
    return _half_on_cuda_obstacle(device, dtype)


def _varlen_obstacle(device: torch.device, dtype: torch.dtype, dropout_p: float) -> str:
    if find_spec("torch.nn.attention.varlen") is None:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    if dropout_p:
        return f"it has no dropout and model.attention_dropout is {dropout_p}"
    return _half_on_cuda_obstacle(device, dtype)


def _half_on_cuda_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if device.type != "cuda":
        return f"it needs a CUDA device and this is {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it needs bf16 or fp16 and the model runs in {dtype}"
    return ""


def _load_varlen() -> Attention:
    from torch.nn.attention.varlen import varlen_attn

    def attention(
        q_THK: Tensor,
        k_THK: Tensor,
        v_THK: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        softmax_scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        if dropout_p:
            raise ValueError(f"attention=varlen has no dropout, got dropout_p={dropout_p}")
        return varlen_attn(  # pyright: ignore[reportReturnType]  # a tuple only with return_aux
            q_THK,
            k_THK,
            v_THK,
            cu_seqlens,
            cu_seqlens,
            max_seqlen,
            max_seqlen,
            scale=softmax_scale,
        )

    return attention


def _load_flash() -> Attention:
    from flash_attn import flash_attn_varlen_func  # pyright: ignore[reportMissingImports]

    def attention(
        q_THK: Tensor,
        k_THK: Tensor,
        v_THK: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        softmax_scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        return flash_attn_varlen_func(
            q_THK,
            k_THK,
            v_THK,
            cu_seqlens,
            cu_seqlens,
            max_seqlen,
            max_seqlen,
            dropout_p=dropout_p,
            softmax_scale=softmax_scale,
        )

    return attention
