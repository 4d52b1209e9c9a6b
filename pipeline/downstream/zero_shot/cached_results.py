"""Numbers and arrays that are computed once: files named by a hash of all that they depend on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structure_folds.fold_results import build_key


def load_or_compute(
    folder: Path, name: str, facts: Mapping[str, Any], compute: Callable[[], Any]
) -> Any:
    """What `compute` gave for these facts, as JSON holds it: from its file, or now into its file.

    A file appears whole or not at all, so a run that was killed goes on where it stopped.
    """
    path = _build_path(folder, name, facts, ".json")
    if path.exists():
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no result ({error}); delete it and run again") from error
    scratch = path.with_name(path.name + ".partial")
    text = json.dumps(compute())
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch.write_text(text + "\n", encoding="utf-8")
    scratch.replace(path)
    return json.loads(text)


def load_or_compute_array(
    folder: Path, name: str, facts: Mapping[str, Any], compute: Callable[[], NDArray]
) -> NDArray:
    """The same for an array, in NumPy's format."""
    path = _build_path(folder, name, facts, ".npy")
    if path.exists():
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is no array ({error}); delete it and run again") from error
    array = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("wb") as file:
        np.save(file, array)
    scratch.replace(path)
    return array


def _build_path(folder: Path, name: str, facts: Mapping[str, Any], suffix: str) -> Path:
    readable = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return folder / f"{readable[:80]}.{build_key(facts)}{suffix}"
