"""Compile Triton kernels for GPUs that are not here, and read what came out.

Nothing is run: registers and stack are those of the finished cubin, instructions those of its
PTX, since a disassembly has the same products and takes longer than the compilation.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ARCHITECTURES = {"sm_80": 80, "sm_90": 90}
SHARED_BYTES_PER_SM = {"sm_80": 164 * 1024, "sm_90": 228 * 1024}
RESERVED_SHARED_BYTES = 1024
"""What the system keeps of an SM's shared memory for every resident program."""
REGISTERS_PER_SM = 64 * 1024

_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One kernel as one launch would compile it; plain enough to travel to another process."""

    module: str
    kernel: str
    config: str
    """What tells this launch from others of the same kernel, for the table."""
    arch: str
    types: dict[str, str]
    constants: dict[str, Any]
    divisible: frozenset[str]
    """Arguments that are multiples of 16, as Triton finds out at a launch."""
    num_warps: int
    num_stages: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What one compiled kernel needs, and which instructions it has."""

    registers: int
    stack: int
    """Bytes a thread keeps in slow memory for want of registers."""
    shared_bytes: int
    programs_per_sm: int
    wgmma: int
    mma: int
    loads_128: int
    """Loads of 128 bits, to registers or straight to shared memory."""
    loads_64: int


def compile_case(case: Case) -> Figures:
    """Compile one case; half a second to four."""
    kernel = getattr(import_module(case.module), case.kernel)
    signature = {
        name: "constexpr" if name in case.constants else case.types[name]
        for name in kernel.arg_names
    }
    attributes: Any = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if name in case.divisible
    }
    compiled: Any = triton.compile(
        ASTSource(kernel, signature, case.constants, attributes),
        target=GPUTarget("cuda", ARCHITECTURES[case.arch], 32),
        options={"num_warps": case.num_warps, "num_stages": case.num_stages},
    )
    registers, stack = _read_usage(compiled.asm["cubin"])
    shared_bytes = compiled.metadata.shared
    ptx = compiled.asm["ptx"]
    return Figures(
        registers=registers,
        stack=stack,
        shared_bytes=shared_bytes,
        programs_per_sm=_programs_per_sm(case, registers, shared_bytes),
        wgmma=len(re.findall(r"\bwgmma\.mma_async\b", ptx)),
        mma=len(re.findall(r"\bmma\.sync\b", ptx)),
        loads_128=_count_loads(ptx, words=4),
        loads_64=_count_loads(ptx, words=2),
    )


def _count_loads(ptx: str, *, words: int) -> int:
    to_registers = rf"\bld[\w.:]*\.global[\w.:]*\.v{words}\.b32\b"
    to_shared = rf"\bcp\.async\.c[ag]\.shared\.global .*, {4 * words:#x}\b"
    return len(re.findall(f"{to_registers}|{to_shared}", ptx))


def _read_usage(cubin: bytes) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_CUOBJDUMP, "-res-usage", file.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    usage = _USAGE.search(done.stdout)
    assert usage, f"cuobjdump tells no usage: {done.stdout}"
    return int(usage[1]), int(usage[2])


def _programs_per_sm(case: Case, registers: int, shared_bytes: int) -> int:
    """How many programs registers and shared memory let one SM hold at once."""
    per_thread = -(-registers // 8) * 8  # handed out eight at a time
    by_registers = REGISTERS_PER_SM // (per_thread * 32 * case.num_warps)
    by_shared = SHARED_BYTES_PER_SM[case.arch] // (shared_bytes + RESERVED_SHARED_BYTES)
    return min(by_registers, by_shared)
