"""The ZeRO-3 engine: the only file that imports deepspeed.

Shape suffixes: M predicted tokens, V vocabulary.
"""

import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ds_configs import FOLDER
from ...model.masked_lm import MaskedLM
from ..ranks import Ranks
from .batches import PackedBatch
from .optim import OptimConfig, build_optimizer

OWNED_BY_RUN = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "optimizer",
    "scheduler",
)
"""Facts of the run's config, which DeepSpeed's settings may not state a second time."""

MOMENTS = ("exp_avg", "exp_avg_sq")


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
    if stray := [key for key in OWNED_BY_RUN if key in settings]:
        raise ValueError(
            f"{path} sets {', '.join(stray)}: the run's config owns those; remove them"
        )
    stage = settings.get("zero_optimization", {}).get("stage", 0)
    if stage != 3:
        raise ValueError(
            f"{path} asks for ZeRO stage {stage}: checkpoints are written for stage 3 only"
        )
    return settings


class Partition(NamedTuple):
    """One parameter and its optimizer moments in fp32: a rank's flat slice of each, or whole."""

    weight: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class Engine:
    """Forward, backward and update of a model whose state is spread over the ranks."""

    def __init__(
        self,
        model: MaskedLM,
        optim: OptimConfig,
        settings: dict[str, Any],
        *,
        packs_per_step: int,
        ranks: Ranks,
    ) -> None:
        self.ranks = ranks
        self.micro_steps = math.ceil(packs_per_step / ranks.world_size)
        deepspeed = _import_deepspeed(ranks.device)
        if not torch.distributed.is_initialized():
            deepspeed.init_distributed(verbose=False)
        deepspeed.utils.set_z3_leaf_modules(model, ["EncoderBlock"])
        self._engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=build_optimizer(model.parameters(), optim, ranks.device),
            config={
                **settings,
                "train_micro_batch_size_per_gpu": 1,  # one pack
                "gradient_accumulation_steps": self.micro_steps,
                "gradient_clipping": optim.max_grad_norm,
            },
        )
        self.model = model
        bf16 = settings.get("bf16", {}).get("enabled", False)
        dtype = torch.bfloat16 if bf16 else torch.float32
        self.backend = model.encoder.choose_backend(ranks.device, dtype)

    def predict(self, batch: PackedBatch) -> Tensor:
        """Logits of the pack's predicted tokens, (M, V), on the rank's device."""
        output = self._engine(
            batch.ids_T,
            batch.cu_seqlens,
            batch.max_seqlen,
            predicted_rows_M=batch.predicted_rows_M,
        )
        return output.logits_TV

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off."""
        self._engine.train(mode)

    def backward(self, loss: Tensor) -> None:
        """Add `loss`'s gradient, summed over ranks, to the step's.

        DeepSpeed divides by the micro-steps and by the ranks; a caller who weights its losses by
        the global count gets exactly the sum, so both are undone here.
        """
        self._engine.backward(loss * (self.micro_steps * self.ranks.world_size))

    def finish_micro_step(self) -> None:
        """Tell the engine that a micro-step ended; the last one of a step updates the weights."""
        self._engine.step()

    def set_lr(self, lr: float) -> None:
        """Learning rate of the next update."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr

    @property
    def grad_norm(self) -> float:
        """Global gradient norm of the last update, before clipping."""
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else math.nan

    def iter_partitions(self) -> Iterator[tuple[str, Partition]]:
        """This rank's slice of every parameter, in the order of ranks the whole of it.

        Slices are of equal size, but for the last ones: they end where the parameter does.
        """
        for name, parameter in self.model.named_parameters():
            slices = [self._local(parameter, key) for key in (None, *MOMENTS)]
            size = len(slices[0])
            numel = parameter.ds_numel  # pyright: ignore[reportAttributeAccessIssue]
            real = min(size, max(0, numel - size * self.ranks.rank))
            yield name, Partition(*(values[:real] for values in slices))

    def restore(self, full: Iterator[tuple[str, Partition]], *, updates: int) -> None:
        """Take over weights and moments, given whole (unsharded) for every parameter by name.

        `updates` is how many the optimizer had made; it drives AdamW's bias correction.
        """
        by_name = dict(self.model.named_parameters())
        for name, values in full:
            parameter = by_name[name]
            state = self._optimizer_state(parameter)
            if "step" not in state:
                flat = self._flat_of(parameter)
                state["step"] = torch.zeros((), dtype=torch.float32, device=flat.device)
                state |= {key: torch.zeros_like(flat) for key in MOMENTS}
            state["step"].fill_(updates)
            for key, value in zip((None, *MOMENTS), values, strict=True):
                local = self._local(parameter, key)
                local.copy_(self._slice(value, len(local)))

    def _slice(self, full: Tensor, size: int) -> Tensor:
        """This rank's `size` elements of a whole tensor, as ZeRO-3 lays them out."""
        flat = full.flatten()
        flat = F.pad(flat, (0, size * self.ranks.world_size - len(flat)))
        return flat[size * self.ranks.rank : size * (self.ranks.rank + 1)]

    # DeepSpeed's `safe_set_full_*` fail where the number of elements is no multiple of the ranks,
    # and its optimizer state is absent before the first update: hence the look at its fp32 groups.
    def _flat_of(self, parameter: torch.nn.Parameter) -> Tensor:
        zero = self._engine.optimizer
        group, _, _ = zero.grad_position[zero.get_param_id(parameter)]
        return zero.fp32_partitioned_groups_flat[group]

    def _optimizer_state(self, parameter: torch.nn.Parameter) -> dict[str, Tensor]:
        return self._engine.optimizer.optimizer.state[self._flat_of(parameter)]

    def _local(self, parameter: torch.nn.Parameter, key: str | None) -> Tensor:
        zero = self._engine.optimizer
        _, offset, size = zero.grad_position[zero.get_param_id(parameter)]
        flat = self._flat_of(parameter)
        source = flat if key is None else self._optimizer_state(parameter)[key]
        return source.detach().narrow(0, offset, size)


def _import_deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for this device; it reads its accelerator and log level at import."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    if device.type == "cpu":
        _find_compiler()
    # A promise of torch to DeepSpeed, printed by every rank at every new collective.
    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)
    try:
        import deepspeed
    except ImportError as error:
        raise ImportError("pretraining needs DeepSpeed: run `make install`") from error
    return deepspeed


def _find_compiler() -> None:
    """On a CPU, DeepSpeed compiles its collectives at first use: say so before it fails."""
    # An environment that was not activated has its ninja beside its python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tool in (os.environ.get("CXX", "g++"), "ninja"):
        if shutil.which(tool) is None:
            raise FileNotFoundError(
                f"no {tool} on PATH: DeepSpeed needs it once, to compile its collectives for CPU "
                "ranks. Install a C++ compiler (Debian: `apt-get install g++`), ninja with "
                "`pip install ninja`"
            )
