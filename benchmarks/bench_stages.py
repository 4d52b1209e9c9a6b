"""Whole optimizer steps under every file of ds_configs, one after the other on the same ranks.

On a GPU `giga` with 32k tokens a rank in bf16; on a CPU a small model in fp32, which shows what the
engine's own work costs and nothing else. Lengths are those of real ncRNAs; every rank has a pack
of its own; dropout is 0. Several ranks: `deepspeed --num_accelerators 2 benchmarks/bench_stages.py`
(with benchmarks/ on PYTHONPATH). On one rank nothing is communicated: only hooks and memory differ.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch
from step_data import StepData, draw_step

from openrinalmo.model.encoder import ENCODER_SIZES, build_encoder_config
from openrinalmo.model.masked_lm import masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.batches import PackedBatch
from openrinalmo.pipeline.pretraining.engine import Engine
from openrinalmo.pipeline.pretraining.engine_execution import ExecutionConfig
from openrinalmo.pipeline.pretraining.engine_settings import (
    find_engine_settings,
    read_engine_settings,
)
from openrinalmo.pipeline.pretraining.optim import OptimConfig
from openrinalmo.pipeline.ranks import Ranks, read_ranks, sum_over_ranks
from rows import append_rows

MIX = "rnacentral"
WARM_UP = 3
SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """What is compared: a file of ds_configs, and how blocks are run."""

    settings: str
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    optimizer: Literal["adamw", "muon"] = "adamw"


PROVIDERS = {
    "zero1": Provider(settings="zero1"),
    "zero3": Provider(settings="zero3"),
    "zero2": Provider(settings="zero2"),
    "zero3_fast": Provider(settings="zero3_fast"),
    "zero3+recompute-2nd": Provider(
        settings="zero3", execution=ExecutionConfig(recompute_every_blocks=2)
    ),
    "zero3+recompute-all": Provider(
        settings="zero3", execution=ExecutionConfig(recompute_every_blocks=1)
    ),
    "zero3+compiled": Provider(settings="zero3", execution=ExecutionConfig(compile="elementwise")),
    "zero3+muon": Provider(settings="zero3", optimizer="muon"),
    "zero3_offload": Provider(settings="zero3_offload"),
}
"""What matters most first, should time run out. `zero3+compiled` has norms and gate from
torch.compile where the others have our kernels."""


def main() -> None:
    """Measure and append rows, each as soon as its provider is done; rank 0 writes."""
    ranks = read_ranks()
    arguments = _parse(is_gpu=ranks.device.type == "cuda")
    data = draw_step(MIX, arguments.tokens, ranks.device, seed=SEED + ranks.rank)
    speeds: dict[str, list[float]] = {name: [] for name in arguments.providers}
    for turn in range(arguments.turns):
        for name in arguments.providers:
            taken, peak_gb = _time_steps(PROVIDERS[name], data, arguments, ranks)
            counted = torch.tensor(float(data.num_tokens), device=ranks.device)
            tokens = float(sum_over_ranks(counted))
            speeds[name] += [tokens / seconds for seconds in taken]
            if turn == arguments.turns - 1 and ranks.is_rank_zero:
                _report(name, speeds[name], peak_gb, arguments, ranks)
    if {"zero1", "zero3"} <= speeds.keys() and ranks.is_rank_zero:
        ratio = np.median(speeds["zero3"]) / np.median(speeds["zero1"])
        sys.stdout.write(f"zero3/zero1 {ratio:.3f}\n")


def _report(
    name: str, speeds: list[float], peak_gb: float, arguments: argparse.Namespace, ranks: Ranks
) -> None:
    case = f"{arguments.size}-{arguments.tokens // 1024}k-{ranks.world_size}-ranks"
    append_rows("stages", case, "useful_tokens_per_second", "1/s", {name: speeds})
    if peak_gb:
        append_rows("stages", case, "peak_memory_gb", "GB", {name: [peak_gb]})
    peak = f"{peak_gb:8.2f} GB" if peak_gb else ""
    sys.stdout.write(f"stages {case} {name:20} {np.median(speeds):12.0f} tokens/s {peak}\n")
    sys.stdout.flush()


def _time_steps(
    provider: Provider, data: StepData, arguments: argparse.Namespace, ranks: Ranks
) -> tuple[list[float], float]:
    """Seconds of each step, and the most memory torch had in use beyond what it began with."""
    is_gpu = ranks.device.type == "cuda"
    before = torch.cuda.memory_allocated() if is_gpu else 0
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
    settings = read_engine_settings(find_engine_settings(provider.settings, ranks.device))
    if not is_gpu:
        settings = {**settings, "bf16": {"enabled": False}, "data_types": {}}
    engine = Engine(
        build_encoder_config(arguments.size, dropout=0.0),
        OptimConfig(name=provider.optimizer),
        settings,
        execution=provider.execution,
        packs_per_step=ranks.world_size,
        ranks=ranks,
        seed=SEED,
    )
    engine.train()
    pack = cast(PackedBatch, data)  # has what `predict` reads
    masked = sum_over_ranks(torch.tensor(float(len(data.labels_M)), device=ranks.device))
    taken = []
    for number in range(WARM_UP + arguments.steps):
        if is_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        engine.backward(masked_lm_loss_sum(engine.predict(pack), data.labels_M) / masked)
        if not engine.finish_step():
            raise FloatingPointError("a gradient is not finite: nothing was updated")
        if is_gpu:
            torch.cuda.synchronize()
        if number >= WARM_UP:
            taken.append(time.perf_counter() - start)
    peak_gb = (torch.cuda.max_memory_allocated() - before) / 1e9 if is_gpu else 0.0
    engine.close()
    if is_gpu:
        torch.cuda.empty_cache()
    return taken, peak_gb


def _parse(*, is_gpu: bool, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", choices=sorted(ENCODER_SIZES), default="giga" if is_gpu else "tiny"
    )
    parser.add_argument("--tokens", type=int, default=32_768 if is_gpu else 2_048, help="a rank")
    parser.add_argument("--steps", type=int, default=6 if is_gpu else 5, help="timed, a turn")
    parser.add_argument("--turns", type=int, default=1 if is_gpu else 3)
    parser.add_argument("--providers", nargs="+", choices=list(PROVIDERS), default=list(PROVIDERS))
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
