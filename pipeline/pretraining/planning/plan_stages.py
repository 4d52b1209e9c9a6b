"""Each file of ds_configs on given machines: does it fit, how fast is it, which one to take."""

from dataclasses import dataclass
from pathlib import Path

from ....ds_configs import FOLDER
from ..config import PretrainConfig
from ..engine_settings import read_engine_settings, uses_bf16, zero_stage
from .hardware import Gpu
from .memory import USABLE_SHARE, Memory, count_states, largest_pack, plan_memory
from .speed import (
    Pack,
    count_traffic,
    offloaded_update_seconds,
    step_seconds,
    update_seconds,
)

_LINK_SHARE = 0.8
"""Of a link's figure, assumed for collectives of tens of megabytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a run would be given."""

    gpu: Gpu
    ranks: int
    ranks_per_node: int = 8
    network_gbit_per_gpu: float = 400.0
    """Between machines, each way, a GPU's share of it."""
    price_per_gpu_hour: float | None = None

    def __post_init__(self) -> None:
        if self.ranks < 1 or self.ranks_per_node < 1:
            raise ValueError(
                f"--ranks and --ranks-per-node must be positive, got {self.ranks} and "
                f"{self.ranks_per_node}"
            )
        if self.ranks > self.ranks_per_node and self.ranks % self.ranks_per_node:
            raise ValueError(
                f"--ranks {self.ranks} must fill machines of --ranks-per-node {self.ranks_per_node}"
            )
        if self.network_gbit_per_gpu <= 0 or (self.price_per_gpu_hour or 0) < 0:
            raise ValueError(
                "--network-gbit must be positive and --price-per-gpu-hour not negative, got "
                f"{self.network_gbit_per_gpu} and {self.price_per_gpu_hour}"
            )

    @property
    def nodes(self) -> int:
        """Machines."""
        return -(-self.ranks // self.ranks_per_node)

    @property
    def link(self) -> float:
        """Bytes a second of the slowest link a ring of all ranks goes through, each way."""
        network = self.network_gbit_per_gpu * 1e9 / 8
        inside = self.gpu.link_bytes_per_second
        return inside if self.nodes == 1 else min(inside, network)

    @property
    def collective_bytes_per_second(self) -> float:
        """What of that link is assumed to be left for collectives of tens of megabytes."""
        return _LINK_SHARE * self.link


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """One file of ds_configs on this machine."""

    name: str
    stage: int
    memory: Memory
    fits: bool
    largest_pack_tokens: int
    """Largest micro_batch_tokens that fits, in steps of 1,024; 0 if none does."""
    sent_bytes: int
    """By a rank in a step."""
    sent_seconds: float
    """If nothing of it were hidden behind computing."""
    step_seconds: float
    tokens_per_second: float


def find_candidates(engine: str) -> list[Path]:
    """The settings to compare: those of ds_configs for a GPU, and the run's own where it has any.

    `auto`, and names, are among the former.
    """
    shipped = [
        path for path in sorted(FOLDER.glob("*.json")) if uses_bf16(read_engine_settings(path))
    ]
    return [*shipped, Path(engine)] if engine.endswith(".json") else shipped


def plan_stage(
    path: Path,
    config: PretrainConfig,
    machine: Machine,
    pack: Pack,
    *,
    pack_seconds: float,
    is_measured: bool,
    recompute_every_blocks: int,
) -> StagePlan:
    """One file's memory and speed. A measured pack time has the update in it."""
    settings = read_engine_settings(path)
    batches = config.batches
    micro_steps = -(-batches.packs_per_step // machine.ranks)
    memory = plan_memory(
        config.model,
        config.optim,
        settings,
        pack_tokens=batches.micro_batch_tokens,
        num_predicted=round(batches.micro_batch_tokens * config.masking.mask_ratio),
        world_size=machine.ranks,
        recompute_every_blocks=recompute_every_blocks,
    )
    sizes = count_states(config.model, config.optim, settings)
    traffic = count_traffic(
        settings,
        parameters=sizes.parameters,
        persistent=sizes.persistent,
        micro_steps=micro_steps,
        world_size=machine.ranks,
    )
    update = update_seconds(sizes.parameters, machine.gpu, world_size=machine.ranks)
    if memory.host:
        update += offloaded_update_seconds(sizes.parameters, machine.ranks)
    seconds = step_seconds(
        pack_seconds,
        traffic,
        micro_steps=micro_steps,
        bytes_per_second=machine.collective_bytes_per_second,
        update=0 if is_measured and not memory.host else update,
    )
    available = int(USABLE_SHARE * machine.gpu.memory_bytes)
    return StagePlan(
        name=path.stem,
        stage=zero_stage(settings),
        memory=memory,
        fits=memory.peak <= available,
        largest_pack_tokens=largest_pack(memory, batches.micro_batch_tokens, available),
        sent_bytes=sum(traffic),
        sent_seconds=sum(traffic) / machine.collective_bytes_per_second,
        step_seconds=seconds,
        tokens_per_second=pack.num_tokens * batches.packs_per_step / seconds,
    )


def suggest_stage(
    stages: tuple[StagePlan, ...], micro_batch_tokens: int
) -> tuple[StagePlan | None, str]:
    """The fastest that fits; of those within 2 % of it, the one that sends least.

    Among equals the lowest stage: its hooks cost least, which no figure here has.
    """
    fitting = [stage for stage in stages if stage.fits]
    if not fitting:
        largest = max(stage.largest_pack_tokens for stage in stages)
        cure = (
            f"lower batches.micro_batch_tokens from {micro_batch_tokens:,} to {largest:,} or less"
            if largest
            else "take more GPUs, or GPUs with more memory"
        )
        return None, f"nothing fits: {cure}, or set execution.recompute_every_blocks"
    fastest = min(stage.step_seconds for stage in fitting)
    close = [stage for stage in fitting if stage.step_seconds <= 1.02 * fastest]
    best = min(close, key=lambda stage: (round(stage.sent_bytes, -8), stage.stage))
    others = ", ".join(stage.name for stage in close if stage is not best)
    reason = (
        f"of those that fit, it sends least among the fastest ({others or 'no other'} within 2 %)"
    )
    return best, reason
