"""DeepSpeed's settings: which file, and what may stand in it."""

import json
from pathlib import Path
from typing import Any

import torch

from ...ds_configs import FOLDER

OWNED_BY_RUN = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "optimizer",
    "scheduler",
)
"""Facts of the run's config, which DeepSpeed's settings may not state a second time."""

_REFUSED = {
    "fp16.enabled": (True, "loss scaling is not supported; take bf16"),
    "bf16.check_grad_overflow": (False, "a step with a non-finite gradient must be skipped"),
    "bf16.bf16_master_weights_and_grads": (True, "master weights and moments are kept in fp32"),
    "zero_optimization.compute_grad_norm": (False, "skipping and logging need the norm"),
    "zero_optimization.offload_optimizer.device": ("nvme", "moments are saved from memory"),
    "zero_optimization.offload_param.device": ("nvme", "weights are saved from memory"),
}
"""Values a checkpoint or a skipped step could not be right with, and why."""


def find_engine_settings(name: str, device: torch.device) -> Path:
    """The settings file of a name in ds_configs or a path; `auto` fits the device."""
    if name == "auto":
        name = "cpu" if device.type == "cpu" else "zero3"
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
        raise ValueError(f"engine={name}: no such settings; give one of {known}, or a .json file")
    return path


def read_engine_settings(path: Path) -> dict[str, Any]:
    """Read a DeepSpeed JSON that says how to run, and nothing about what is run."""
    try:
        settings = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    check_engine_settings(settings, str(path))
    return settings


def check_engine_settings(settings: dict[str, Any], source: str) -> None:
    """Raise `ValueError` for settings that the engine cannot run, save or skip a step with."""
    if stray := [key for key in OWNED_BY_RUN if key in settings]:
        raise ValueError(
            f"{source} sets {', '.join(stray)}: the run's config owns those; remove them"
        )
    stage = zero_stage(settings)
    if stage not in (1, 2, 3):
        raise ValueError(
            f"{source} asks for ZeRO stage {stage}: give 1, 2 or 3. On one rank stage 1 is stage 0 "
            "with the fp32 weights that checkpoints are made of"
        )
    for key, (refused, reason) in _REFUSED.items():
        if _look_up(settings, key) == refused:
            raise ValueError(f"{source} sets {key} to {refused}: {reason}; remove it")
    # DeepSpeed takes another optimizer for this case, with another layout: BF16_Optimizer.
    accumulates_fp32 = _look_up(settings, "data_types.grad_accum_dtype") in ("fp32", "float32")
    offloads = _look_up(settings, "zero_optimization.offload_optimizer.device") == "cpu"
    if stage == 1 and uses_bf16(settings) and accumulates_fp32 and not offloads:
        raise ValueError(
            f"{source} sums bf16 gradients in fp32 at ZeRO stage 1, for which DeepSpeed takes an "
            "optimizer of another layout: take stage 2, or remove data_types.grad_accum_dtype"
        )


def zero_stage(settings: dict[str, Any]) -> int:
    """ZeRO stage of DeepSpeed settings; 0 where they name none."""
    return _look_up(settings, "zero_optimization.stage") or 0


def uses_bf16(settings: dict[str, Any]) -> bool:
    """Whether forward and backward run in bf16."""
    return bool(_look_up(settings, "bf16.enabled"))


def _look_up(settings: dict[str, Any], path: str) -> Any:
    value: Any = settings
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
