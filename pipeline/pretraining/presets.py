"""Named runs, as functions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...model.encoder import build_encoder_config
from .batches import BatchConfig
from .checkpoints.checkpoint_writer import CheckpointConfig
from .config import PretrainConfig
from .optim import OptimConfig
from .probing.probes import ProbeConfig
from .tracking import TrackingConfig

STEPS_PER_RECIPE = 76_000
"""Six epochs of 17 M clusters in batches of 1,344 sequences."""


def tiny() -> PretrainConfig:
    """Under a million parameters: minutes on two CPU cores."""
    return PretrainConfig(
        out=Path("runs/tiny"),
        steps=800,
        model=build_encoder_config("tiny", dropout=0.0),
        batches=BatchConfig(micro_batch_tokens=2_048, global_batch_tokens=4_096),
        optim=OptimConfig(peak_lr=4e-3, min_lr=2e-4, warmup_steps=40, decay_steps=760, beta2=0.98),
        checkpoint=CheckpointConfig(every_steps=400, keep_last=2),
        tracking=TrackingConfig(log_every=50, validate_every=200),
        probes=ProbeConfig(jacobian_rnas_per_family=1),
    )


def nano() -> PretrainConfig:
    """7.5 M parameters, published recipe."""
    return _published("nano", peak_lr=1e-4)


def micro() -> PretrainConfig:
    """33 M parameters, published recipe."""
    return _published("micro", peak_lr=1e-4)


def mega() -> PretrainConfig:
    """148 M parameters, published recipe."""
    return _published("mega", peak_lr=1e-4)


def giga() -> PretrainConfig:
    """651 M parameters, published recipe."""
    return _published("giga", peak_lr=5e-5)


def giga_muon() -> PretrainConfig:
    """`giga` with Muon for the matrices inside blocks."""
    config = giga()
    return replace(config, out=Path("runs/giga_muon"), optim=replace(config.optim, name="muon"))


PRESETS: dict[str, Callable[[], PretrainConfig]] = {
    "tiny": tiny,
    "nano": nano,
    "micro": micro,
    "mega": mega,
    "giga": giga,
    "giga_muon": giga_muon,
}


def _published(size: str, *, peak_lr: float) -> PretrainConfig:
    """The paper's recipe, its 1,344 sequences a batch as tokens: 488 a sequence on average."""
    return PretrainConfig(
        out=Path("runs") / size,
        steps=STEPS_PER_RECIPE,
        model=build_encoder_config(size, dropout=0.1),
        batches=BatchConfig(micro_batch_tokens=40_960, global_batch_tokens=655_360),
        optim=OptimConfig(peak_lr=peak_lr),
    )
