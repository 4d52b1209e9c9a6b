"""One-file weights: safetensors under the published keys, with sizes and provenance inside."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .encoder import EncoderConfig
from .masked_lm import MaskedLM
from .tensor_file import write_tensors
from .upstream import load_published, published_layout, published_shapes

PUBLISHED_NUM_HEADS = 20
EXPORT_NAME = "model.safetensors"
"""Name of a run's newest export, in the run's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model in `eval` mode, and where it comes from."""

    model: MaskedLM
    metadata: dict[str, str]
    """Always has `file` and `sha256`; an export adds what its run wrote (run, step, manifest)."""


def save_masked_lm(model: MaskedLM, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the model in fp32 under its published keys; appears whole or not at all."""
    write_published(model.config, model.state_dict().__getitem__, path, metadata)


def write_published(
    config: EncoderConfig,
    read: Callable[[str], Tensor],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Write weights in fp32 under their published keys; appears whole or not at all.

    `read` gives a parameter by our name. It is asked for one at a time, so a model need not fit
    into memory; for the two halves of a joined parameter it is asked twice.
    """
    layout = published_layout(config)
    shapes = dict(sorted(published_shapes(config).items()))
    tensors = ((key, read(layout[key].name)[layout[key].part].float()) for key in shapes)
    header = {**metadata, "config": json.dumps(asdict(config)), "format": "openrinalmo-1"}
    write_tensors(path, shapes, tensors, header)


def load_masked_lm(path: str | Path, *, num_heads: int = PUBLISHED_NUM_HEADS) -> LoadedModel:
    """Load a safetensors export, a run's folder (its newest export) or a published `.pt`.

    `num_heads` matters only for published files, which do not record it. Nothing is unpickled
    beyond tensors.
    """
    path = _find_weights(Path(path))
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{path} is no whole safetensors file ({error}); export it again"
            ) from error
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    config = json.loads(metadata.get("config", "{}"))
    try:
        model = load_published(state, config.get("num_heads", num_heads))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if config:
        known = {field.name for field in fields(EncoderConfig)}
        stored = {name: value for name, value in config.items() if name in known}
        model.encoder.config = replace(model.config, **stored)
    return LoadedModel(
        model=model, metadata={**metadata, "file": path.name, "sha256": _hash_file(path)}
    )


def build_random_twin(config: EncoderConfig, seed: int) -> MaskedLM:
    """A model of the same size that was never trained, in `eval` mode; a function of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskedLM(config).eval()


def _find_weights(path: Path) -> Path:
    if path.is_dir():
        if not (path / EXPORT_NAME).exists():
            raise FileNotFoundError(
                f"{path} has no {EXPORT_NAME}: give a finished run's folder (`make pretrain`) or a "
                "weights file"
            )
        return path / EXPORT_NAME
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}: give a run's folder or a weights file")
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(f"{path} must be a .safetensors export or a published .pt file")
    return path


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
