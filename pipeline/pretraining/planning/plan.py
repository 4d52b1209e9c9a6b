"""A run worked out before it is started: memory, speed, time, cost, and which ZeRO stage to take.

Nothing is allocated and no GPU is needed. What is assumed says so.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ....model.encoder import EncoderConfig
from ....model.feed_forward import aligned_width
from ..config import PretrainConfig
from .flops import flops_per_pack
from .length_mix import LengthMix, read_length_mix
from .memory import count_states
from .plan_stages import Machine, StagePlan, find_candidates, plan_stage, suggest_stage
from .speed import Pack, Utilisation, assume_utilisation, find_measured

CORPUS_SEQUENCES, CORPUS_EPOCHS = 36_000_000, 6
"""The published corpus, every sequence of it shown so many times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything `pipeline/plan.py` prints."""

    machine: Machine
    mix: LengthMix
    parameters: int
    """Of the published function."""
    stored_parameters: int
    """With the feed-forward at its aligned width."""
    packs_per_step: int
    micro_steps: int
    tokens_per_step: float
    """Real ones, over all ranks."""
    flops_per_token: float
    utilisation: Utilisation
    recompute_every_blocks: int
    steps: int
    corpus_steps: int
    """Of six epochs of 36 M sequences."""
    stages: tuple[StagePlan, ...]
    suggested: StagePlan | None
    reason: str
    warnings: tuple[str, ...]

    def cost(self, seconds: float) -> float | None:
        """Price of that many seconds on all GPUs, in the currency of the price."""
        price = self.machine.price_per_gpu_hour
        return None if price is None else price * self.machine.ranks * seconds / 3600

    def as_json(self) -> dict[str, Any]:
        """Every figure, with the time and cost of the suggested stage."""
        content = asdict(self)
        for stage, plain in zip(self.stages, content["stages"], strict=True):
            plain["memory"] = {**stage.memory._asdict(), "peak": stage.memory.peak}
        content["suggested"] = self.suggested.name if self.suggested else None
        content["utilisation"] = self.utilisation._asdict()
        content["mix"] = self.mix._asdict()
        if self.suggested:
            for name, steps in (("run", self.steps), ("corpus", self.corpus_steps)):
                seconds = steps * self.suggested.step_seconds
                content[f"{name}_seconds"] = seconds
                content[f"{name}_cost"] = self.cost(seconds)
        return content


def build_plan(
    config: PretrainConfig,
    machine: Machine,
    *,
    preset: str,
    recompute_every_blocks: int = 0,
    results: Path | None = None,
) -> Plan:
    """Work out `config` on `machine`; speeds are from `results` where they were measured."""
    model, batches = config.model, config.batches
    mix = read_length_mix(config.data, config.sampling)
    fill = mix.fill_rate(batches.micro_batch_tokens)
    pack = _average_pack(batches.micro_batch_tokens * fill, mix, config.masking.mask_ratio)
    micro_steps = -(-batches.packs_per_step // machine.ranks)
    flops = flops_per_pack(model, *pack)

    utilisation = results and find_measured(results, machine.gpu, preset)
    if not utilisation:
        utilisation = assume_utilisation(
            model, pack, machine.gpu, recompute_every_blocks=recompute_every_blocks
        )
    pack_seconds = flops / (utilisation.mfu * machine.gpu.peak_flops)
    tokens_per_step = pack.num_tokens * batches.packs_per_step
    stages = tuple(
        plan_stage(
            path,
            config,
            machine,
            pack,
            pack_seconds=pack_seconds,
            is_measured=utilisation.is_measured,
            recompute_every_blocks=recompute_every_blocks,
        )
        for path in find_candidates(config.engine)
    )
    suggested, reason = suggest_stage(stages, batches.micro_batch_tokens)
    stored = count_states(model, config.optim, {}).parameters
    return Plan(
        machine=machine,
        mix=mix,
        parameters=stored - _count_padding(model),
        stored_parameters=stored,
        packs_per_step=batches.packs_per_step,
        micro_steps=micro_steps,
        tokens_per_step=tokens_per_step,
        flops_per_token=flops / pack.num_tokens,
        utilisation=utilisation,
        recompute_every_blocks=recompute_every_blocks,
        steps=config.steps,
        corpus_steps=round(
            CORPUS_SEQUENCES * CORPUS_EPOCHS * mix.tokens_per_sequence / tokens_per_step
        ),
        stages=stages,
        suggested=suggested,
        reason=reason,
        warnings=tuple(_iter_warnings(config, machine, micro_steps, utilisation, mix)),
    )


def _average_pack(num_tokens: float, mix: LengthMix, mask_ratio: float) -> Pack:
    return Pack(
        num_tokens=round(num_tokens),
        sum_squared_lengths=round(num_tokens * mix.context_per_token),
        num_predicted=round(num_tokens * mask_ratio),
    )


def _count_padding(config: EncoderConfig) -> int:
    """Stored parameters that the published function does not have."""
    neurons = aligned_width(config.published_ffn_dim) - config.published_ffn_dim
    return config.num_blocks * neurons * (3 * config.embed_dim + 2)


def _iter_warnings(
    config: PretrainConfig,
    machine: Machine,
    micro_steps: int,
    utilisation: Utilisation,
    mix: LengthMix,
) -> Iterator[str]:
    packs, ranks = config.batches.packs_per_step, machine.ranks
    slots, batches = micro_steps * ranks, config.batches
    if slots > packs:
        cures = [f"batches.global_batch_tokens={slots * batches.micro_batch_tokens}"]
        if batches.global_batch_tokens % slots == 0:
            cures.append(f"batches.micro_batch_tokens={batches.global_batch_tokens // slots}")
        yield (
            f"{packs} packs a step on {ranks} ranks: {1 - packs / slots:.0%} of the computing "
            f"repeats a pack with no weight; give {' or '.join(cures)}"
        )
    if mix.sequences is None:
        yield f"no prepared data in {config.data}: lengths are {mix.source}"
    if not utilisation.is_measured:
        yield "speeds are assumed, not measured on this GPU; small models may be far slower"
