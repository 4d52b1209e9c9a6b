"""What one system put out for the tests of one split: kept in a file, so it is done or absent."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION_OF_NUMBERS = 3
"""Raised when a change of code changes scores: runs of an earlier one are not reused."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SequenceRun:
    """One system in one regime on one split."""

    key: str
    """Hash of all that the numbers depend on; a run with another key is not reused."""
    system: str
    regime: str
    split: str
    outputs: Mapping[str, NDArray[np.float32]]
    """Outputs_NO of each test set, in the order of the split; numbers in the targets' units."""
    facts: Mapping[str, float]
    """Of the fit: penalty, losses, steps, seconds."""


def save_run(run: SequenceRun, folder: Path) -> Path:
    """Write a run; it appears whole or not at all."""
    path = _build_path(folder, run.system, run.regime, run.split, run.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(run.outputs)
    header = {"key": run.key, "tests": names, "facts": dict(run.facts)}
    arrays = {f"outputs_{number}": run.outputs[name] for number, name in enumerate(names)}
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
    scratch.replace(path)
    return path


def load_run(folder: Path, system: str, regime: str, split: str, key: str) -> SequenceRun | None:
    """The run with this key, or None where it has not been computed."""
    path = _build_path(folder, system, regime, split, key)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            outputs = {
                name: stored[f"outputs_{number}"] for number, name in enumerate(header["tests"])
            }
        return SequenceRun(
            key=header["key"],
            system=system,
            regime=regime,
            split=split,
            outputs=outputs,
            facts=header["facts"],
        )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no result ({error}); delete it and run again") from error


def _build_path(folder: Path, system: str, regime: str, split: str, key: str) -> Path:
    readable = ".".join(name.replace(" ", "-") for name in (system, regime, split))
    return folder / f"{readable}.{key}.npz"
