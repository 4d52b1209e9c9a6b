"""Fit a base-pair head in any regime: beside a frozen encoder, adapters, or an unfrozen one.

Regime `frozen` is `finetune.fit_head`, whose heads are saved on their own; the others go through
`regimes.fit`, which keeps its state under `fits/` and reads a finished fit back.

Shape suffixes: L nucleotides of one RNA.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....model.encoder import Encoder
from ....model.heads import BasePairHead, base_pair_loss
from ....model.pair_head_linear import LinearPairHead
from ..fitting.finetune import compute_pair_log_odds
from ..fitting.regime_config import RegimeConfig
from ..fitting.regimes import FitLog, fit
from ..fitting.task_model import TaskModel, build_task_model
from ..representations.embed import Representations
from ..representations.row_readers import FrozenRows
from ..structure import build_contact_map
from ..structures.records import StructureRecord

PairHead = BasePairHead | LinearPairHead


class FittedModel(NamedTuple):
    """A head with what it reads, and what its fit looked like."""

    model: TaskModel
    log: FitLog


def fit_pair_model(
    representations: Representations,
    records: Mapping[int, StructureRecord],
    train: Sequence[int],
    config: RegimeConfig,
    *,
    encoder: Encoder | None,
    folder: Path,
    key: str,
    device: torch.device,
    validate: Callable[[TaskModel], float],
) -> FittedModel:
    """Fit a fresh head on the RNAs `train`; the encoder is copied where the regime trains it.

    Without an encoder (one-hot, k-mers) the head alone is fitted, whatever the regime. `validate`
    is asked only where the best weights are to be kept.
    """
    if not train:
        raise ValueError("no RNA to fit the head on: raise fit.max_fit_length_nt")
    head = build_pair_head(representations.embed_dim, config)
    nn.init.constant_(head.output_bias, compute_pair_log_odds(records, train))
    if encoder is not None and config.trains_encoder:
        model = build_task_model(
            head,
            copy.deepcopy(encoder),
            {index: record.sequence for index, record in records.items()},
            config,
            reads="tokens",
            device=device,
            representations=representations,
        )
    else:
        config = replace(config, regime="frozen") if config.trains_encoder else config
        model = TaskModel(head.to(device), FrozenRows(representations, device))
    targets = {index: records[index] for index in train}

    def compute_loss(model: TaskModel, indices: Sequence[int]) -> Tensor:
        logits = predict_logits(model, indices)
        losses = [
            base_pair_loss(logits_LL, _build_target(targets[index], device))
            for index, logits_LL in zip(indices, logits, strict=True)
        ]
        return torch.stack(losses).mean()

    log = fit(
        model,
        train,
        {index: len(record.sequence) for index, record in records.items()},
        compute_loss,
        config,
        folder=folder,
        key=key,
        device=device,
        validate=validate if config.choose == "best-validation" else None,
    )
    return FittedModel(model.eval(), log)


def build_pair_head(embed_dim: int, config: RegimeConfig) -> PairHead:
    """The published head, or the linear one where the regime says so; first weights by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        build = LinearPairHead if config.regime == "linear" else BasePairHead
        return build(embed_dim)


def predict_logits(model: TaskModel, indices: Sequence[int]) -> list[Tensor]:
    """Logits_LL of each RNA of a pack."""
    head = model.head
    assert isinstance(head, PairHead)
    return head.forward_packed(*model.read(indices))


@torch.no_grad()
def predict_model(model: TaskModel, index: int, length_nt: int) -> NDArray[np.floating]:
    """Pair probabilities (L, L) of one RNA; an RNA of one base has no pair to ask about."""
    if length_nt < 2:
        return np.zeros((length_nt, length_nt), np.float32)
    return predict_logits(model, [index])[0].sigmoid().float().cpu().numpy()


def _build_target(record: StructureRecord, device: torch.device) -> Tensor:
    return torch.from_numpy(build_contact_map(record.pairs_P2, len(record.sequence))).to(device)
