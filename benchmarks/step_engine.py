"""A step of the ZeRO engine on one rank: what hooks and optimizer cost, not communication."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from step_data import StepData

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.batches import PackedBatch
from openrinalmo.pipeline.pretraining.engine import Engine
from openrinalmo.pipeline.pretraining.engine_execution import ExecutionConfig
from openrinalmo.pipeline.pretraining.engine_settings import (
    find_engine_settings,
    read_engine_settings,
)
from openrinalmo.pipeline.pretraining.optim import OptimConfig
from openrinalmo.pipeline.ranks import read_ranks


@contextmanager
def open_engine_step(
    settings: str, config: EncoderConfig, device: torch.device, *, seed: int
) -> Iterator[Callable[[StepData], float]]:
    """A step under the named settings, from the weights `seed` draws; its memory is freed after."""
    ranks = replace(read_ranks(), device=device)
    engine = Engine(
        config,
        OptimConfig(),
        read_engine_settings(find_engine_settings(settings, device)),
        execution=ExecutionConfig(),
        packs_per_step=1,
        ranks=ranks,
        seed=seed,
    )
    engine.train()

    def step(data: StepData) -> float:
        pack = _as_pack(data)
        loss = masked_lm_loss_sum(engine.predict(pack), pack.labels_M) / len(pack.labels_M)
        engine.backward(loss)
        if not engine.finish_step():
            raise FloatingPointError("a gradient that is not finite: nothing was updated")
        return loss.item()

    try:
        yield step
    finally:
        _free(engine)


def _free(engine: Engine) -> None:
    """Let go of weights and moments: at stage 3 hooks inside autograd keep the engine alive."""
    zero = engine._zero
    engine._engine.destroy()
    zero.optimizer.state.clear()
    zero.optimizer.param_groups.clear()
    vars(zero).clear()
    for parameter in engine.model.parameters():
        vars(parameter).clear()
        parameter.grad = None
        parameter.data = torch.empty(0)


def _as_pack(data: StepData) -> PackedBatch:
    return PackedBatch(
        ids_T=data.ids_T,
        cu_seqlens=data.cu_seqlens,
        max_seqlen=data.max_seqlen,
        predicted_rows_M=data.predicted_rows_M,
        labels_M=data.labels_M,
        rna_type_ids_M=torch.zeros_like(data.labels_M),
        number=0,
        epoch=0,
        dropout_seed=0,
        num_tokens=data.num_tokens,
        sum_squared_lengths=data.sum_squared_lengths,
    )
