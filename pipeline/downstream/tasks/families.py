"""Leave one family out: which RNAs a head is fitted, tuned and tested on, fold by fold."""

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..bootstrap import BootstrapConfig
from ..embed import EmbedConfig
from ..finetune import FitConfig
from ..records import StructureRecord

logger = logging.getLogger(__name__)

SystemName = Literal["pretrained", "random", "one-hot", "viennarna"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FamiliesConfig:
    """One evaluation: every system on every held-out family."""

    preset: str = "full"
    """Name of the preset these settings began as; it goes into the signature."""
    systems: tuple[SystemName, ...] = ("pretrained", "random", "one-hot", "viennarna")
    max_length_nt: int = 512
    """Longer RNAs are left out altogether; 512 gives the published set of ArchiveII."""
    max_test_per_family: int = 0
    """RNAs of the held-out family that are tested, drawn by `seed`; 0 takes all."""
    validation_fraction: float = 0.1
    """Share of each other family that tunes the threshold instead of fitting the head."""
    seed: int = 0
    """Decides every draw of RNAs, and the weights of the random encoder."""
    workers: int = 0
    """Processes that run folds, one thread each; 0 takes one per core, a GPU always one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoder and head run; auto is a GPU where there is one."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems must name each row once, got {','.join(self.systems)!r}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}"
            )
        if self.max_length_nt < 1:
            raise ValueError(f"max_length_nt must be positive, got {self.max_length_nt}")
        for name in ("max_test_per_family", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def _build_quick() -> FamiliesConfig:
    """The embedded sample in two minutes on two cores: shows that all works, ranks nothing."""
    return FamiliesConfig(
        max_test_per_family=10,
        fit=FitConfig(
            head_steps=48,
            # Six times the published rate: in 48 updates the head learns little at 5e-4.
            peak_lr=3e-3,
            max_fit_sequences=48,
            max_validation_sequences=16,
            max_fit_length_nt=150,
        ),
    )


def _build_budget() -> FamiliesConfig:
    """ArchiveII's nine folds, for two cores and about half an hour."""
    return FamiliesConfig(
        max_test_per_family=100,
        fit=FitConfig(
            head_steps=160,
            peak_lr=2e-3,
            max_fit_sequences=160,
            max_validation_sequences=40,
            max_fit_length_nt=300,
        ),
    )


PRESETS: dict[str, Callable[[], FamiliesConfig]] = {
    "quick": _build_quick,
    "budget": _build_budget,
    "full": FamiliesConfig,
}


def build_families_config(preset: str) -> FamiliesConfig:
    """Settings of a named preset; docs/families.md has what each costs."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return replace(PRESETS[preset](), preset=preset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One held-out family; RNAs are indices into the benchmark's records."""

    family: str
    test: tuple[int, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    num_shared: int
    """RNAs of other families left out of the fit: their sequence is in the held-out family."""
    num_repeats: int
    """RNAs of other families left out of the fit: an earlier one has the same sequence."""
    num_test_repeats: int
    """Tested RNAs whose sequence another tested RNA has; they stay, as published."""


def build_folds(
    records: Sequence[StructureRecord], config: FamiliesConfig, only: Iterable[str] = ()
) -> list[Fold]:
    """A fold for each family, in order of name, or for the families `only`.

    Pure in its arguments. One permutation orders the RNAs of every family, so folds share what
    they draw and every system is tested on the same RNAs.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in np.random.default_rng(config.seed).permutation(len(records)).tolist():
        if len(records[index].sequence) <= config.max_length_nt:
            members[records[index].family].append(index)
    families = {record.family for record in records}
    if unknown := sorted(set(only) - families):
        raise ValueError(f"no family {', '.join(unknown)}; there are {', '.join(sorted(families))}")
    if len(members) < 2:
        raise ValueError(
            f"holding a family out takes two, got {', '.join(sorted(members)) or 'none'} of at "
            f"most {config.max_length_nt} nt"
        )
    for family in sorted(families - members.keys()):
        logger.warning(
            "no fold for %s: all its RNAs are longer than max_length_nt=%d",
            family,
            config.max_length_nt,
        )
    wanted = sorted(set(only or families) & members.keys())
    return [_build_fold(records, members, family, config) for family in wanted]


def _build_fold(
    records: Sequence[StructureRecord],
    members: Mapping[str, Sequence[int]],
    held_out_family: str,
    config: FamiliesConfig,
) -> Fold:
    test = members[held_out_family][: config.max_test_per_family or None]
    held_out = {records[index].sequence for index in members[held_out_family]}
    seen: set[str] = set()
    num_shared = num_repeats = 0
    train_of: dict[str, list[int]] = {}
    validation_of: dict[str, list[int]] = {}
    for family in sorted(members.keys() - {held_out_family}):
        eligible = []
        for index in members[family]:
            sequence = records[index].sequence
            num_shared += sequence in held_out
            num_repeats += sequence in seen
            if sequence not in held_out | seen and len(sequence) <= config.fit.max_fit_length_nt:
                eligible.append(index)
            seen.add(sequence)
        # A family of one RNA is fitted on; a family of two or more always has one to validate.
        share = max(round(config.validation_fraction * len(eligible)), 1) if eligible[1:] else 0
        validation_of[family], train_of[family] = eligible[:share], eligible[share:]
    return Fold(
        family=held_out_family,
        test=tuple(test),
        train=draw_evenly(train_of, config.fit.max_fit_sequences),
        validation=draw_evenly(validation_of, config.fit.max_validation_sequences),
        num_shared=num_shared,
        num_repeats=num_repeats,
        num_test_repeats=len(test) - len({records[index].sequence for index in test}),
    )


def draw_evenly(members: Mapping[str, Sequence[int]], limit: int) -> tuple[int, ...]:
    """The first RNA of each family, then the second of each, up to `limit`; 0 takes all."""
    rounds = itertools.zip_longest(*members.values())
    drawn = (index for each in rounds for index in each if index is not None)
    return tuple(itertools.islice(drawn, limit or None))
