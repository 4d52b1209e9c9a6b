"""Checkpoints of made-up tensors, written by the real writer without an engine."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint, RunState
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import open_newest
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_writer import (
    CheckpointConfig,
    CheckpointWriter,
)
from openrinalmo.pipeline.ranks import Ranks

Values = dict[str, dict[str, Tensor]]
"""Whole tensors by parameter and kind."""

ALONE = Ranks(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))
KEEP_ALL = CheckpointConfig(keep_last=0)
SHAPES = {"embedding": (7, 3), "beta": (1,), "nothing": (0, 4), "out": (5,)}


def make_values(seed: int) -> Values:
    """AdamW's kinds for all parameters but `out`, which is Muon's."""
    draws = torch.Generator().manual_seed(seed)
    kinds: dict[str, tuple[str, ...]] = dict.fromkeys(SHAPES, ("weight", "exp_avg", "exp_avg_sq"))
    kinds["out"] = ("weight", "momentum_buffer")
    values = {
        name: {kind: torch.randn(SHAPES[name], generator=draws) for kind in kinds[name]}
        for name in SHAPES
    }
    values["embedding"]["exp_avg"][0] = torch.tensor([torch.nan, -torch.inf, -0.0])
    return values


def make_state(step: int) -> RunState:
    return RunState(
        guards={},
        step=step,
        updates=step - 1,
        skipped_packs=[[3, 4], [9, 12]],
        config={"seed": 0, "model.embed_dim": 6},
        manifest_hash="abc",
        versions={"openrinalmo": "0.1.0"},
    )


def cut(values: Values, rank: int, sizes: Sequence[int]) -> Values:
    """A rank's flat slices, where ranks take as many elements of everything as `sizes` says.

    The last rank takes what is left: slices are uneven, and empty where a tensor ends early.
    """
    first = sum(sizes[:rank])
    last = None if rank == len(sizes) - 1 else first + sizes[rank]
    return {
        name: {kind: value.flatten()[first:last] for kind, value in kinds.items()}
        for name, kinds in values.items()
    }


def save(
    folder: Path,
    step: int,
    *,
    sizes: Sequence[int] = (0,),
    config: CheckpointConfig = KEEP_ALL,
    export: Path | None = None,
    values: Values | None = None,
    state: RunState | None = None,
    shapes: dict[str, tuple[int, ...]] = SHAPES,
) -> Values:
    """Save `make_values(step)` from as many ranks as `sizes`, one after the other; return it.

    Ranks of one process stand for real ones: in the background they meet only through files.
    """
    values = values or make_values(step)
    writers = []
    for rank in range(len(sizes)):
        ranks = replace(ALONE, rank=rank, world_size=len(sizes))
        writers.append(CheckpointWriter(folder, config, ranks, export=export))
        writers[-1].save(cut(values, rank, sizes).items(), shapes, state or make_state(step))
    for writer in reversed(writers):
        writer.finish()
    return values


def assert_holds(checkpoint: Checkpoint | None, values: Values) -> None:
    assert checkpoint is not None
    assert_equal(checkpoint.iter_full(), values)


def assert_equal(full: Iterable[tuple[str, dict[str, Tensor]]], values: Values) -> None:
    """Bits are compared, so that nan equals nan and 0 is not -0."""
    found = dict(full)
    assert found.keys() == values.keys()
    for name, kinds in values.items():
        assert found[name].keys() == kinds.keys()
        for kind, value in kinds.items():
            other = found[name][kind]
            assert other.shape == value.shape
            assert other.dtype == torch.float32
            assert torch.equal(other.view(torch.int32), value.view(torch.int32)), (name, kind)


def open_alone(folder: Path) -> Checkpoint:
    checkpoint = open_newest(folder, ALONE)
    assert checkpoint is not None
    return checkpoint


def flip(path: Path, position: int, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)
