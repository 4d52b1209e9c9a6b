"""Checkpoints as they lie on disk, and reading them back on any number of ranks.

A checkpoint is a folder `step-00001200` with a safetensors file from each rank that wrote it,
holding that rank's flat slice of every parameter and its moments, and `state.json` with the
run's state, every parameter's shape and every file's hash. `state.sha256` is the hash of
`state.json`, in the form `sha256sum -c` reads. Slices in rank order are the whole tensor. Beside
the folders, `latest` names the one to go on from.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from ....model.masked_lm import MaskedLM
from ....model.tensor_file import FileDigest

FORMAT_VERSION = 2
STATE_NAME = "state.json"
STATE_HASH_NAME = "state.sha256"
PARTIAL_SUFFIX = ".partial"
"""A folder that is being written, or deleted."""
REPLACED_SUFFIX = ".replaced"
"""A checkpoint whose successor of the same step is being put in its place."""

_CHUNK_BYTES = 2**24


class RunState(NamedTuple):
    """What a resume needs beside the tensors."""

    step: int
    """Steps made; also the number of the next step. With `skipped_packs` the place in the data."""
    updates: int
    """Optimizer updates applied; fewer than `step` where unusable batches were skipped."""
    skipped_packs: list[list[int]]
    """Half-open ranges [first, end) of pack numbers that were never shown."""
    guards: dict[str, Any]
    """State of `Guards`: a resumed run judges as the uninterrupted one would."""
    config: dict[str, Any]
    manifest_hash: str
    versions: dict[str, str]
    excluded: dict[str, Any] | None = None
    """What the data was made without, as its manifest says; None: nothing."""


class ParameterEntry(NamedTuple):
    """What a checkpoint holds of one parameter."""

    shape: tuple[int, ...]
    kinds: tuple[str, ...]
    """`weight`, then the optimizer's moments by their names there."""


class DamagedError(ValueError):
    """A checkpoint's file is missing, short, or not what was written."""


class Checkpoint:
    """A saved checkpoint, open for reading by any number of ranks.

    Opening checks `state.json` alone; `find_faults` reads every byte.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        content = _read_state(folder)
        required = [name for name in RunState._fields if name not in RunState._field_defaults]
        self.state = RunState(
            **{name: content[name] for name in required},
            excluded=content.get("excluded"),  # earlier checkpoints do not say
        )
        self.saved_at: str = content["saved_at"]
        self.parameters = {
            name: ParameterEntry(tuple(entry["shape"]), tuple(entry["kinds"]))
            for name, entry in content["parameters"].items()
        }
        self.files = {name: FileDigest(**entry) for name, entry in content["files"].items()}
        """One a rank, in rank order."""
        self._opened: list[Any] = []

    @property
    def num_bytes(self) -> int:
        """Size of the tensors' files together."""
        return sum(file.num_bytes for file in self.files.values())

    def find_missing(self) -> list[str]:
        """Say which files are missing or of another size; reads none. Empty is good."""
        faults = []
        for name, file in self.files.items():
            path = self.folder / name
            if not path.exists():
                faults.append(f"{path} is missing")
            elif (size := path.stat().st_size) != file.num_bytes:
                faults.append(f"{path} is damaged: {size} bytes of {file.num_bytes}")
        return faults

    def find_faults(self, on_bytes: Callable[[int], object] = lambda _: None) -> list[str]:
        """Say which files are missing or not what was written. Empty is good.

        `on_bytes` is told how many bytes were read, from several threads.
        """

        def check(name: str) -> str | None:
            path = self.folder / name
            expected = self.files[name]
            if not path.exists() or path.stat().st_size != expected.num_bytes:
                return None  # said already
            if _hash_file(path, on_bytes) == expected.sha256:
                return None
            return f"{path} is damaged: its SHA-256 is not the one in {STATE_NAME}"

        with ThreadPoolExecutor(min(8, len(self.files))) as pool:  # hashing releases the GIL
            hashed = list(pool.map(check, self.files))
        return self.find_missing() + [fault for fault in hashed if fault]

    def verify(self) -> None:
        """Raise `DamagedError` naming every file that is not what was written."""
        if faults := self.find_faults():
            raise DamagedError("; ".join(faults))

    def read(self, name: str, kind: str = "weight") -> Tensor:
        """One whole tensor of a parameter, in fp32 and its shape."""
        shape = self.parameters[name].shape
        return self.read_range(name, kind, 0, math.prod(shape)).view(shape)

    def read_range(self, name: str, kind: str, first: int, end: int) -> Tensor:
        """Elements [first, end) of the flattened tensor, from whichever files hold them."""
        pieces, start = [], 0
        for file in self._open_files():
            piece = file.get_slice(f"{kind}.{name}")
            (size,) = piece.get_shape()
            low, high = max(first - start, 0), min(end - start, size)
            if low < high:
                pieces.append(piece[low:high])
            start += size
        if start != math.prod(self.parameters[name].shape):
            shape = self.parameters[name].shape
            raise DamagedError(f"{self.folder} holds {start} values of {name}, not {shape}")
        return torch.cat(pieces) if pieces else torch.empty(0)

    def iter_full(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Every parameter's whole tensors by kind, one parameter at a time."""
        for name, entry in self.parameters.items():
            yield name, {kind: self.read(name, kind) for kind in entry.kinds}

    def load_weights(self, model: MaskedLM) -> None:
        """Fill a whole model's parameters."""
        parameters = dict(model.named_parameters())
        if parameters.keys() != self.parameters.keys():
            raise ValueError(f"{self.folder} holds another model's parameters")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.read(name))

    def _open_files(self) -> list[Any]:
        if not self._opened:
            self._opened = [safe_open(self.folder / name, framework="pt") for name in self.files]
        return self._opened


def write_state(
    folder: Path,
    state: RunState,
    parameters: Mapping[str, ParameterEntry],
    files: Mapping[str, FileDigest],
    saved_at: str,
) -> None:
    """Write `state.json` and its hash durably: the last files of a checkpoint."""
    content = {
        "format_version": FORMAT_VERSION,
        **state._asdict(),
        "saved_at": saved_at,
        "files": {name: file._asdict() for name, file in files.items()},
        "parameters": {name: entry._asdict() for name, entry in parameters.items()},
    }
    text = json.dumps(content, indent=1) + "\n"
    write_durably(folder / STATE_NAME, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_durably(folder / STATE_HASH_NAME, f"{digest}  {STATE_NAME}\n")


def write_durably(path: Path, text: str) -> None:
    """Write a small file so that it is whole or absent, also after the power failed."""
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rank_file_name(rank: int, world_size: int) -> str:
    """Name of a rank's file; sorts in rank order."""
    return f"rank-{rank:05d}-of-{world_size:05d}.safetensors"


def step_name(step: int) -> str:
    """Name of a step's folder."""
    return f"step-{step:08d}"


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE_NAME
    if not path.exists():
        raise DamagedError(f"{path} is missing")
    raw = path.read_bytes()
    hash_path = folder / STATE_HASH_NAME
    expected = f"{hashlib.sha256(raw).hexdigest()}  {STATE_NAME}\n".encode()
    if hash_path.exists() and hash_path.read_bytes() != expected:
        raise DamagedError(f"{path} is damaged, or {STATE_HASH_NAME} beside it: they do not match")
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    version = content.get("format_version", 1)
    if version != FORMAT_VERSION:
        writer = content.get("versions", {}).get("openrinalmo", "unknown")
        raise ValueError(
            f"{folder} has checkpoint format {version}, this version reads {FORMAT_VERSION}: go "
            f"on with the openrinalmo that wrote it ({writer}), or give another out="
        )
    if not hash_path.exists():
        raise DamagedError(f"{hash_path} is missing")
    return content


def _hash_file(path: Path, on_bytes: Callable[[int], object]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()
