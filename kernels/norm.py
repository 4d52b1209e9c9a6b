"""LayerNorm, and residual add followed by LayerNorm: Triton kernels, launchers, differentiable ops.

Shape suffixes: T packed tokens, D width, P programs of the backward.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .checks import check_kernel_dtype, check_norm
from .launching import walking_programs, with_unit_columns

PROGRAMS_PER_SM = 2
"""Of the backward: each leaves one row of weight gradients, so more would cost memory traffic."""


def forward_options(width: int) -> dict[str, Any]:
    """About 2048 values a program, of which a thread reads 16."""
    columns = _columns_of(width)
    rows = max(1, 2048 // columns)
    num_warps = 4 if columns <= 2048 else 8
    return {"WIDTH": width, "ROWS": rows, "COLUMNS": columns, "num_warps": num_warps}


def backward_options(width: int) -> dict[str, Any]:
    """As many values an iteration, on twice the warps: sums for the weights stay in registers.

    Three stages keep the bus full; wide rows of fp32 would not leave them shared memory.
    """
    columns = _columns_of(width)
    rows = max(1, 2048 // columns)
    num_warps, stages = (8, 3) if columns <= 2048 else (16, 2)
    return {
        "WIDTH": width,
        "ROWS": rows,
        "COLUMNS": columns,
        "STAGES": stages,
        "num_warps": num_warps,
    }


def _columns_of(width: int) -> int:
    return max(16, int(triton.next_power_of_2(width)))


@triton.jit
def _norm_kernel(
    x_ptr,
    residual_ptr,
    sum_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    mean_ptr,
    rstd_ptr,
    num_tokens,
    x_stride,
    residual_stride,
    eps,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
):
    """One program normalises ROWS tokens; HAS_RESIDUAL adds one first and stores the sum."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    in_row = column < WIDTH
    mask = (row < num_tokens) & in_row

    x = tl.load(x_ptr + row * x_stride + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        residual_ptrs = residual_ptr + row * residual_stride + column
        x += tl.load(residual_ptrs, mask=mask, other=0.0).to(tl.float32)
        # What is stored is what is normalised, here and in the backward.
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + row * WIDTH + column, rounded, mask=mask)
        x = rounded.to(tl.float32)

    mean = tl.sum(x, 1, keep_dims=True) / WIDTH
    centred = tl.where(in_row, x - mean, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred, 1, keep_dims=True) / WIDTH + eps)
    weight = tl.load(weight_ptr + column, mask=in_row, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + column, mask=in_row, other=0.0).to(tl.float32)
    out = centred * rstd * weight + bias
    tl.store(out_ptr + row * WIDTH + column, out.to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(mean_ptr + row, mean, mask=row < num_tokens)
    tl.store(rstd_ptr + row, rstd, mask=row < num_tokens)


@triton.jit
def _norm_backward_kernel(
    grad_ptr,
    sum_grad_ptr,
    x_ptr,
    weight_ptr,
    mean_ptr,
    rstd_ptr,
    dx_ptr,
    weight_parts_ptr,
    bias_parts_ptr,
    num_tokens,
    grad_stride,
    sum_grad_stride,
    x_stride,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HAS_SUM_GRAD: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program takes every P-th group of rows and leaves one row of each weight gradient."""
    column = tl.arange(0, COLUMNS)[None, :]
    in_row = column < WIDTH
    weight = tl.load(weight_ptr + column, mask=in_row, other=0.0).to(tl.float32)
    d_weight = tl.zeros((ROWS, COLUMNS), tl.float32)
    d_bias = tl.zeros((ROWS, COLUMNS), tl.float32)
    first = tl.program_id(0) * ROWS
    for start in tl.range(first, num_tokens, tl.num_programs(0) * ROWS, num_stages=STAGES):
        row = start + tl.arange(0, ROWS)[:, None]
        row64 = row.to(tl.int64)
        mask = (row < num_tokens) & in_row
        x = tl.load(x_ptr + row64 * x_stride + column, mask=mask, other=0.0).to(tl.float32)
        grad_ptrs = grad_ptr + row64 * grad_stride + column
        grad = tl.load(grad_ptrs, mask=mask, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + row, mask=row < num_tokens, other=0.0)
        rstd = tl.load(rstd_ptr + row, mask=row < num_tokens, other=0.0)

        normed = (x - mean) * rstd  # off the mask, every use of it is times a zero gradient
        d_weight += grad * normed
        d_bias += grad
        scaled = grad * weight
        along = tl.sum(scaled * normed, 1, keep_dims=True) / WIDTH
        level = tl.sum(scaled, 1, keep_dims=True) / WIDTH
        dx = (scaled - normed * along - level) * rstd
        if HAS_SUM_GRAD:
            sum_grad_ptrs = sum_grad_ptr + row64 * sum_grad_stride + column
            dx += tl.load(sum_grad_ptrs, mask=mask, other=0.0).to(tl.float32)
        dx_ptrs = dx_ptr + row64 * WIDTH + column
        tl.store(dx_ptrs, dx.to(dx_ptr.dtype.element_ty), mask=mask)

    part = tl.program_id(0) * WIDTH + column
    tl.store(weight_parts_ptr + part, tl.sum(d_weight, 0, keep_dims=True), mask=in_row)
    tl.store(bias_parts_ptr + part, tl.sum(d_bias, 0, keep_dims=True), mask=in_row)


def _launch_norm(
    x_TD: Tensor, residual_TD: Tensor | None, weight_D: Tensor, bias_D: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum (x itself without a residual), the norm, and each row's mean and 1 / deviation."""
    num_tokens, width = x_TD.shape
    x_TD = with_unit_columns(x_TD)
    residual_TD = None if residual_TD is None else with_unit_columns(residual_TD)
    out_TD = torch.empty((num_tokens, width), dtype=x_TD.dtype, device=x_TD.device)
    sum_TD = x_TD if residual_TD is None else torch.empty_like(out_TD)
    mean_T, rstd_T = torch.empty((2, num_tokens), dtype=torch.float32, device=x_TD.device)
    if out_TD.numel() == 0:
        return sum_TD, out_TD, mean_T, rstd_T
    options = forward_options(width)
    with torch.cuda.device_of(x_TD):
        _norm_kernel[(triton.cdiv(num_tokens, options["ROWS"]),)](
            x_TD,
            residual_TD,
            sum_TD,
            weight_D.contiguous(),
            bias_D.contiguous(),
            out_TD,
            mean_T,
            rstd_T,
            num_tokens,
            x_TD.stride(0),
            0 if residual_TD is None else residual_TD.stride(0),
            eps,
            HAS_RESIDUAL=residual_TD is not None,
            **options,
        )
    return sum_TD, out_TD, mean_T, rstd_T


def _launch_norm_backward(
    grad_TD: Tensor,
    sum_grad_TD: Tensor | None,
    x_TD: Tensor,
    weight_D: Tensor,
    mean_T: Tensor,
    rstd_T: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; `sum_grad_TD`, if any, is added to the first."""
    num_tokens, width = x_TD.shape
    grad_TD = with_unit_columns(grad_TD)
    sum_grad_TD = None if sum_grad_TD is None else with_unit_columns(sum_grad_TD)
    dx_TD = torch.empty((num_tokens, width), dtype=x_TD.dtype, device=x_TD.device)
    options = backward_options(width)
    num_programs = walking_programs(
        x_TD.device, per_sm=PROGRAMS_PER_SM, num_groups=math.ceil(num_tokens / options["ROWS"])
    )
    parts_2PD = torch.empty((2, num_programs, width), dtype=torch.float32, device=x_TD.device)
    with torch.cuda.device_of(x_TD):
        _norm_backward_kernel[(num_programs,)](
            grad_TD,
            sum_grad_TD,
            x_TD,
            weight_D.contiguous(),
            mean_T,
            rstd_T,
            dx_TD,
            parts_2PD[0],
            parts_2PD[1],
            num_tokens,
            grad_TD.stride(0),
            0 if sum_grad_TD is None else sum_grad_TD.stride(0),
            x_TD.stride(0),
            HAS_SUM_GRAD=sum_grad_TD is not None,
            **options,
        )
    d_weight_D, d_bias_D = parts_2PD.sum(1).to(weight_D.dtype)
    return dx_TD, d_weight_D, d_bias_D


class _LayerNorm(torch.autograd.Function):
    """Saves its input and two numbers a row; the normalised rows are computed again."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        x_TD, out_TD, mean_T, rstd_T = _launch_norm(x_TD, None, weight_D, bias_D, eps)
        ctx.save_for_backward(x_TD, weight_D, mean_T, rstd_T)
        return out_TD

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        return *_launch_norm_backward(grad_TD, None, *ctx.saved_tensors), None


class _ResidualLayerNorm(torch.autograd.Function):
    """Saves the sum, which the caller holds anyway; its gradient joins inside the kernel."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        residual_TD: Tensor,
        weight_D: Tensor,
        bias_D: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        sum_TD, out_TD, mean_T, rstd_T = _launch_norm(x_TD, residual_TD, weight_D, bias_D, eps)
        ctx.save_for_backward(sum_TD, weight_D, mean_T, rstd_T)
        ctx.set_materialize_grads(False)
        return sum_TD, out_TD

    @staticmethod
    def backward(
        ctx: Any, sum_grad_TD: Tensor | None, grad_TD: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, None]:
        if grad_TD is None:
            return sum_grad_TD, sum_grad_TD, None, None, None
        dx_TD, d_weight_D, d_bias_D = _launch_norm_backward(
            grad_TD, sum_grad_TD, *ctx.saved_tensors
        )
        return dx_TD, dx_TD, d_weight_D, d_bias_D, None


def layer_norm(x_TD: Tensor, weight_D: Tensor, bias_D: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Normalise each row to mean 0 and variance 1, then scale and shift it; computed in fp32."""
    check_norm(x_TD, weight_D, bias_D)
    check_kernel_dtype("norm", x_TD)
    return _LayerNorm.apply(x_TD, weight_D, bias_D, eps)


def residual_layer_norm(
    x_TD: Tensor, residual_TD: Tensor, weight_D: Tensor, bias_D: Tensor, *, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """The sum of both, and its LayerNorm: what the next branch adds to, and what it reads."""
    check_norm(x_TD, weight_D, bias_D, residual_TD)
    check_kernel_dtype("norm", x_TD)
    return _ResidualLayerNorm.apply(x_TD, residual_TD, weight_D, bias_D, eps)
