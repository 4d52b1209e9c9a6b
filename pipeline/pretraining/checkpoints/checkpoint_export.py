"""A checkpoint's weights in one file, streamed: memory for one tensor at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ....model.encoder import EncoderConfig
from ....model.tensor_file import write_tensors
from ....model.weights import write_published
from .checkpoint import Checkpoint


def export_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    run: str,
    on_tensor: Callable[[], object] = lambda: None,
) -> None:
    """Write the weights under the published keys and widths: what evaluation and others load."""

    def read(name: str) -> Tensor:
        on_tensor()
        return checkpoint.read(name)

    config = read_encoder_config(checkpoint.state.config)
    write_published(config, read, path, _describe(checkpoint, run))


def consolidate_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    run: str,
    *,
    moments: bool = False,
    on_tensor: Callable[[], object] = lambda: None,
) -> None:
    """Write the fp32 weights under our own parameter names and stored widths.

    `moments` adds the optimizer's as `exp_avg.<name>` and so on.
    """
    keys = {
        (name if kind == "weight" else f"{kind}.{name}"): (name, kind)
        for name, entry in checkpoint.parameters.items()
        for kind in entry.kinds
        if moments or kind == "weight"
    }
    shapes = {key: checkpoint.parameters[keys[key][0]].shape for key in sorted(keys)}

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for key in shapes:
            on_tensor()
            yield key, checkpoint.read(*keys[key])

    write_tensors(path, shapes, tensors(), _describe(checkpoint, run))


def read_encoder_config(config: dict[str, Any]) -> EncoderConfig:
    """The encoder's config among a run's settings by dotted path."""
    stored = {
        field.name: config[f"model.{field.name}"]
        for field in fields(EncoderConfig)
        if f"model.{field.name}" in config
    }
    if not stored:
        raise ValueError("the checkpoint's config has no model.* settings: it names no model")
    return EncoderConfig(**stored)


def _describe(checkpoint: Checkpoint, run: str) -> dict[str, str]:
    state = checkpoint.state
    return {
        "run": run,
        "step": str(state.step),
        "updates": str(state.updates),
        "manifest_sha256": state.manifest_hash,
        "run_config": json.dumps(state.config),
        "versions": json.dumps(state.versions),
        "excluded": json.dumps(state.excluded),
    }
