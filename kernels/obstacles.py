"""Why an implementation cannot run here, in words; empty where it can."""

from importlib.util import find_spec

import torch

TRITON_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
TRITON_CAPABILITY = (8, 0)
"""Oldest GPUs the kernels are compiled and their tiles chosen for: bf16 tensor cores, cp.async."""


def kernel_obstacles(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """For rotary, norms and gate, in the order of preference."""
    return {"triton": _triton_obstacle(device, dtype), "reference": ""}


def attention_obstacles(
    device: torch.device, dtype: torch.dtype, *, head_dim: int, dropout_p: float
) -> dict[str, str]:
    """For attention, in the order of preference."""
    return {
        "triton": _triton_obstacle(device, dtype) or _head_dim_obstacle(head_dim),
        "varlen": _varlen_obstacle(device, dtype, dropout_p),
        "flash": _flash_obstacle(device, dtype),
        "reference": "",
    }


def _triton_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if find_spec("triton") is None:
        return "triton is not installed"
    if dtype not in TRITON_DTYPES:
        return f"it needs bf16, fp16 or fp32 and the model runs in {dtype}"
    if obstacle := _cuda_obstacle(device):
        return obstacle
    capability = torch.cuda.get_device_capability(device)
    if capability < TRITON_CAPABILITY:
        needed = ".".join(map(str, TRITON_CAPABILITY))
        found = ".".join(map(str, capability))
        return f"it needs compute capability {needed} and this device has {found}"
    return ""


def _head_dim_obstacle(head_dim: int) -> str:
    from .attention_configs import HEAD_DIMS

    if head_dim in HEAD_DIMS:
        return ""
    return f"it has head dims {', '.join(map(str, HEAD_DIMS))} and the model's is {head_dim}"


def _varlen_obstacle(device: torch.device, dtype: torch.dtype, dropout_p: float) -> str:
    if find_spec("torch.nn.attention.varlen") is None:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    if dropout_p:
        return f"it has no dropout and model.attention_dropout is {dropout_p}"
    return _half_on_cuda_obstacle(device, dtype)


def _flash_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if find_spec("flash_attn") is None:
        return "flash-attn is not installed"
    return _half_on_cuda_obstacle(device, dtype)


def _half_on_cuda_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if dtype not in TRITON_DTYPES[:2]:
        return f"it needs bf16 or fp16 and the model runs in {dtype}"
    return _cuda_obstacle(device)


def _cuda_obstacle(device: torch.device) -> str:
    if device.type != "cuda":
        return f"it needs a CUDA device and this is {device.type}"
    if not torch.cuda.is_available():
        return "it needs a CUDA device and torch finds none"
    return ""
