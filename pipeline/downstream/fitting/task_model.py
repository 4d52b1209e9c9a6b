"""A head and what it reads, and which of their parameters train from when on.

Shape suffixes: T rows of a pack, D width of a row, N sequences, O outputs of the head.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....model.encoder import Encoder
from ..representations.embed import Reads, Representations
from ..representations.row_readers import EncoderRows, FrozenRows, PackedRows, RowReader
from .fit_batches import split_packs
from .lora import find_adapters, inject_lora
from .regime_config import RegimeConfig
from .unfreezing import Stage, plan_unfreezing

logger = logging.getLogger(__name__)


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
        self._reader = reader
        self._frozen_reader = frozen_reader

    @property
    def encoder_trains(self) -> bool:
        """Whether any parameter of the encoder takes gradients now."""
        return self.encoder is not None and any(
            parameter.requires_grad for parameter in self.encoder.parameters()
        )

    @property
    def reader(self) -> RowReader:
        """What the head reads now."""
        if self._frozen_reader is None or self.encoder_trains:
            return self._reader
        return self._frozen_reader

    def read(self, indices: Sequence[int]) -> PackedRows:
        """Rows of the sequences `indices`; `.split()` gives those of each."""
        return self.reader(indices)

    def forward(self, indices: Sequence[int]) -> Tensor:
        """Outputs of a head that takes (rows_TD, cu_seqlens)."""
        return self.head(*self.read(indices))

    def train(self, mode: bool = True) -> "TaskModel":
        """Switch dropout: that of the encoder only where something of it trains."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.train(mode and self.encoder_trains)
        return self


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
    `lora` and `full` change the encoder: give each fit its own (`copy.deepcopy`).
    """
    frozen_reader = None if representations is None else FrozenRows(representations, device)
    if frozen_reader is not None and not config.trains_encoder:
        return TaskModel(head.to(device), frozen_reader)
    if config.regime == "lora":
        inject_lora(encoder, config.lora, seed=config.seed)
    else:
        encoder.requires_grad_(False)
    dtype = config.choose_dtype(device)
    reader = EncoderRows(encoder, sequences, reads=reads, device=device, dtype=dtype)
    return TaskModel(head.to(device), reader, encoder=encoder, frozen_reader=frozen_reader).eval()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ParamGroup:
    """Parameters that begin to train together."""

    epoch: int
    lr_ratio: float
    """Their learning rate as a share of the head's."""
    parameters: dict[str, nn.Parameter]
    """By name in the `TaskModel`."""


def build_param_groups(
    model: TaskModel, config: RegimeConfig, *, last_epoch: int
) -> list[ParamGroup]:
    """The head, then what else trains by `last_epoch`, counted from 0, in order of epoch."""
    head = {
        f"head.{name}": parameter
        for name, parameter in model.head.named_parameters()
        if parameter.requires_grad
    }
    groups = [ParamGroup(epoch=0, lr_ratio=1.0, parameters=head)]
    if not config.trains_encoder:
        return groups
    if model.encoder is None:
        raise ValueError(f"regime {config.regime} trains an encoder and the model has none")
    if config.regime == "lora":
        adapters = {f"encoder.{name}": one for name, one in find_adapters(model.encoder).items()}
        if not adapters:
            raise ValueError("regime lora trains adapters and the encoder has none: inject_lora")
        return [*groups, ParamGroup(epoch=0, lr_ratio=1.0, parameters=adapters)]
    stages = plan_unfreezing(config.unfreezing, len(model.encoder.blocks))
    if stages[0].epoch > last_epoch:
        raise ValueError(
            f"regime full unfreezes the encoder after {stages[0].epoch} epochs and the fit ends in "
            f"epoch {last_epoch + 1}: raise epochs or max_steps of the fit, or lower its "
            "unfreezing.every_epochs"
        )
    if late := [stage for stage in stages if stage.epoch > last_epoch]:
        logger.warning(
            "the fit ends in epoch %d, and %d of the %d groups of regime.unfreezing.schedule=%s "
            "never train: the last unfreezes after %d epochs",
            last_epoch + 1,
            len(late),
            len(stages),
            config.unfreezing.schedule,
            late[-1].epoch,
        )
    return groups + [
        ParamGroup(
            epoch=stage.epoch,
            lr_ratio=stage.lr_ratio,
            parameters=_find_stage_parameters(model.encoder, stage),
        )
        for stage in stages
        if stage.epoch <= last_epoch
    ]


def begin_epoch(model: TaskModel, groups: Sequence[ParamGroup], epoch: int) -> None:
    """Let train what does by `epoch`, and nothing else of the model."""
    model.requires_grad_(False)
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(group.epoch <= epoch)


@torch.no_grad()
def predict(
    model: TaskModel,
    indices: Sequence[int],
    lengths: Mapping[int, int],
    *,
    max_tokens_per_pack: int = 8192,
) -> NDArray[np.float32]:
    """Outputs_NO of a head that takes (rows_TD, cu_seqlens), in the order of `indices`."""
    model.eval()
    packs = split_packs(indices, lengths, max_tokens=max_tokens_per_pack)
    return np.concatenate([model(pack).float().cpu().numpy() for pack in packs])


def _find_stage_parameters(encoder: Encoder, stage: Stage) -> dict[str, nn.Parameter]:
    modules: dict[str, nn.Module] = {f"blocks.{i}": encoder.blocks[i] for i in stage.blocks}
    if stage.final_norm:
        modules["final_norm"] = encoder.final_norm
    return {
        f"encoder.{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
    }
