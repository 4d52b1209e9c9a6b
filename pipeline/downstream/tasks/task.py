"""The one interface of tasks on whole sequences: data, splits, head, loss, metric.

A new task is one file that implements `SequenceTask` and one test. Base-pair tasks, whose targets
are structures and whose baselines fold, have their own driver (`structure_folds/evaluate.py`).

Shape suffixes: T tokens of a pack, `<cls>` and `<eos>` included, N sequences in it, D embed_dim,
O outputs of the head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..task_report import PublishedScore

Kind = Literal["binary", "multiclass", "regression"]
"""What a task's targets are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One labelled sequence: upper case, U for T."""

    id: str
    sequence: str
    target: float
    """A number to regress, or the index of a class."""
    group: str = ""
    """What no split may straddle: a gene, a family; empty where every sequence is its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Indices of the examples of one fit; every test set of `tests` is scored by the same fit."""

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    tests: Mapping[str, tuple[int, ...]]
    """Test sets by name: species, published sets, slices; they may overlap one another."""
    groups: tuple[str, ...] = ()
    """Group of each example, of all data; empty where the examples' own are all there are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TaskData:
    """What a task read."""

    name: str
    """Of the data: goes into the signature."""
    sources: Mapping[str, str]
    """sha256 of each file by its name."""
    examples: Sequence[Example]
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of the targets."""
    notes: tuple[str, ...] = ()
    """What was left out in reading, and why."""

    @property
    def sha256(self) -> str:
        """Hash of the file, or of the hashes of all."""
        hashes = list(self.sources.values())
        return hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()


class SequenceTask(Protocol):
    """A benchmark whose targets are one number or class a sequence."""

    name: str
    title: str
    kind: Kind
    reads: Literal["cls", "tokens"]
    """What the head needs of the encoder: one row a sequence, or a row a token."""
    primary_metric: str
    published: tuple[PublishedScore, ...]

    def describe_lack(self, data: Path) -> str:
        """Say which files `data` lacks for `read`, without reading; empty where it has them."""
        ...

    def read(self, data: Path | None) -> TaskData:
        """Read the benchmark's files below a folder, or what the embedded sample offers."""
        ...

    def split(self, data: TaskData, *, seed: int) -> list[Split]:
        """Make the splits; a pure function of its arguments."""
        ...

    def build_head(self, embed_dim: int, data: TaskData) -> nn.Module:
        """Build the head; `head(rows_TD, cu_seqlens) -> outputs_NO`.

        Where `reads` is `cls`, rows_TD holds one row a sequence and cu_seqlens is 0, 1, …, N.
        An output must not depend on what else is in the pack.
        """
        ...

    def compute_loss(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the mean loss of a pack's sequences."""
        ...

    def score(
        self, outputs_NO: NDArray[np.floating], targets_N: NDArray[np.floating]
    ) -> dict[str, float]:
        """Return every metric of one test set, by name; called again on bootstrap resamples."""
        ...
