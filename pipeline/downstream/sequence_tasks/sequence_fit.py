"""One system on one split: fit it, and put out what it says of every test set.

Shape suffixes: N sequences, O outputs, F features.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.encoder import Encoder
from ..fitting.regime_config import RegimeConfig
from ..fitting.regimes import fit
from ..fitting.task_model import TaskModel, build_task_model, predict
from ..representations.embed import Reads, Representations
from ..representations.row_readers import FrozenRows
from ..tasks.task import SequenceTask, Split, TaskData
from .linear_probe import fit_linear

PROBED: Reads = "mean"
"""What a linear map reads of an encoder: the mean over nucleotides."""


class EvaluatedTask(SequenceTask, Protocol):
    """A task on whole sequences with what its evaluation needs besides."""

    published_fit: RegimeConfig
    """How the reference fits head and encoder together."""

    @property
    def encode_one_hot(self) -> Callable[[Sequence[str]], NDArray[np.float32]] | None:
        """Features_NF of the letters for a linear map; None where the head is to read them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """Outputs_NO of each test set, and numbers of the fit."""

    outputs: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Targets in units of the training targets' spread; classes stay as they are."""

    mean: float
    scale: float

    def apply(self, targets_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is fitted."""
        return (targets_N - self.mean) / self.scale

    def undo(self, outputs_NO: NDArray) -> NDArray:
        """Numbers in the targets' units."""
        return outputs_NO * self.scale + self.mean


def read_targets(data: TaskData, indices: Sequence[int]) -> NDArray[np.float64]:
    """Targets_N of some examples."""
    return np.array([data.examples[index].target for index in indices], np.float64)


def build_scaling(task: SequenceTask, data: TaskData, split: Split) -> Scaling:
    """Mean and spread of the training targets, of a regression."""
    if task.kind != "regression":
        return Scaling(mean=0.0, scale=1.0)
    targets_N = read_targets(data, split.train)
    if targets_N.std() == 0:
        raise ValueError(f"all training targets of {task.name} are {targets_N[0]:g}")
    return Scaling(mean=float(targets_N.mean()), scale=float(targets_N.std()))


def fit_probe(
    task: SequenceTask, data: TaskData, split: Split, features: Mapping[int, NDArray]
) -> Fitted:
    """The best linear map of fixed features; `features` are by index of the example."""
    start = time.monotonic()
    scaling = build_scaling(task, data, split)

    def gather(indices: Sequence[int]) -> tuple[NDArray, NDArray]:
        return (
            np.stack([features[index] for index in indices]),
            scaling.apply(read_targets(data, indices)),
        )

    linear = fit_linear(
        gather(split.train),
        gather(split.validation),
        task.kind,
        num_classes=len(data.classes),
    )
    outputs = {
        name: scaling.undo(linear.predict(gather(test)[0])).astype(np.float32)
        for name, test in split.tests.items()
    }
    facts = {
        "penalty": linear.penalty,
        "validation_loss": linear.validation_loss,
        "seconds": time.monotonic() - start,
    }
    return Fitted(outputs=outputs, facts=facts)


def fit_head(
    task: SequenceTask,
    data: TaskData,
    split: Split,
    config: RegimeConfig,
    *,
    encoder: Encoder | None,
    representations: Representations | None,
    seed: int,
    folder: Path,
    key: str,
    device: torch.device,
) -> Fitted:
    """Fit the task's head, on `representations`, or on a copy of `encoder` that trains with it."""
    lengths = {index: len(data.examples[index].sequence) for index in list_indices(split)}
    scaling = build_scaling(task, data, split)
    width = encoder.config.embed_dim if encoder is not None else None
    if representations is not None:
        width = representations.embed_dim
    assert width is not None, "a head reads an encoder or rows"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = task.build_head(width, data).to(device)
    if config.regime == "frozen":
        assert representations is not None, "a frozen encoder's rows are computed once"
        model = TaskModel(head, FrozenRows(representations, device))
    else:
        assert encoder is not None, "an encoder that trains is given"
        sequences = {index: data.examples[index].sequence for index in lengths}
        model = build_task_model(
            head,
            copy.deepcopy(encoder),
            sequences,
            config,
            reads=choose_reads(task),
            device=device,
        )

    def compute_loss(model: TaskModel, indices: Sequence[int]) -> Tensor:
        targets_N = scaling.apply(read_targets(data, indices)).astype(np.float32)
        return task.compute_loss(model(indices), torch.from_numpy(targets_N).to(device))

    def put_out(indices: Sequence[int]) -> NDArray[np.float32]:
        outputs_NO = predict(
            model, indices, lengths, max_tokens_per_pack=config.max_tokens_per_pack
        )
        return scaling.undo(outputs_NO).astype(np.float32)

    def validate(_: TaskModel) -> float:
        scores = task.score(put_out(split.validation), read_targets(data, split.validation))
        return scores[task.primary_metric]

    log = fit(
        model,
        split.train,
        lengths,
        compute_loss,
        config,
        folder=folder,
        key=key,
        device=device,
        validate=validate if config.choose == "best-validation" else None,
    )
    outputs = {name: put_out(test) for name, test in split.tests.items()}
    facts = {
        "first_loss": log.first_loss,
        "last_loss": log.last_loss,
        "steps": float(log.step),
        "num_trained": float(log.num_trained),
        "seconds": log.seconds,
    }
    return Fitted(outputs=outputs, facts=facts)


def choose_reads(task: SequenceTask) -> Reads:
    """Rows the task's head reads: that of `<cls>`, or those of all tokens, specials included."""
    return "cls" if task.reads == "cls" else "specials"


def list_indices(split: Split) -> list[int]:
    """Every example of a split, once, in order."""
    tested = (index for test in split.tests.values() for index in test)
    return sorted({*split.train, *split.validation, *tested})
