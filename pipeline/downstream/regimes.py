"""Fit a head, and as much of the encoder as the regime says, on any task: one loop for all.

`frozen` trains the head alone; `linear` does the same and says that the head is one linear map;
`lora` trains adapters beside it; `full` trains the encoder's own weights, unfrozen gradually.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ...model.encoder import Encoder
from .embed import Representations
from .lora import LoraConfig
from .row_readers import PackedRows, Reads, RowReader
from .unfreezing import Stage, UnfreezingConfig

Regime = Literal["frozen", "linear", "lora", "full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegimeConfig:
    """What trains, how long, on what batches; the defaults are those of published structure."""

    regime: Regime = "frozen"
    epochs: int = 10
    """Passes over the training examples."""
    max_steps: int = 0
    """Optimizer updates after which the fit ends even if epochs are left; 0 is no limit."""
    batch_sequences: int = 1
    """Examples of one update; published: 1 structure, 64 (ribosome load, families)."""
    batch_tokens: int = 0
    """Tokens, with `<cls>` and `<eos>`, at which an update's batch is full earlier; 0: no limit."""
    max_tokens_per_pack: int = 8192
    """Tokens that go through encoder and head at once; a larger batch accumulates gradients."""
    optimizer: Literal["adam", "adamw"] = "adam"
    peak_lr: float = 5e-4
    weight_decay: float = 0.0
    """Of `adamw`; published: 1e-6 for splice sites, 0.01 for families."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    final_lr_ratio: float = 0.1
    """`linear` falls to this share of `peak_lr` and stays there."""
    decay_steps: int = 0
    """Updates until there; 0 is the length of the fit. Published: 7000 (structure), 5000 (ribosome
    load)."""
    max_grad_norm: float = 0.0
    """Gradients are scaled down to this norm; 0 leaves them, as published."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What the encoder computes in; auto is bf16 on a GPU. Head and stored weights are fp32."""
    choose: Literal["last", "best-validation"] = "last"
    """Which weights are kept; published: the last."""
    validate_every_epochs: int = 1
    seed: int = 0
    """Decides the order of examples, dropout, and what adapters begin as."""
    save_every_steps: int = 0
    """Updates between saved states; 0 goes by time alone."""
    save_every_seconds: float = 300.0
    lora: LoraConfig = field(default_factory=LoraConfig)
    unfreezing: UnfreezingConfig = field(default_factory=UnfreezingConfig)


class TaskModel(nn.Module):
    """A head and what it reads: rows computed once, or an encoder's, whichever is right now."""

    def __init__(
        self,
        head: nn.Module,
        reader: RowReader,
        *,
        encoder: Encoder | None = None,
        frozen_reader: RowReader | None = None,
    ) -> None:
        """`frozen_reader` is read instead of `reader` while nothing of `encoder` trains."""
        super().__init__()
        self.head = head
        self.encoder = encoder

    @property
    def reader(self) -> RowReader:
        """What the head reads now."""
        raise NotImplementedError

    def read(self, indices: Sequence[int]) -> PackedRows:
        """Rows of the sequences `indices`; `.split()` gives those of each."""
        return self.reader(indices)

    def forward(self, indices: Sequence[int]) -> Tensor:
        """Outputs of a head that takes (rows_TD, cu_seqlens)."""
        return self.head(*self.read(indices))


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


def build_task_model(
    head: nn.Module,
    encoder: Encoder,
    sequences: Mapping[int, str] | Sequence[str],
    config: RegimeConfig,
    *,
    reads: Reads,
    device: torch.device,
    representations: Representations | None = None,
) -> TaskModel:
    """A model for the regime on `device`; lora gets its adapters here.

    `representations`, the same rows computed once, serve all phases in which only the head trains.
    The encoder is changed by `lora` and `full`: give each fit its own (`copy.deepcopy`).
    """
    raise NotImplementedError


def build_param_groups(
    model: TaskModel, stages: Sequence[Stage], config: RegimeConfig
) -> list[dict[str, object]]:
    """Groups for the optimizer: the head, then what each stage unfreezes, with `lr_ratio`."""
    raise NotImplementedError


def fit(
    model: TaskModel,
    train: Sequence[int],
    lengths: Mapping[int, int],
    compute_loss: Callable[[TaskModel, Sequence[int]], Tensor],
    config: RegimeConfig,
    *,
    folder: Path,
    key: str,
    device: torch.device,
    validate: Callable[[TaskModel], float] | None = None,
) -> FitLog:
    """Fit `model` in place on the examples `train`; deterministic, resumable, any task.

    `compute_loss(model, indices)` is the mean loss over the examples `indices`, a pack of at most
    `max_tokens_per_pack` tokens (a longer example is a pack of its own). `lengths` are nucleotides
    by index. `validate` returns a number, higher is better; it sees the model in `eval` mode
    without gradients. State is kept under `folder/key`: a killed fit goes on from there, and a
    finished one is read back without training, so `key` must change with all that decides the
    numbers (data, encoder, head's first weights, task). No global random state is used or changed.
    """
    raise NotImplementedError
