"""What the attention launchers share: options of a call, strides, the launch itself."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_blocks import load_tile
from .attention_configs import Tiling

LOG2_E = math.log2(math.e)
INTERPRETED = not isinstance(load_tile, triton.JITFunction)
"""Whether Triton runs these kernels on the CPU: decided by TRITON_INTERPRET when it is imported."""

_COMPUTE_DTYPES = {
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
    torch.float32: tl.float32,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionOptions:
    """What one call asks for beside its tensors."""

    softmax_scale: float
    dropout_p: float = 0.0
    dropout_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.softmax_scale < math.inf:
            raise ValueError(f"softmax_scale must be positive, got {self.softmax_scale}")
        if not 0 <= self.dropout_p < 1:
            raise ValueError(f"dropout_p must be in [0, 1), got {self.dropout_p}")
        if not 0 <= self.dropout_seed < 2**63:
            raise ValueError(f"dropout_seed must be in [0, 2**63), got {self.dropout_seed}")

    @property
    def drop_below(self) -> int:
        """The 24-bit random numbers under this one drop a weight."""
        return round(self.dropout_p * 2**24)


def compute_dtype(dtype: torch.dtype) -> tl.dtype:
    """What tiles are held in between loads and products; sums are always fp32."""
    # The interpreter's arithmetic on bf16 is on the bits of its integers, silently wrong.
    if INTERPRETED and dtype == torch.bfloat16:
        return tl.float32
    return _COMPUTE_DTYPES[dtype]


def strides_of(*tensors_THK: Tensor) -> list[int]:
    """Strides of tokens and heads, tensor after tensor; zero along an axis of one element.

    Such an axis may have any stride, and 1 would compile a kernel of its own.
    """
    return [x.stride(axis) if x.shape[axis] > 1 else 0 for x in tensors_THK for axis in (0, 1)]


def launch(
    kernel: Any,
    tiles_N3: Tensor,
    tensors: list[Tensor | None],
    strides: list[int],
    scales: list[float],
    *,
    q_THK: Tensor,
    options: AttentionOptions,
    tiling: Tiling,
    constants: dict[str, Any],
) -> None:
    """Start one program for every tile and head; the arguments stand as in every kernel's list."""
    num_tokens, num_heads, head_dim = q_THK.shape
    if not len(tiles_N3):
        return
    kernel[len(tiles_N3), num_heads](
        *tensors,
        tiles_N3,
        *strides,
        num_tokens,
        *scales,
        options.dropout_seed,
        HEAD_DIM=head_dim,
        COLUMNS=triton.next_power_of_2(head_dim),
        DROP_BELOW=options.drop_below,
        COMPUTE=compute_dtype(q_THK.dtype),
        **constants,
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )
