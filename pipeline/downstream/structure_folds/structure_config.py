"""Settings of the tasks that ask for base pairs; each task has its presets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..fitting.finetune import FitConfig
from ..fitting.regime_config import RegimeConfig
from ..representations.embed import EmbedConfig
from ..scores.bootstrap import BootstrapConfig
from ..structure import DecoderConfig

SystemName = Literal[
    "pretrained",
    "random",
    "one-hot",
    "k-mer",
    "viennarna",
    "linearpartition",
    "eternafold",
    "contrafold",
    "squarna",
    "squarna-fast",
]
LABELS: dict[str, str] = {
    "pretrained": "pretrained",
    "random": "random encoder",
    "one-hot": "one-hot",
    "k-mer": "k-mer",
    "viennarna": "ViennaRNA",
    "linearpartition": "LinearPartition",
    "eternafold": "EternaFold (LinearPartition)",
    "contrafold": "CONTRAfold (LinearPartition-C)",
    "squarna": "SQUARNA",
    "squarna-fast": "SQUARNA (fast)",
}
"""How a system is called in tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureConfig:
    """One evaluation: every system on every fold."""

    preset: str = "full"
    """Name of the preset these settings began as; it goes into the signature."""
    systems: tuple[SystemName, ...] = (
        *("pretrained", "random", "one-hot", "k-mer"),
        *("viennarna", "linearpartition", "eternafold", "squarna-fast"),
    )
    max_length_nt: int = 512
    """Longer RNAs are left out altogether; 512 gives the published set of ArchiveII."""
    max_test_per_part: int = 0
    """RNAs of a held-out family, or of a test set, that are tested, drawn by `seed`; 0: all."""
    validation_fraction: float = 0.1
    """Share of the RNAs to fit on that tunes the threshold, where no partition is made for it."""
    require_unseen: bool = False
    """Refuse to hold out a family that the pretraining data is not known to be without."""
    near_identity: float = 0.9
    """A tested RNA is a near duplicate where the 8-mers it shares with one of the fit say this;
    0.9 stands for about 0.8 by alignment (`fit_overlap`)."""
    seed: int = 0
    """Decides every draw of RNAs, and the weights of the random encoder."""
    workers: int = 0
    """Processes that run folds, one thread each; 0 takes one per core, a GPU always one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoder and head run; auto is a GPU where there is one."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    """Which RNAs are fitted on; with regime `frozen` also how long and at what rate."""
    regime: RegimeConfig = field(default_factory=RegimeConfig)
    """`frozen` fits by `fit`; of the other regimes these are the settings."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """How structures are read off a head's scores; its threshold is tuned, not taken from here."""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems must name each row once, got {','.join(self.systems)!r}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}"
            )
        if not 0 < self.near_identity <= 1:
            raise ValueError(f"near_identity must be in (0, 1], got {self.near_identity}")
        if self.max_length_nt < 1:
            raise ValueError(f"max_length_nt must be positive, got {self.max_length_nt}")
        for name in ("max_test_per_part", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


QUICK_FIT = FitConfig(
    head_steps=48,
    # Six times the published rate: in 48 updates the head learns little at 5e-4.
    peak_lr=3e-3,
    max_fit_sequences=48,
    max_validation_sequences=16,
    max_fit_length_nt=150,
)
"""Of every task's preset `quick`."""

Presets = Mapping[str, Callable[[], StructureConfig]]


def build_config(presets: Presets, preset: str) -> StructureConfig:
    """Settings of a task's named preset."""
    if preset not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}; got {preset!r}")
    return replace(presets[preset](), preset=preset)
