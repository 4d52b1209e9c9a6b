"""Tile shapes of the attention kernels: one shipped table, no tuning at run time.

Chosen by what compiles well: no spilled registers, tensor cores used, then warps resident on a
multiprocessor, then size of tile. benchmarks/compile_budget.csv has the figures of every entry.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

HEAD_DIMS = (16, 24, 32, 64, 128)

Architecture = Literal["sm_80", "sm_90"]


class Tiling(NamedTuple):
    """How one kernel cuts a sequence, and how many warps and pipeline stages it gets."""

    block: int
    """Tokens a program owns: queries, or keys in dkdv; the whole sequence on the one-tile path."""
    step: int
    """Tokens it takes up at a time in its loop."""
    num_warps: int
    num_stages: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """A tiling for every kernel; for the one-tile kernels one for each bucket of length, rising."""

    short_forward: tuple[Tiling, ...]
    short_backward: tuple[Tiling, ...]
    forward: Tiling
    dq: Tiling
    dkdv: Tiling


def choose_config(
    capability: tuple[int, int], dtype: torch.dtype, head_dim: int, *, dropout: bool
) -> AttentionConfig:
    """The entry for a device of this compute capability."""
    if capability < (8, 0):
        raise ValueError(
            "the attention kernels are shipped for compute capability 8.0 and newer, this device "
            f"has {capability[0]}.{capability[1]}; choose attention=reference"
        )
    if dtype == torch.float32:
        return _FP32[max(head_dim, 32)]
    arch: Architecture = "sm_90" if capability >= (9, 0) else "sm_80"
    return (_DROPOUT if dropout else _PLAIN)[arch, max(head_dim, 32)]


_SHORT_64 = Tiling(64, 64, 4, 1)
_SHORT_128 = Tiling(128, 128, 8, 1)

_PLAIN: dict[tuple[Architecture, int], AttentionConfig] = {
    ("sm_80", 32): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64, _SHORT_128),
        forward=Tiling(64, 64, 4, 2),
        dq=Tiling(64, 32, 4, 3),
        dkdv=Tiling(64, 64, 4, 3),
    ),
    ("sm_80", 64): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64, _SHORT_128),
        forward=Tiling(64, 64, 4, 2),
        dq=Tiling(64, 32, 4, 3),
        dkdv=Tiling(64, 64, 4, 2),
    ),
    ("sm_80", 128): AttentionConfig(
        short_forward=(Tiling(64, 64, 8, 1),),
        short_backward=(_SHORT_64,),
        forward=Tiling(128, 64, 8, 2),
        dq=Tiling(128, 32, 8, 2),
        dkdv=Tiling(32, 32, 4, 2),
    ),
    ("sm_90", 32): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64, _SHORT_128),
        forward=Tiling(64, 64, 4, 2),
        dq=Tiling(64, 64, 4, 2),
        dkdv=Tiling(64, 64, 4, 2),
    ),
    ("sm_90", 64): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64, _SHORT_128),
        forward=Tiling(128, 64, 8, 3),
        dq=Tiling(128, 64, 8, 3),
        dkdv=Tiling(64, 64, 4, 2),
    ),
    ("sm_90", 128): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 64, 4, 2),
        dq=Tiling(64, 64, 4, 2),
        dkdv=Tiling(128, 32, 8, 2),
    ),
}
"""16-bit types without dropout, by architecture and padded head dim."""

# Philox keeps some sixty registers busy, so the blocks are smaller.
_DROPOUT: dict[tuple[Architecture, int], AttentionConfig] = {
    ("sm_80", 32): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 32, 4, 2),
        dq=Tiling(64, 32, 4, 2),
        dkdv=Tiling(64, 32, 4, 2),
    ),
    ("sm_80", 64): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 32, 4, 2),
        dq=Tiling(64, 32, 4, 2),
        dkdv=Tiling(64, 32, 4, 2),
    ),
    ("sm_80", 128): AttentionConfig(
        short_forward=(Tiling(64, 64, 8, 1),),
        short_backward=(Tiling(64, 64, 8, 1),),
        forward=Tiling(128, 32, 8, 2),
        dq=Tiling(32, 32, 4, 2),
        dkdv=Tiling(16, 32, 4, 2),
    ),
    ("sm_90", 32): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 32, 4, 2),
        dq=Tiling(64, 32, 4, 2),
        dkdv=Tiling(64, 32, 4, 2),
    ),
    ("sm_90", 64): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 32, 4, 2),
        dq=Tiling(64, 32, 4, 2),
        dkdv=Tiling(64, 32, 4, 2),
    ),
    ("sm_90", 128): AttentionConfig(
        short_forward=(_SHORT_64, _SHORT_128),
        short_backward=(_SHORT_64,),
        forward=Tiling(64, 32, 4, 2),
        dq=Tiling(64, 32, 4, 2),
        dkdv=Tiling(128, 32, 8, 2),
    ),
}

# Plain FMAs, no tensor cores: for tests and small runs, so one table for every architecture.
_FP32: dict[int, AttentionConfig] = {
    32: AttentionConfig(
        short_forward=(Tiling(64, 64, 8, 1),),
        short_backward=(Tiling(64, 64, 8, 1),),
        forward=Tiling(64, 32, 4, 1),
        dq=Tiling(32, 32, 8, 1),
        dkdv=Tiling(32, 32, 4, 1),
    ),
    64: AttentionConfig(
        short_forward=(Tiling(64, 64, 8, 1),),
        short_backward=(Tiling(64, 64, 8, 1),),
        forward=Tiling(64, 32, 8, 1),
        dq=Tiling(64, 32, 8, 1),
        dkdv=Tiling(32, 32, 8, 1),
    ),
    128: AttentionConfig(
        short_forward=(Tiling(32, 32, 8, 1),),
        short_backward=(Tiling(32, 32, 8, 1),),
        forward=Tiling(32, 16, 8, 1),
        dq=Tiling(32, 32, 8, 1),
        dkdv=Tiling(32, 16, 8, 1),
    ),
}
