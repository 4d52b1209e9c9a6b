"""Gated feed-forward with bias and learnable beta: Triton kernels, launchers, differentiable op.

Shape suffixes: T packed tokens, F feed-forward width, E = 2F [activated | plain], P programs.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .checks import check_kernel_dtype, check_swiglu
from .launching import walking_programs, with_unit_columns

BLOCK_F = 128
"""Neurons of a tile; the model stores its feed-forward at multiples of 64."""
PROGRAMS_PER_SM = 4
"""Of the backward: each walks over tokens and leaves one row of the bias gradient."""


def forward_options(width: int) -> dict[str, Any]:
    """2048 neurons a program, so four 128-bit loads of bf16 in flight in each thread."""
    return {"WIDTH": width, "ROWS": 16, "COLUMNS": BLOCK_F, "num_warps": 4}


def backward_options(width: int) -> dict[str, Any]:
    """Half as many an iteration: 16 rows take 168 registers, which leaves 3 programs an SM."""
    return {"WIDTH": width, "ROWS": 8, "COLUMNS": BLOCK_F, "STAGES": 3, "num_warps": 4}


@triton.jit
def _load_fp32(ptrs, mask):
    return tl.load(ptrs, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _swiglu_kernel(
    hidden_ptr,
    beta_ptr,
    bias_ptr,
    out_ptr,
    num_tokens,
    hidden_stride,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):
    """One program gates COLUMNS neurons of ROWS tokens; neighbours share rows."""
    NUM_COLUMN_BLOCKS: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    block = tl.program_id(0)
    neuron = (block % NUM_COLUMN_BLOCKS) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    token = (block // NUM_COLUMN_BLOCKS) * ROWS + tl.arange(0, ROWS)[:, None]
    in_width = neuron < WIDTH
    mask = (token < num_tokens) & in_width

    beta = tl.load(beta_ptr).to(tl.float32)
    hidden_ptrs = hidden_ptr + token.to(tl.int64) * hidden_stride + neuron
    a = _load_fp32(hidden_ptrs, mask)
    g = _load_fp32(hidden_ptrs + WIDTH, mask)
    if HAS_BIAS:
        a += _load_fp32(bias_ptr + neuron, in_width)
        g += _load_fp32(bias_ptr + WIDTH + neuron, in_width)
    out = a * tl.sigmoid(beta * a) * g
    out_ptrs = out_ptr + token.to(tl.int64) * WIDTH + neuron
    tl.store(out_ptrs, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _swiglu_backward_kernel(
    grad_ptr,
    hidden_ptr,
    beta_ptr,
    bias_ptr,
    d_hidden_ptr,
    bias_parts_ptr,
    beta_parts_ptr,
    num_tokens,
    grad_stride,
    hidden_stride,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program walks down COLUMNS neurons; it leaves its sums for bias and beta."""
    neuron = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    in_width = neuron < WIDTH
    beta = tl.load(beta_ptr).to(tl.float32)
    if HAS_BIAS:
        bias_a = _load_fp32(bias_ptr + neuron, in_width)
        bias_g = _load_fp32(bias_ptr + WIDTH + neuron, in_width)
    d_bias_a = tl.zeros((ROWS, COLUMNS), tl.float32)
    d_bias_g = tl.zeros((ROWS, COLUMNS), tl.float32)
    d_beta = tl.zeros((ROWS, COLUMNS), tl.float32)
    first = tl.program_id(1) * ROWS
    for start in tl.range(first, num_tokens, tl.num_programs(1) * ROWS, num_stages=STAGES):
        token = start + tl.arange(0, ROWS)[:, None]
        mask = (token < num_tokens) & in_width
        hidden_ptrs = hidden_ptr + token.to(tl.int64) * hidden_stride + neuron
        a = _load_fp32(hidden_ptrs, mask)
        g = _load_fp32(hidden_ptrs + WIDTH, mask)
        if HAS_BIAS:
            a += bias_a
            g += bias_g
        grad = _load_fp32(grad_ptr + token.to(tl.int64) * grad_stride + neuron, mask)

        gate = tl.sigmoid(beta * a)
        slope = gate * (1 - gate) * a  # of a * sigmoid(beta * a): by beta times a, by a times beta
        d_g = grad * a * gate
        d_a = grad * g * (gate + beta * slope)
        d_ptrs = d_hidden_ptr + token.to(tl.int64) * (2 * WIDTH) + neuron
        tl.store(d_ptrs, d_a.to(d_hidden_ptr.dtype.element_ty), mask=mask)
        tl.store(d_ptrs + WIDTH, d_g.to(d_hidden_ptr.dtype.element_ty), mask=mask)
        d_beta += grad * g * slope * a
        if HAS_BIAS:
            d_bias_a += d_a
            d_bias_g += d_g

    program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(beta_parts_ptr + program, tl.sum(d_beta))
    if HAS_BIAS:
        part = bias_parts_ptr + tl.program_id(1) * (2 * WIDTH) + neuron
        tl.store(part, tl.sum(d_bias_a, 0, keep_dims=True), mask=in_width)
        tl.store(part + WIDTH, tl.sum(d_bias_g, 0, keep_dims=True), mask=in_width)


def _launch_swiglu(hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None) -> Tensor:
    num_tokens, width = hidden_TE.shape[0], hidden_TE.shape[1] // 2
    hidden_TE = with_unit_columns(hidden_TE)
    out_TF = torch.empty((num_tokens, width), dtype=hidden_TE.dtype, device=hidden_TE.device)
    if out_TF.numel() == 0:
        return out_TF
    options = forward_options(width)
    grid = (triton.cdiv(num_tokens, options["ROWS"]) * triton.cdiv(width, BLOCK_F),)
    with torch.cuda.device_of(hidden_TE):
        _swiglu_kernel[grid](
            hidden_TE,
            beta,
            None if bias_E is None else bias_E.contiguous(),
            out_TF,
            num_tokens,
            hidden_TE.stride(0),
            HAS_BIAS=bias_E is not None,
            **options,
        )
    return out_TF


def _launch_swiglu_backward(
    grad_TF: Tensor, hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of hidden, beta and bias."""
    num_tokens, width = grad_TF.shape
    grad_TF, hidden_TE = with_unit_columns(grad_TF), with_unit_columns(hidden_TE)
    d_hidden_TE = torch.empty(
        (num_tokens, 2 * width), dtype=hidden_TE.dtype, device=hidden_TE.device
    )
    options = backward_options(width)
    num_blocks = math.ceil(width / BLOCK_F)
    num_groups = num_blocks * math.ceil(num_tokens / options["ROWS"])
    programs = walking_programs(hidden_TE.device, per_sm=PROGRAMS_PER_SM, num_groups=num_groups)
    walkers = max(1, programs // num_blocks)
    device = hidden_TE.device
    bias_parts_PE = torch.empty((walkers, 2 * width), dtype=torch.float32, device=device)
    beta_parts_P = torch.empty(walkers * num_blocks, dtype=torch.float32, device=device)
    with torch.cuda.device_of(hidden_TE):
        _swiglu_backward_kernel[(num_blocks, walkers)](
            grad_TF,
            hidden_TE,
            beta,
            None if bias_E is None else bias_E.contiguous(),
            d_hidden_TE,
            bias_parts_PE,
            beta_parts_P,
            num_tokens,
            grad_TF.stride(0),
            hidden_TE.stride(0),
            HAS_BIAS=bias_E is not None,
            **options,
        )
    d_beta = beta_parts_P.sum().to(beta.dtype).reshape(beta.shape)
    d_bias_E = None if bias_E is None else bias_parts_PE.sum(0).to(bias_E.dtype)
    return d_hidden_TE, d_beta, d_bias_E


class _SwiGLU(torch.autograd.Function):
    """Saves the projection alone; backward computes the gate again instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden_TE, beta, bias_E)
        return _launch_swiglu(hidden_TE, beta, bias_E)

    @staticmethod
    def backward(ctx: Any, grad_TF: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return _launch_swiglu_backward(grad_TF, *ctx.saved_tensors)


def swiglu(hidden_TE: Tensor, beta: Tensor, bias_E: Tensor | None = None) -> Tensor:
    """Gate the plain half of `hidden_TE` with the beta-SiLU of the other: a * sigmoid(beta a) * g.

    `bias_E` is added to both halves first, in fp32.
    """
    check_swiglu(hidden_TE, beta, bias_E)
    check_kernel_dtype("swiglu", hidden_TE)
    return _SwiGLU.apply(hidden_TE, beta, bias_E)
