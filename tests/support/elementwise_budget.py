"""Every shipped tile of rotary, norms and gate, to be compiled for both architectures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openrinalmo.kernels import norm, rope, swiglu
from support.compilation import ARCHITECTURES, Case

BUDGET = Path(__file__).resolve().parents[2] / "benchmarks" / "compile_budget_elementwise.csv"

HEADS = {16: 20, 24: 20, 32: 4, 64: 20, 128: 10}
"""By head dim, the heads of the named sizes; queries and keys turn together."""
WIDTHS = (128, 320, 640, 1280)
FFN_WIDTHS = (1728, 3456)
FLOATS = {"bf16": "*bf16", "fp32": "*fp32"}
ALWAYS_FP32 = ("cos_ptr", "sin_ptr", "mean_ptr", "rstd_ptr", "beta_parts_ptr")


def elementwise_cases() -> list[Case]:
    """Every named model size in bf16; the largest in fp32 too, as that takes most shared memory."""
    return [
        case
        for arch in ARCHITECTURES
        for dtype in FLOATS
        for case in _cases_of(arch, dtype)
        if dtype == "bf16" or _is_largest(case)
    ]


def _is_largest(case: Case) -> bool:
    return any(f"={size} " in case.config for size in (64, WIDTHS[-1], FFN_WIDTHS[-1]))


def _cases_of(arch: str, dtype: str) -> Iterator[Case]:
    for head_dim, heads in HEADS.items():
        options = rope.rotate_options(2 * heads, head_dim) | {"CONJUGATE": True}
        yield _case(arch, dtype, rope._rotate_kernel, f"head_dim={head_dim}", options)
    for width in WIDTHS:
        for has_residual in (False, True):
            flag = {"HAS_RESIDUAL": has_residual} | ({} if has_residual else {"residual_ptr": None})
            size = f"width={width} residual={int(has_residual)}"
            options = norm.forward_options(width) | flag
            yield _case(arch, dtype, norm._norm_kernel, size, options)
            flag = {"HAS_SUM_GRAD": has_residual} | ({} if has_residual else {"sum_grad_ptr": None})
            options = norm.backward_options(width) | flag
            yield _case(arch, dtype, norm._norm_backward_kernel, size, options)
    for width in FFN_WIDTHS:
        size = f"width={width}"
        options = swiglu.forward_options(width) | {"HAS_BIAS": True}
        yield _case(arch, dtype, swiglu._swiglu_kernel, size, options)
        options = swiglu.backward_options(width) | {"HAS_BIAS": True}
        yield _case(arch, dtype, swiglu._swiglu_backward_kernel, size, options)


def _case(arch: str, dtype: str, kernel: Any, size: str, options: dict[str, Any]) -> Case:
    constants = {name: value for name, value in options.items() if name != "num_warps"}
    types = {name: _type_of(name, dtype) for name in kernel.arg_names if name not in constants}
    multiples = [name for name in types if name.endswith("_ptr") or "stride" in name]
    if "head_dim=24" in size:
        multiples.remove("x_stride_h")
        multiples.remove("out_stride_h")
    return Case(
        module=kernel.fn.__module__,
        kernel=kernel.fn.__name__,
        config=f"{dtype} {size} warps={options['num_warps']}",
        arch=arch,
        types=types,
        constants=constants,
        divisible=frozenset(multiples),
        num_warps=options["num_warps"],
        num_stages=3,  # unused: loops that pipeline say so themselves
    )


def _type_of(name: str, dtype: str) -> str:
    if name in ALWAYS_FP32 or name.endswith("_parts_ptr"):
        return "*fp32"
    if name.endswith("_ptr"):
        return FLOATS[dtype]
    return "fp32" if name == "eps" else "i32"
