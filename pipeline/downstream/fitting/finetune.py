"""Fit the base-pair head on frozen representations.

Shape suffixes: L nucleotides of one RNA, D embed_dim.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ....model.heads import BasePairHead, base_pair_loss
from ..representations.embed import Representations
from ..structure import build_contact_map
from ..structures.records import StructureRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How long and on what a head is fitted."""

    head_steps: int = 2000
    """Optimizer updates."""
    rnas_per_step: int = 1
    """RNAs whose losses are averaged in one update; published: 1."""
    peak_lr: float = 5e-4
    final_lr_ratio: float = 0.1
    """The learning rate falls linearly to this share of `peak_lr` at the last step."""
    max_fit_sequences: int = 0
    """Training RNAs per fold, drawn evenly from the families; 0 takes all."""
    max_validation_sequences: int = 0
    """Validation RNAs per fold, drawn evenly from the families; 0 takes all."""
    max_fit_length_nt: int = 512
    """Longer RNAs are neither trained on nor validated on: cost grows with the square."""
    seed: int = 0
    """Decides the head's first weights and the order of the RNAs."""

    def __post_init__(self) -> None:
        for name in ("head_steps", "rnas_per_step", "max_fit_length_nt"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit.{name} must be positive, got {getattr(self, name)}")
        for name in ("max_fit_sequences", "max_validation_sequences"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"fit.{name} must be positive, or 0 for all, got {getattr(self, name)}"
                )
        if self.peak_lr <= 0:
            raise ValueError(f"fit.peak_lr must be positive, got {self.peak_lr}")
        if not 0 < self.final_lr_ratio <= 1:
            raise ValueError(f"fit.final_lr_ratio must be in (0, 1], got {self.final_lr_ratio}")


class FittedHead(NamedTuple):
    """A head, and what its fit looked like."""

    head: BasePairHead
    losses: list[float]
    """Mean loss of each step."""
    seconds: float


def fit_head(
    representations: Representations,
    records: Mapping[int, StructureRecord],
    train: Sequence[int],
    config: FitConfig,
    *,
    device: torch.device,
) -> FittedHead:
    """Fit a fresh head on the RNAs `train`, with Adam and a linear decay as published.

    A function of its arguments: no global random state is used or changed.
    """
    if not train:
        raise ValueError("no RNA to fit the head on: raise fit.max_fit_length_nt")
    start = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = BasePairHead(representations.embed_dim).to(device)
    # A pair is one of hundreds of candidates: starting there, 64 updates reach F1 0.2 on a held-out
    # family, where the default start reaches 0.05 to 0.1 (5S rRNA of the sample, one-hot).
    nn.init.constant_(head.output_bias, compute_pair_log_odds(records, train))
    optimizer = torch.optim.Adam(head.parameters(), lr=config.peak_lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, config.final_lr_ratio, total_iters=config.head_steps
    )
    order = _iter_shuffled(train, config.seed)
    losses: list[float] = []
    for _ in range(config.head_steps):
        step_loss = 0.0
        for _ in range(config.rnas_per_step):
            index = next(order)
            loss = compute_loss(head, representations.load(index, device), records[index])
            (loss / config.rnas_per_step).backward()
            step_loss += loss.item() / config.rnas_per_step
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        losses.append(step_loss)
    return FittedHead(head.eval(), losses, time.monotonic() - start)


def compute_loss(head: BasePairHead, representation_LD: Tensor, record: StructureRecord) -> Tensor:
    """The published loss of one RNA."""
    contact_map_LL = torch.from_numpy(build_contact_map(record.pairs_P2, len(record.sequence)))
    return base_pair_loss(head(representation_LD), contact_map_LL.to(representation_LD.device))


def compute_pair_log_odds(records: Mapping[int, StructureRecord], train: Sequence[int]) -> float:
    """Log-odds that two bases of a training RNA pair: where the output bias begins."""
    num_pairs = sum(len(records[index].pairs_P2) for index in train)
    lengths = [len(records[index].sequence) for index in train]
    num_candidates = sum(length * (length - 1) // 2 for length in lengths)
    # One pair more and one less: finite also where no RNA, or every base, is paired.
    return math.log((num_pairs + 1) / (num_candidates - num_pairs + 1))


def _iter_shuffled(indices: Sequence[int], seed: int) -> Iterator[int]:
    """The indices again and again, in a new order each epoch."""
    generator = np.random.default_rng(seed)
    while True:
        yield from generator.permutation(np.asarray(indices)).tolist()
