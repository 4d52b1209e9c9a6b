"""Settings of the tasks that fit no head, their presets, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ..devices import DeviceName
from ..kmers import MAX_K
from ..representations.embed import EmbedConfig
from ..scores.bootstrap import BootstrapConfig
from .projection import MIN_POINTS, ProjectionName
from .substitution_scores import CONVENTIONS, Convention

StructureSystem = Literal["pretrained", "random encoder", "letters", "ViennaRNA"]
EffectSystem = Literal["pretrained", "random encoder"]
EmbeddingSystem = Literal["pretrained", "random encoder", "k-mer"]
Config = TypeVar("Config")


def choose_preset(presets: Mapping[str, Config], name: str) -> Config:
    """Settings of a named preset."""
    if name not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}; got {name!r}")
    return presets[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroShotStructureConfig:
    """One evaluation: every system's pair scores on RNAs of every family."""

    preset: str = "full"
    systems: tuple[StructureSystem, ...] = ("pretrained", "random encoder", "letters", "ViennaRNA")
    rnas_per_family: int = 100
    """RNAs of each family that are scored, drawn by `seed`; 0 takes all."""
    max_length_nt: int = 512
    """Longer RNAs are left out: a Jacobian takes three passes a letter."""
    fit_rnas: int = 20
    """RNAs of other families that the attention probe is fitted to and the one map is chosen on."""
    tune_rnas: int = 20
    """Further RNAs of other families that the threshold is tuned on."""
    max_fit_length_nt: int = 200
    """Longer RNAs neither fit nor tune."""
    max_tokens_per_pack: int = 8192
    """Budget of one forward pass of the Jacobian."""
    seed: int = 0
    """Decides the draw of RNAs, and the weights of the random encoder."""
    device: DeviceName = "auto"
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        _refuse_repeated_systems(self.systems)
        _refuse_negative(self, "rnas_per_family", "seed")
        _refuse_below_one(self, "max_length_nt", "fit_rnas", "tune_rnas", "max_fit_length_nt")


@dataclass(frozen=True, kw_only=True, slots=True)
class MutationEffectsConfig:
    """Which conventions score variants, and on how many RNAs compensation is looked at."""

    preset: str = "full"
    systems: tuple[EffectSystem, ...] = ("pretrained", "random encoder")
    conventions: tuple[Convention, ...] = CONVENTIONS
    primary_assay_convention: Convention = "wt-fill"
    """The row of the summary table: what RNAGym's leaderboard takes."""
    primary_compensation_convention: Convention = "mut-fill"
    """`wt-fill` adds up over positions, so it is blind to compensation."""
    rnas_per_family: int = 20
    """RNAs with known structures of each family, drawn by `seed`, for compensation; 0 takes all."""
    pairs_per_rna: int = 16
    """Known pairs of each that are exchanged."""
    max_length_nt: int = 512
    """RNAs with longer sequences have no compensation row; assays may be of any length."""
    max_tokens_per_pack: int = 8192
    """Budget of one forward pass; a longer sequence is a pack of its own."""
    seed: int = 0
    """Decides the draw of RNAs and exchanges, and the weights of the random encoder."""
    device: DeviceName = "auto"
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        for name in ("systems", "conventions"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must name each once, got {','.join(values)!r}")
        for name in ("primary_assay_convention", "primary_compensation_convention"):
            if getattr(self, name) not in self.conventions:
                raise ValueError(
                    f"{name} must be one of conventions={','.join(self.conventions)}, "
                    f"got {getattr(self, name)}"
                )
        _refuse_negative(self, "rnas_per_family", "seed")
        _refuse_below_one(self, "pairs_per_rna", "max_length_nt", "max_tokens_per_pack")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsConfig:
    """Which RNAs, and how they are compared."""

    preset: str = "full"
    systems: tuple[EmbeddingSystem, ...] = ("pretrained", "random encoder", "k-mer")
    min_family_size: int = 10
    """Families with fewer distinct RNAs are left out."""
    max_families: int = 0
    """The largest families, by name among equals; 0 takes all."""
    max_per_family: int = 200
    """RNAs of a family, drawn by `seed`: without a limit the largest decides; 0 takes all."""
    max_length_nt: int = 1024
    """Longer RNAs are left out."""
    neighbours: int = 5
    """How many of the nearest other RNAs vote."""
    kmer_nt: int = 4
    """Letters of a k-mer."""
    projection: ProjectionName = "t-SNE"
    max_map_points: int = 3000
    """RNAs on the map: the first of each family, then the second, and so on."""
    seed: int = 0
    """Decides the draw of RNAs, k-means' starts, the map, and the random encoder."""
    device: DeviceName = "auto"
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        _refuse_repeated_systems(self.systems)
        if self.max_map_points < MIN_POINTS:
            raise ValueError(
                f"max_map_points must be {MIN_POINTS} or more, got {self.max_map_points}; "
                "projection=none draws no map"
            )
        _refuse_below_one(self, "min_family_size", "max_length_nt", "neighbours")
        _refuse_negative(self, "max_families", "max_per_family", "seed")
        if not 1 <= self.kmer_nt <= MAX_K:
            raise ValueError(f"kmer_nt must be between 1 and {MAX_K}, got {self.kmer_nt}")


def _refuse_repeated_systems(systems: tuple[str, ...]) -> None:
    if not systems or len(set(systems)) != len(systems):
        raise ValueError(f"systems must name each row once, got {','.join(systems)!r}")


def _refuse_negative(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}")


def _refuse_below_one(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


ZeroShotConfig = ZeroShotStructureConfig | MutationEffectsConfig | EmbeddingsConfig

STRUCTURE_PRESETS = {
    "quick": ZeroShotStructureConfig(
        preset="quick",
        rnas_per_family=4,
        max_length_nt=150,
        fit_rnas=8,
        tune_rnas=8,
        max_fit_length_nt=150,
    ),
    "budget": ZeroShotStructureConfig(preset="budget", rnas_per_family=20, max_length_nt=250),
    "full": ZeroShotStructureConfig(),
}

_FAST: tuple[Convention, ...] = tuple(name for name in CONVENTIONS if name != "pseudo-likelihood")
"""The pseudo-likelihood takes a forward pass for each letter of each variant."""
EFFECT_PRESETS = {
    "quick": MutationEffectsConfig(
        preset="quick", conventions=_FAST, rnas_per_family=4, pairs_per_rna=6, max_length_nt=200
    ),
    "budget": MutationEffectsConfig(preset="budget", conventions=_FAST, max_length_nt=300),
    "full": MutationEffectsConfig(),
}

EMBEDDING_PRESETS = {
    "quick": EmbeddingsConfig(
        preset="quick", max_per_family=30, max_families=20, max_length_nt=512
    ),
    "budget": EmbeddingsConfig(
        preset="budget", max_per_family=100, max_families=100, max_length_nt=512
    ),
    "full": EmbeddingsConfig(),
}
