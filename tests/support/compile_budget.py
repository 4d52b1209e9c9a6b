"""Every shipped tiling of the attention kernels, compiled for both architectures, as one table."""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

from openrinalmo.kernels import attention_backward, attention_forward, attention_short
from openrinalmo.kernels.attention_configs import Tiling, choose_config
from support.compilation import ARCHITECTURES, Case, Figures, compile_case

BUDGET = Path(__file__).resolve().parents[2] / "benchmarks" / "compile_budget.csv"

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_TRITON_TYPES = {"bf16": tl.bfloat16, "fp16": tl.float16, "fp32": tl.float32}
_LAUNCHES = {
    **{(dtype, 64, 0.0): tuple(ARCHITECTURES) for dtype in _TYPES},
    **{("bf16", head_dim, 0.0): tuple(ARCHITECTURES) for head_dim in (16, 24, 32, 128)},
    **{("bf16", head_dim, 0.1): tuple(ARCHITECTURES) for head_dim in (24, 64, 128)},
    # fp32 has one table for both architectures and its plain FMAs compile slowly.
    **{("fp32", head_dim, 0.0): ("sm_80",) for head_dim in (24, 128)},
    **{("fp32", head_dim, 0.1): ("sm_90",) for head_dim in (24, 64, 128)},
}
"""By dtype, head dim and dropout: the architectures to compile for."""

Row = dict[str, str]


def attention_cases() -> list[Case]:
    """Every tiling that can be chosen, at the head dims and dtypes that share it."""
    return [
        case
        for (dtype, head_dim, dropout_p), architectures in _LAUNCHES.items()
        for arch in architectures
        for case in _cases_of(arch, dtype, head_dim, dropout_p)
    ]


def compile_rows(cases: Sequence[Case], *, num_processes: int) -> list[Row]:
    """One row of the table for each case."""
    # A forked child would inherit threads of torch in an unknown state.
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        return [
            _row(case, figures)
            for case, figures in zip(cases, pool.map(compile_case, cases), strict=True)
        ]


def read_budget() -> list[Row]:
    """The committed table."""
    with BUDGET.open(newline="") as file:
        return list(csv.DictReader(file))


def write_budget(rows: Sequence[Row]) -> None:
    """Replace the committed table."""
    with BUDGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def row_key(row: Row) -> tuple[str, str, str]:
    """What names a row among those of one version of Triton."""
    return row["arch"], row["kernel"], row["config"]


def _row(case: Case, figures: Figures) -> Row:
    version = ".".join(triton.__version__.split(".")[:2])
    named = {
        "triton": version,
        "arch": case.arch,
        "kernel": case.kernel.strip("_").removesuffix("_kernel"),
        "config": case.config,
    }
    return {**named, **{name: str(value) for name, value in asdict(figures).items()}}


def _cases_of(arch: str, dtype: str, head_dim: int, dropout_p: float) -> Iterator[Case]:
    number = ARCHITECTURES[arch]
    config = choose_config(
        (number // 10, number % 10), _TYPES[dtype], head_dim, dropout=dropout_p > 0
    )
    constants = {
        "HEAD_DIM": head_dim,
        "COLUMNS": triton.next_power_of_2(head_dim),
        "DROP_BELOW": round(dropout_p * 2**24),
        "COMPUTE": _TRITON_TYPES[dtype],
    }

    def case(kernel: Any, tiling: Tiling, blocks: dict[str, Any]) -> Case:
        names = [name for name in kernel.arg_names if name not in constants | blocks]
        multiples = [name for name in names if name.endswith(("_ptr", "_stride_t"))]
        if head_dim % 16 == 0:
            multiples += [name for name in names if name.endswith("_stride_h")]
        shape = "x".join(map(str, tiling[:2]))
        return Case(
            module=kernel.fn.__module__,
            kernel=kernel.fn.__name__,
            config=f"{dtype} head_dim={head_dim} dropout={dropout_p:g} tile={shape} "
            f"warps={tiling.num_warps} stages={tiling.num_stages}",
            arch=arch,
            types={name: _argument_type(name, dtype) for name in names},
            constants=constants | blocks,
            divisible=frozenset(multiples),
            num_warps=tiling.num_warps,
            num_stages=tiling.num_stages,
        )

    rotary = {"ROTARY": True}
    for tiling in config.short_forward:
        yield case(attention_short._short_forward_kernel, tiling, {"BLOCK": tiling.block})
    for tiling in config.short_backward:
        blocks = {"BLOCK": tiling.block} | rotary
        yield case(attention_short._short_backward_kernel, tiling, blocks)
    by_query = {"BLOCK_M": config.forward.block, "BLOCK_N": config.forward.step}
    yield case(attention_forward._forward_kernel, config.forward, by_query)
    by_query = {"BLOCK_M": config.dq.block, "BLOCK_N": config.dq.step}
    yield case(attention_backward._dq_kernel, config.dq, by_query | rotary)
    by_key = {"BLOCK_N": config.dkdv.block, "BLOCK_M": config.dkdv.step}
    yield case(attention_backward._dkdv_kernel, config.dkdv, by_key | rotary)


def _argument_type(name: str, dtype: str) -> str:
    if name in ("lse_ptr", "delta_ptr", "cos_ptr", "sin_ptr"):
        return "*fp32"
    if name == "tiles_ptr":
        return "*i32"
    if name.endswith("_ptr"):
        return f"*{dtype}"
    if name in ("scale", "scale_log2"):
        return "fp32"
    return "i64" if name == "seed" else "i32"
