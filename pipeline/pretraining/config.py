"""The root of a pretraining run's settings."""

from dataclasses import dataclass, field
from pathlib import Path

from ...model.encoder import EncoderConfig
from .batches import BatchConfig
from .checkpoints.checkpoint_writer import CheckpointConfig
from .engine_execution import ExecutionConfig
from .guards import GuardsConfig
from .masking import MaskingConfig
from .optim import OptimConfig
from .probing.probes import ProbeConfig
from .sampling import SamplingConfig
from .tracking import TrackingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """Everything a run is made of; printed by `--dry-run`, written beside every checkpoint."""

    data: Path = Path("runs/data")
    """Folder `make data` wrote: manifest and shards."""
    out: Path
    """Folder of the run: checkpoints, log, TensorBoard, export."""
    steps: int
    """Optimizer updates in all, those before a resume included."""
    seed: int = 0
    engine: str = "auto"
    """Name of a file in ds_configs/, or a path to a DeepSpeed JSON; `auto` fits the device."""
    model: EncoderConfig
    batches: BatchConfig
    optim: OptimConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    probes: ProbeConfig = field(default_factory=ProbeConfig)
    guards: GuardsConfig = field(default_factory=GuardsConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    verify_data: bool = True
    """Compare every shard with its hash at every start; seconds for 20 GB that are cached."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


FREE_ON_RESUME = (
    *("out", "data", "steps", "engine", "model.attention", "model.kernels"),
    *("batches.workers", "batches.skip_packs", "verify_data"),
    *("checkpoint", "tracking", "probes", "guards", "execution"),
)
"""Settings and groups that may change when a run goes on: where and how it runs, not what."""


def refuse_other_run(stored: dict[str, object], now: dict[str, object], where: Path) -> None:
    """Raise `ValueError` naming the settings in which a resumed run would become another."""
    differing = [
        f"{name} was {stored.get(name)!r} and is now {now.get(name)!r}"
        for name in sorted(stored.keys() | now.keys())
        if stored.get(name) != now.get(name) and not _is_free(name)
    ]
    if differing:
        raise ValueError(
            f"{where} belongs to another run: {'; '.join(differing)}. Give the same settings, or "
            "start a new run with another out="
        )


def _is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in FREE_ON_RESUME)
