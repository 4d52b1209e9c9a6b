"""Where a fit stands: weights, optimizer, losses; put into a snapshot and taken from one."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .snapshots import FINISHED, read_snapshot, select_prefix, write_snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class FitLog:
    """What a fit looked like."""

    losses: tuple[float, ...]
    """Mean loss over the examples of each step."""
    validation: tuple[tuple[int, float], ...]
    """(steps done, what `validate` returned)."""
    step: int
    """Steps that the kept weights have seen."""
    num_trained: int
    """Parameters that trained in the end, head included."""
    seconds: float
    """Of all runs, if it was resumed."""

    @property
    def first_loss(self) -> float:
        """Mean loss of the first tenth of the fit, of one step at least."""
        return float(np.mean(self.losses[: self._tenth]))

    @property
    def last_loss(self) -> float:
        """Mean loss of its last tenth."""
        return float(np.mean(self.losses[-self._tenth :]))

    @property
    def _tenth(self) -> int:
        return max(len(self.losses) // 10, 1)


class FitState:
    """Everything that changes during a fit.

    `parameters` are those the optimizer has, in its order. Of the head everything is kept, buffers
    too; of the encoder what trains sooner or later.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        *,
        head: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.optimizer = optimizer
        self.names = list(parameters)
        self.weights: dict[str, Tensor] = {
            f"head.{name}": tensor for name, tensor in head.state_dict().items()
        }
        """By name; they share memory with what trains."""
        self.weights |= {
            name: parameter.detach()
            for name, parameter in parameters.items()
            if not name.startswith("head.")
        }
        self.num_trained = sum(parameter.numel() for parameter in parameters.values())
        self.step = 0
        self.kept_step = 0
        self.validation: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}
        self.is_finished = False
        self._losses: list[float] = []
        self._fresh_losses: list[Tensor] = []
        self._seconds_before = 0.0
        self._started = self._saved = time.monotonic()

    def add_loss(self, loss: Tensor) -> None:
        """Note the loss of a step; read later, so that a GPU need not be waited for."""
        self._fresh_losses.append(loss)
        self.step += 1

    def read_losses(self) -> list[float]:
        """Losses of all steps until now; one that is no number ends the fit."""
        if self._fresh_losses:
            fresh = torch.stack(self._fresh_losses).tolist()
            self._fresh_losses.clear()
            for loss in fresh:
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the loss of step {len(self._losses)} is {loss}: lower the fit's peak_lr, "
                        "or set its precision=fp32"
                    )
                self._losses.append(loss)
        return self._losses

    def add_validation(self, value: float, *, keeps_best: bool) -> None:
        """Note a validation; the weights of the best are kept aside, the first among equals."""
        if keeps_best and all(value > earlier for _, earlier in self.validation):
            self.best = {name: tensor.cpu().clone() for name, tensor in self.weights.items()}
            self.kept_step = self.step
        self.validation.append((self.step, value))

    def is_due(self, *, steps: int, seconds: float) -> bool:
        """Whether it is time to save: every so many steps, or seconds after the last time."""
        by_steps = bool(steps) and self.step % steps == 0
        return by_steps or time.monotonic() - self._saved >= seconds

    def save(self) -> None:
        """Write where the fit stands."""
        tensors = {f"weights/{name}": tensor for name, tensor in self.weights.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for number, slots in self.optimizer.state_dict()["state"].items():
            for slot, tensor in slots.items():
                tensors[f"optimizer/{self.names[number]}/{slot}"] = tensor
        write_snapshot(self.folder, str(self.step), tensors, self._describe())
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Take the best weights, if any were kept aside, and write the result alone."""
        if self.best:
            _copy(self.best, self.weights)
        else:
            self.kept_step = self.step
        self._seconds_before, self.is_finished = self._count_seconds(), True
        tensors = {f"weights/{name}": tensor for name, tensor in self.weights.items()}
        write_snapshot(self.folder, FINISHED, tensors, self._describe())

    def resume(self) -> None:
        """Take up what was saved, if there is anything."""
        snapshot = read_snapshot(self.folder)
        if snapshot is None:
            return
        if snapshot.facts["identity"] != self.identity:
            raise ValueError(
                f"{self.folder} holds a fit with other settings, examples or first weights; give "
                "it another key, or delete the folder"
            )
        _copy(select_prefix(snapshot.tensors, "weights/"), self.weights)
        self.best = select_prefix(snapshot.tensors, "best/")
        self._load_optimizer(select_prefix(snapshot.tensors, "optimizer/"))
        facts = snapshot.facts
        self.step, self.kept_step = facts["step"], facts["kept_step"]
        self.validation = [(step, value) for step, value in facts["validation"]]
        self._losses = facts["losses"]
        self._seconds_before = facts["seconds"]
        self.is_finished = snapshot.is_finished

    def build_log(self) -> FitLog:
        """What the fit looked like."""
        return FitLog(
            losses=tuple(self.read_losses()),
            validation=tuple(self.validation),
            step=self.kept_step,
            num_trained=self.num_trained,
            seconds=self._count_seconds(),
        )

    def _describe(self) -> dict[str, object]:
        return {
            "identity": self.identity,
            "step": self.step,
            "kept_step": self.kept_step,
            "validation": self.validation,
            "losses": self.read_losses(),
            "seconds": self._count_seconds(),
        }

    def _count_seconds(self) -> float:
        if self.is_finished:
            return self._seconds_before
        return self._seconds_before + time.monotonic() - self._started

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        number_of = {name: number for number, name in enumerate(self.names)}
        for key, tensor in tensors.items():
            name, _, slot = key.rpartition("/")
            state.setdefault(number_of[name], {})[slot] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
