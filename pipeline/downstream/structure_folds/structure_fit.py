"""Fit a base-pair head in any regime: beside a frozen encoder, adapters, or an unfrozen one.

Shape suffixes: L nucleotides of one RNA.
"""

import copy
import math
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
from ..fitting.fit_state import FitLog
from ..fitting.regime_config import RegimeConfig
from ..fitting.regimes import fit
from ..fitting.task_model import TaskModel, build_task_model
from ..representations.embed import Representations
from ..representations.row_readers import FrozenRows
from ..scoring import count_candidates
from ..structure import build_contact_map
from ..structures.records import StructureRecord

PairHead = BasePairHead | LinearPairHead


class FittedModel(NamedTuple):
    """A head with what it reads, and what its fit looked like."""

    model: TaskModel
    log: FitLog


def fit_pair_model(
    representations: Representations | None,
    records: Mapping[int, StructureRecord],
    train: Sequence[int],
    config: RegimeConfig,
    *,
    encoder: Encoder | None,
    folder: Path,
    key: str,
    device: torch.device,
    validate: Callable[[TaskModel], float] | None,
) -> FittedModel:
    """Fit a fresh head on the RNAs `train`; the encoder is copied where the regime trains it.

    `representations` may be left out if the encoder trains from the first step on. `validate` is
    asked only where the best weights are to be kept.
    """
    source = representations if encoder is None else encoder.config
    assert source is not None, "a head reads an encoder or rows"
    head = build_pair_head(source.embed_dim, config)
    # A pair is one of hundreds of candidates: starting there, 64 updates reach F1 0.2 on a held-out
    # family, where the default start reaches 0.05 to 0.1 (5S rRNA of the sample, one-hot).
    nn.init.constant_(head.output_bias, compute_pair_log_odds(records, train))
    model = build_pair_model(head, representations, records, config, encoder=encoder, device=device)
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
        config if model.encoder is not None else _without_encoder(config),
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


def build_pair_model(
    head: PairHead,
    representations: Representations | None,
    records: Mapping[int, StructureRecord],
    config: RegimeConfig,
    *,
    encoder: Encoder | None,
    device: torch.device,
) -> TaskModel:
    """`head` and what it reads: a copy of `encoder` where the regime trains one, else the rows.

    Without an encoder (one-hot, k-mers) the head alone is fitted, whatever the regime.
    """
    if encoder is None or not config.trains_encoder:
        assert representations is not None, "a frozen encoder's rows are computed once"
        return TaskModel(head.to(device), FrozenRows(representations, device))
    return build_task_model(
        head,
        copy.deepcopy(encoder),
        {index: record.sequence for index, record in records.items()},
        config,
        reads="tokens",
        device=device,
        representations=representations,
    )


def list_trained(model: TaskModel) -> dict[str, Tensor]:
    """What of the encoder has been fitted with the head, by name: adapters, or its own weights."""
    if model.encoder is None:
        return {}
    parameters = model.encoder.named_parameters()
    return {name: one.detach() for name, one in parameters if one.requires_grad}


@torch.no_grad()
def restore_trained(encoder: Encoder, trained: Mapping[str, Tensor]) -> None:
    """Put back what `list_trained` gave, into an encoder of the same sizes and adapters."""
    parameters = dict(encoder.named_parameters())
    if missing := sorted(set(trained) - set(parameters)):
        raise ValueError(f"the encoder has no {missing[0]}, which was fitted with the head")
    for name, tensor in trained.items():
        parameters[name].copy_(tensor)
        parameters[name].requires_grad_(True)  # so a head reads the encoder, not rows of before


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


def compute_pair_log_odds(records: Mapping[int, StructureRecord], train: Sequence[int]) -> float:
    """Log-odds that two bases of a training RNA pair: where the output bias begins."""
    num_pairs = sum(len(records[index].pairs_P2) for index in train)
    num_candidates = sum(count_candidates(len(records[index].sequence)) for index in train)
    # One pair more and one less: finite also where no RNA, or every base, is paired.
    return math.log((num_pairs + 1) / (num_candidates - num_pairs + 1))


def _without_encoder(config: RegimeConfig) -> RegimeConfig:
    return replace(config, regime="frozen") if config.trains_encoder else config


def _build_target(record: StructureRecord, device: torch.device) -> Tensor:
    return torch.from_numpy(build_contact_map(record.pairs_P2, len(record.sequence))).to(device)
