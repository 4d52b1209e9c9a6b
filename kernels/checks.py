"""What rotary, norm and gate refuse: one check an op, shared by its kernel and its reference.

Shape suffixes: T packed tokens, H heads, K head dim, D width, E two feed-forward widths.
"""

import torch
from torch import Tensor

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def check_rotary(x_THK: Tensor, cos_TK2: Tensor, sin_TK2: Tensor) -> None:
    """Refuse tables that are not of these tokens, not fp32 or wider, or elsewhere."""
    if x_THK.ndim != 3:
        raise ValueError(
            f"x must be packed, (tokens, heads, head_dim); got shape {tuple(x_THK.shape)}"
        )
    num_tokens, _, head_dim = x_THK.shape
    if head_dim % 2:
        raise ValueError(f"rotary embedding needs an even head_dim, got {head_dim}")
    if cos_TK2.shape != (num_tokens, head_dim // 2) or sin_TK2.shape != cos_TK2.shape:
        raise ValueError(
            f"cos and sin must be {(num_tokens, head_dim // 2)} for x {tuple(x_THK.shape)}, "
            f"got {tuple(cos_TK2.shape)} and {tuple(sin_TK2.shape)}"
        )
    if cos_TK2.dtype not in DTYPES[2:] or sin_TK2.dtype != cos_TK2.dtype:
        raise ValueError(
            f"cos and sin must be float32, got {cos_TK2.dtype} and {sin_TK2.dtype}: bf16 cannot "
            "tell positions past 256 apart"
        )
    _check_floating("x", x_THK)
    _check_same_device(x=x_THK, cos=cos_TK2, sin=sin_TK2)


def check_norm(
    x_TD: Tensor, weight_D: Tensor, bias_D: Tensor, residual_TD: Tensor | None = None
) -> None:
    """Refuse weights of another width, dtype or device than the rows they scale."""
    if x_TD.ndim != 2:
        raise ValueError(f"x must be packed, (tokens, width); got shape {tuple(x_TD.shape)}")
    tensors = {"x": x_TD, "weight": weight_D, "bias": bias_D}
    for name, shape in (("weight", weight_D.shape), ("bias", bias_D.shape)):
        if shape != x_TD.shape[1:]:
            raise ValueError(
                f"{name} must be {tuple(x_TD.shape[1:])} for x {tuple(x_TD.shape)}, "
                f"got {tuple(shape)}"
            )
    if residual_TD is not None:
        tensors["residual"] = residual_TD
        if residual_TD.shape != x_TD.shape:
            raise ValueError(
                f"residual must have x's shape {tuple(x_TD.shape)}, got {tuple(residual_TD.shape)}"
            )
    _check_floating("x", x_TD)
    _check_same_dtype(**tensors)
    _check_same_device(**tensors)


def check_swiglu(hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None) -> None:
    """Refuse an odd width, a beta that is not one number, a bias that does not fit."""
    if hidden_TE.ndim != 2 or hidden_TE.shape[1] % 2:
        raise ValueError(
            "hidden must be (tokens, [activated | plain]), so of an even width; got shape "
            f"{tuple(hidden_TE.shape)}"
        )
    if beta.numel() != 1:
        raise ValueError(f"beta must be one number, got shape {tuple(beta.shape)}")
    tensors = {"hidden": hidden_TE, "beta": beta}
    if bias_E is not None:
        tensors["bias"] = bias_E
        if bias_E.shape != hidden_TE.shape[1:]:
            raise ValueError(
                f"bias must be {tuple(hidden_TE.shape[1:])} for hidden {tuple(hidden_TE.shape)}, "
                f"got {tuple(bias_E.shape)}"
            )
    _check_floating("hidden", hidden_TE)
    _check_same_dtype(**tensors)
    _check_same_device(**tensors)


def check_kernel_dtype(op: str, x: Tensor) -> None:
    """Refuse what the kernels cannot compute in, though the reference can."""
    if x.dtype not in DTYPES[:3]:
        raise ValueError(
            f"the {op} kernel takes bfloat16, float16 or float32, got {x.dtype}; "
            "set model.kernels=reference"
        )


def _check_floating(name: str, x: Tensor) -> None:
    if x.dtype not in DTYPES:
        raise ValueError(f"{name} must be of a floating dtype, got {x.dtype}")


def _check_same_dtype(**tensors: Tensor) -> None:
    if len({x.dtype for x in tensors.values()}) > 1:
        found = ", ".join(f"{name} {x.dtype}" for name, x in tensors.items())
        raise ValueError(f"{' and '.join(tensors)} must share one dtype, got {found}")


def _check_same_device(**tensors: Tensor) -> None:
    if len({x.device for x in tensors.values()}) > 1:
        found = ", ".join(f"{name} on {x.device}" for name, x in tensors.items())
        raise ValueError(f"{' and '.join(tensors)} must share one device, got {found}")
