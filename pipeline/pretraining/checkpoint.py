"""Save, resume, export: sharded safetensors that any number of ranks can read back.

A checkpoint is a folder `step-00001200` holding, from each of the ranks that wrote it, one file
with that rank's flat slice of every parameter and both Adam moments, and `state.json` with the
step, the resolved config, the data manifest's hash and every file's hash. It is written under
another name and renamed; then `latest` is moved. Slices in rank order are the whole tensor.
"""

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...data_prep.shards import hash_file
from ...model.masked_lm import MaskedLM
from ...model.weights import save_masked_lm
from ..ranks import Ranks, wait_for_all

STATE_NAME = "state.json"
LATEST_NAME = "latest"
KINDS = ("weight", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    every_steps: int = 1_000
    """A checkpoint every so many steps, and one at the end; 0 for the end only."""
    keep_last: int = 3
    """Older ones are deleted; 0 keeps all."""

    def __post_init__(self) -> None:
        if min(self.every_steps, self.keep_last) < 0:
            raise ValueError(
                "checkpoint.every_steps and checkpoint.keep_last must not be negative, got "
                f"{self.every_steps} and {self.keep_last}"
            )


class RunState(NamedTuple):
    """What a resume needs beside the tensors."""

    step: int
    """Updates made; also the number of the next step. The place in the data follows from it."""
    config: dict[str, Any]
    manifest_hash: str
    versions: dict[str, str]


def save_checkpoint(
    folder: Path,
    partitions: Iterable[tuple[str, Iterable[Tensor]]],
    shapes: Mapping[str, tuple[int, ...]],
    state: RunState,
    ranks: Ranks,
) -> Path:
    """Write this rank's part of a checkpoint into `folder`; a collective call.

    `partitions` gives the rank's flat slice of weight and moments, by parameter name.
    """
    final = folder / f"step-{state.step:08d}"
    scratch = folder / f"{final.name}.partial"
    if ranks.is_rank_zero:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    wait_for_all()
    file = scratch / f"rank-{ranks.rank:05d}-of-{ranks.world_size:05d}.safetensors"
    tensors = {
        f"{kind}.{name}": value.contiguous().cpu()
        for name, values in partitions
        for kind, value in zip(KINDS, values, strict=True)
    }
    save_file(tensors, file)
    file.with_suffix(".sha256").write_text(hash_file(file))
    wait_for_all()
    if ranks.is_rank_zero:
        hashes = {}
        for digest in sorted(scratch.glob("*.sha256")):
            hashes[digest.with_suffix(".safetensors").name] = digest.read_text()
            digest.unlink()
        content = {**state._asdict(), "shapes": shapes, "files": hashes}
        (scratch / STATE_NAME).write_text(json.dumps(content, indent=1) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        scratch.rename(final)
        _write_atomically(folder / LATEST_NAME, final.name)
    wait_for_all()
    return final


def prune_checkpoints(folder: Path, keep_last: int) -> None:
    """Delete all but the newest `keep_last` checkpoints; 0 keeps all. For rank 0."""
    whole = sorted(path for path in folder.glob("step-*") if path.suffix != ".partial")
    for path in whole[:-keep_last] if keep_last else []:
        shutil.rmtree(path)


def find_latest(folder: Path) -> Path | None:
    """The checkpoint `latest` names, or None where the run has none."""
    pointer = folder / LATEST_NAME
    if not pointer.exists():
        return None
    checkpoint = folder / pointer.read_text().strip()
    if not (checkpoint / STATE_NAME).exists():
        raise FileNotFoundError(
            f"{pointer} names {checkpoint.name}, which is not whole; write the name of another "
            f"step- folder of {folder} into it"
        )
    return checkpoint


class Checkpoint:
    """A saved checkpoint, open for reading by any number of ranks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        content = json.loads((folder / STATE_NAME).read_text())
        self.state = RunState(**{field: content[field] for field in RunState._fields})
        self._shapes: dict[str, list[int]] = content["shapes"]
        self._hashes: dict[str, str] = content["files"]
        if missing := [name for name in self._hashes if not (folder / name).exists()]:
            raise FileNotFoundError(f"{folder} is incomplete, without {', '.join(missing)}")

    def verify(self) -> None:
        """Compare every file with its hash; raises `ValueError` naming the first that differs."""
        for name, expected in self._hashes.items():
            if hash_file(self.folder / name) != expected:
                raise ValueError(
                    f"{self.folder / name} is damaged: its SHA-256 is not the one in {STATE_NAME}"
                )

    def iter_full(self, kinds: Iterable[str] = KINDS) -> Iterator[tuple[str, list[Tensor]]]:
        """Every parameter's whole tensors of the given kinds, one parameter at a time."""
        files = [safe_open(self.folder / name, framework="pt") for name in sorted(self._hashes)]
        for name, shape in self._shapes.items():
            yield name, [self._join(files, f"{kind}.{name}", shape) for kind in kinds]

    def load_weights(self, model: MaskedLM) -> None:
        """Fill the model's parameters; must come before an engine partitions them."""
        parameters = dict(model.named_parameters())
        if parameters.keys() != self._shapes.keys():
            raise ValueError(f"{self.folder} holds another model's parameters")
        with torch.no_grad():
            for name, (weight,) in self.iter_full(("weight",)):
                parameters[name].copy_(weight)

    @staticmethod
    def _join(files: list[Any], key: str, shape: list[int]) -> Tensor:
        flat = torch.cat([file.get_tensor(key) for file in files])
        return flat[: math.prod(shape)].view(shape)


def export_checkpoint(checkpoint: Path, model: MaskedLM, path: Path) -> Path:
    """Consolidate a checkpoint into one safetensors file under the published keys. For rank 0.

    `model` gives the sizes; its weights are overwritten.
    """
    opened = Checkpoint(checkpoint)
    opened.load_weights(model)
    state = opened.state
    save_masked_lm(
        model,
        path,
        {
            "run": path.parent.name,
            "step": str(state.step),
            "manifest_sha256": state.manifest_hash,
            "run_config": json.dumps(state.config),
            "versions": json.dumps(state.versions),
        },
    )
    return path


def _write_atomically(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".partial")
    scratch.write_text(text + "\n")
    scratch.replace(path)
