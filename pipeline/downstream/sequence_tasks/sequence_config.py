"""Settings of an evaluation on whole sequences, and the presets they begin as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..devices import DeviceName
from ..fitting.regime_config import Regime, RegimeConfig
from ..kmers import MAX_K
from ..representations.embed import EmbedConfig
from ..scores.bootstrap import BootstrapConfig

LORA_LR = 3e-4
"""A usual rate for adapters; none is published for these tasks."""

SequenceSystem = Literal["pretrained", "random encoder", "one-hot", "k-mer"]


def _build_head_fit() -> RegimeConfig:
    return RegimeConfig(peak_lr=1e-3, batch_sequences=64, epochs=20, choose="best-validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceConfig:
    """One evaluation: every system, in every regime it has, on every split of a task."""

    preset: str = "full"
    """Name of the preset these settings began as; it goes into the signature."""
    systems: tuple[SequenceSystem, ...] = ("pretrained", "random encoder", "one-hot", "k-mer")
    regimes: tuple[Regime, ...] = ("linear", "frozen", "full")
    """Of the encoders; `linear` is solved to its optimum, the others are trained by steps."""
    max_train: int = 0
    """Sequences to fit on, drawn by `seed`, of classes evenly; 0 takes all."""
    max_validation: int = 0
    max_test: int = 0
    """Sequences of each test set, drawn by `seed` as they come; 0 takes all."""
    kmer_nt: int = 5
    """k-mers of 1 to so many nucleotides are counted."""
    seed: int = 0
    """Decides splits, draws, first weights of heads and the random encoder."""
    device: DeviceName = "auto"
    """Where encoder and head run; auto is a GPU where there is one."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    head_fit: RegimeConfig = field(default_factory=_build_head_fit)
    """How a head on frozen rows is fitted; its `regime` is set by ours."""
    full_fit: RegimeConfig = field(default_factory=RegimeConfig)
    """How head and encoder are fitted together; the preset takes what the task has published."""
    lora_fit: RegimeConfig = field(default_factory=RegimeConfig)
    """How head and adapters are fitted; the preset takes the same, at a rate for adapters."""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        for name in ("systems", "regimes"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must name each once, got {','.join(values)!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in ("max_train", "max_validation", "max_test"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be positive, or 0 for all, got {getattr(self, name)}"
                )
        for name in ("head_fit", "full_fit", "lora_fit"):
            if getattr(self, name).regime != "frozen":
                raise ValueError(f"{name}.regime is set by `regimes`: leave it out")
        if idle := self.head_fit.list_idle():
            raise ValueError(f"head_fit.{idle[0]} decides nothing where a head is fitted alone")
        if not 1 <= self.kmer_nt <= MAX_K:
            raise ValueError(f"kmer_nt must be from 1 to {MAX_K}, got {self.kmer_nt}")


def _build_quick() -> SequenceConfig:
    """A drawn part in minutes on two cores: shows that all works and ranks little."""
    return SequenceConfig(
        regimes=("linear", "frozen"),
        max_train=600,
        max_validation=150,
        max_test=200,
        kmer_nt=4,
        head_fit=replace(_build_head_fit(), epochs=30),
    )


def _build_budget() -> SequenceConfig:
    """A larger part, without training the encoder: hours on two cores for a small one."""
    return SequenceConfig(
        regimes=("linear", "frozen"), max_train=6000, max_validation=1000, max_test=1600
    )


FIT_OF_REGIME: Mapping[Regime, str] = {
    "frozen": "head_fit",
    "lora": "lora_fit",
    "full": "full_fit",
}
"""Which settings a regime is fitted by; `linear` is solved."""


def choose_fit(config: SequenceConfig, regime: Regime) -> RegimeConfig:
    """Settings of the fit by steps that a regime has."""
    return replace(getattr(config, FIT_OF_REGIME[regime]), regime=regime)


def refuse_idle(config: SequenceConfig, usual: SequenceConfig) -> None:
    """Refuse what was changed from `usual` and decides nothing."""
    # Letters may be read by a head that is fitted like one on frozen rows.
    fitted = {*config.regimes, *(("frozen",) if "one-hot" in config.systems else ())}
    for regime, name in FIT_OF_REGIME.items():
        if regime not in fitted and getattr(config, name) != getattr(usual, name):
            raise ValueError(
                f"{name} decides nothing without {regime} in regimes={','.join(config.regimes)}"
            )
    for regime in ("lora", "full"):
        known = choose_fit(usual, regime).list_idle()
        for name in choose_fit(config, regime).list_idle():
            if name not in known:
                raise ValueError(f"{FIT_OF_REGIME[regime]}.{name} decides nothing there")
    if config.kmer_nt != usual.kmer_nt and "k-mer" not in config.systems:
        raise ValueError("kmer_nt decides nothing without k-mer in systems")


PRESETS: dict[str, Callable[[], SequenceConfig]] = {
    "quick": _build_quick,
    "budget": _build_budget,
    "full": SequenceConfig,
}


def build_sequence_config(preset: str, published_fit: RegimeConfig) -> SequenceConfig:
    """Settings of a named preset for a task whose published fit of head and encoder is given."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return replace(
        PRESETS[preset](),
        preset=preset,
        full_fit=published_fit,
        # Adapters begin at zero and want tens of times the rate that weights do.
        lora_fit=replace(published_fit, peak_lr=LORA_LR),
    )
