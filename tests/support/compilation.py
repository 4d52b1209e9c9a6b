"""Compile Triton kernels for GPUs that are not here, and read what came out.

Nothing is run: registers, stack and shared memory are those of the finished cubin, instructions
those of its disassembly.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ARCHITECTURES = {"sm_80": 80, "sm_90": 90}
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What one kernel needs on one architecture."""

    registers: int
    stack: int
    """Bytes a thread keeps in slow memory for want of registers."""
    shared_bytes: int
    wgmma: int
    mma: int
    ldg128: int
    cp_async: int


def compile_kernel(
    kernel: Any,
    *,
    arch: str,
    types: dict[str, str],
    constants: dict[str, Any],
    divisible: frozenset[str],
    num_warps: int,
    num_stages: int,
    cubin: Path,
) -> Compiled:
    """Compile `kernel` as its launcher would; `cubin` is where the binary may be written.

    Arguments in `divisible` are multiples of 16, as Triton finds out at a launch.
    """
    signature = {
        name: "constexpr" if name in constants else types[name] for name in kernel.arg_names
    }
    attributes: Any = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if name in divisible
    }
    compiled: Any = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", ARCHITECTURES[arch], 32),
        options={"num_warps": num_warps, "num_stages": num_stages},
    )
    cubin.write_bytes(compiled.asm["cubin"])
    command = [_CUOBJDUMP, "-res-usage", cubin]
    usage = _USAGE.search(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    assert usage, f"cuobjdump says nothing of {cubin}"
    sass = compiled.asm["sass"]
    return Compiled(
        registers=int(usage[1]),
        stack=int(usage[2]),
        shared_bytes=compiled.metadata.shared,
        wgmma=len(re.findall(r"\bHGMMA\b", sass)),
        mma=len(re.findall(r"\bHMMA\b", sass)),
        ldg128=len(re.findall(r"\bLDG\.E\S*\.128\b", sass)),
        cp_async=len(re.findall(r"\bLDGSTS\b", sass)),
    )
