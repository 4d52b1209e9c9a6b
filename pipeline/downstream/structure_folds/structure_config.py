"""Settings of the tasks that ask for base pairs; each task has its presets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ...overrides import apply_overrides
from ..devices import DeviceName
from ..fitting.regime_config import RegimeConfig
from ..fitting.unfreezing import UnfreezingConfig
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


HEAD_FIT = RegimeConfig(epochs=3, decay_steps=7000)
"""The published fit as far as the encoder is frozen: three epochs of one RNA an update, the rate
falling from 5e-4 to a tenth over 7,000 updates. How long others fitted a frozen encoder's head is
not published."""
PUBLISHED_FIT = replace(
    HEAD_FIT, regime="full", epochs=27, unfreezing=UnfreezingConfig(schedule="structure")
)
"""How the reference fits head and encoder: a group of blocks every three epochs, the last at epoch
24. Its total is not published; this gives the last group its three epochs too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Which RNAs are fitted on; `RegimeConfig` says how."""

    max_fit_sequences: int = 0
    """Training RNAs per fold, drawn evenly from the families; 0 takes all."""
    max_validation_sequences: int = 0
    """Validation RNAs per fold, drawn evenly from the families; 0 takes all."""
    max_fit_length_nt: int = 512
    """Longer RNAs are neither trained on nor validated on: cost grows with the square."""

    def __post_init__(self) -> None:
        if self.max_fit_length_nt < 1:
            raise ValueError(
                f"fit.max_fit_length_nt must be positive, got {self.max_fit_length_nt}"
            )
        for name in ("max_fit_sequences", "max_validation_sequences"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"fit.{name} must be positive, or 0 for all, got {getattr(self, name)}"
                )


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
    """Processes that run folds, one thread each; 0 takes one per core, of encoders that train as
    many as fit into 8 GiB. A GPU has always one."""
    device: DeviceName = "auto"
    """Where encoder and head run; auto is a GPU where there is one."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    regime: RegimeConfig = HEAD_FIT
    """What trains, how long and at what rate."""
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
        for name in ("max_test_per_part", "workers", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.decoder.threshold != DecoderConfig().threshold:
            raise ValueError(
                "decoder.threshold decides nothing: each fold's is tuned on its validation RNAs; "
                "leave it out"
            )
        regime, unfreezing = self.regime, self.regime.unfreezing
        if idle := regime.list_idle():
            raise ValueError(
                f"regime.{idle[0]} decides nothing with regime.regime={regime.regime} and "
                f"regime.choose={regime.choose}: leave it out"
            )
        if regime.regime == "full" and regime.epochs <= unfreezing.last_epoch:
            raise ValueError(
                f"regime.epochs {regime.epochs} ends before regime.unfreezing.schedule="
                f"{unfreezing.schedule} does: its last group trains after {unfreezing.last_epoch} "
                "epochs; raise regime.epochs, or lower regime.unfreezing.every_epochs"
            )


def apply_structure_settings(config: StructureConfig, settings: Sequence[str]) -> StructureConfig:
    """A preset with `path=value` settings.

    One that names another regime begins as its usual fit: `full` as published, `linear` and `lora`
    as ten epochs at 5e-4. Of `regime.epochs` and `regime.max_steps` the one that is given alone
    decides: the preset's other one does not end the fit before.
    """
    paths = {one.partition("=")[0] for one in settings}
    chosen = [one for one in settings if one.startswith("regime.regime=")]
    regime = apply_overrides(config.regime, [one.removeprefix("regime.") for one in chosen]).regime
    if regime != config.regime.regime:
        usual = PUBLISHED_FIT if regime == "full" else RegimeConfig(regime=regime)
        config = replace(config, regime=usual)
    if "regime.epochs" in paths and "regime.max_steps" not in paths:
        config = replace(config, regime=replace(config.regime, max_steps=0))
    config = apply_overrides(config, settings)
    if "regime.max_steps" in paths and "regime.epochs" not in paths:
        enough = max(config.regime.epochs, config.regime.max_steps)
        config = replace(config, regime=replace(config.regime, epochs=enough))
    return config


QUICK_FIT = FitConfig(max_fit_sequences=48, max_validation_sequences=16, max_fit_length_nt=150)
# Six times the published rate: in 48 updates the head learns little at 5e-4.
QUICK_REGIME = RegimeConfig(max_steps=48, epochs=48, peak_lr=3e-3)
"""Of every task's preset `quick`."""

Presets = Mapping[str, Callable[[], StructureConfig]]


def build_config(presets: Presets, preset: str) -> StructureConfig:
    """Settings of a task's named preset."""
    if preset not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}; got {preset!r}")
    return replace(presets[preset](), preset=preset)
