"""Snapshots of a fit: a folder of tensors and facts that is there whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FINISHED = "finished"
"""Name of the snapshot that holds the result; others are named by their step."""
_TENSORS, _FACTS = "tensors.safetensors", "facts.json"


class Snapshot(NamedTuple):
    """What was kept of a fit."""

    tensors: dict[str, Tensor]
    """On the CPU."""
    facts: dict[str, Any]
    """What JSON holds; numbers come back to the last digit."""
    is_finished: bool


def select_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose name begins with `prefix`, by the rest of it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def write_snapshot(
    folder: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write a snapshot below `folder`, then remove those before it."""
    scratch = folder / f"{name}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    held = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    save_file(held, scratch / _TENSORS)
    (scratch / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    for path in (scratch / _TENSORS, scratch / _FACTS):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    scratch.rename(folder / name)
    for other in folder.iterdir():
        if other.name != name:
            shutil.rmtree(other)


def read_snapshot(folder: Path) -> Snapshot | None:
    """The finished snapshot below `folder`, else that of the latest step, else None."""
    if not folder.is_dir():
        return None
    found = [path for path in folder.iterdir() if path.name == FINISHED or path.name.isdigit()]
    if not found:
        return None
    path = max(found, key=lambda one: (one.name == FINISHED, one.name.zfill(20)))
    try:
        facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
        return Snapshot(load_file(path / _TENSORS), facts, path.name == FINISHED)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{path} is no whole state of a fit ({error}); delete it and run again"
        ) from error
