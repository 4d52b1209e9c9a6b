"""Fit on one set, test on others: partitions of published splits, and draws where there is none."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..fitting.regime_config import RegimeConfig
from ..structure_folds.folds import Fold, draw_evenly
from ..structure_folds.structure_config import (
    QUICK_FIT,
    QUICK_REGIME,
    FitConfig,
    Presets,
    StructureConfig,
)
from ..structures.partitions import ROLE_OF, ROLES, Role
from ..structures.records import StructureRecord, read_structures

MIN_FIT_NT = 2
"""A shorter RNA has no pair to learn."""


def _build_quick() -> StructureConfig:
    """Minutes on two cores: shows that all works, ranks nothing."""
    return StructureConfig(
        max_test_per_part=40,
        fit=QUICK_FIT,
        regime=QUICK_REGIME,
    )


def _build_budget() -> StructureConfig:
    """One fit for each set to fit on, on two cores: minutes each."""
    return StructureConfig(
        max_test_per_part=300,
        fit=FitConfig(max_fit_sequences=320, max_validation_sequences=60, max_fit_length_nt=300),
        regime=RegimeConfig(max_steps=320, epochs=320, peak_lr=2e-3),
    )


def _build_full() -> StructureConfig:
    """All RNAs: for a GPU."""
    return StructureConfig(max_length_nt=2000)


PRESETS: Presets = {"quick": _build_quick, "budget": _build_budget, "full": _build_full}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitSet:
    """RNAs with a common role in a split; `validation` may be empty."""

    name: str
    train: Sequence[StructureRecord]
    validation: Sequence[StructureRecord]
    tests: Mapping[str, Sequence[StructureRecord]]
    """By what the table calls them."""


def read_split_set(source: Path, name: str) -> SplitSet:
    """A set with its partitions; without any, all of it is `train`."""
    by_role: dict[Role, list[StructureRecord]] = defaultdict(list)
    strangers: set[str] = set()
    names: dict[Role, str] = {}
    records = read_structures(source)
    for record in records:
        role = ROLE_OF.get(record.partition.lower())
        if role is None:
            strangers.add(record.partition)
        else:
            by_role[role].append(record)
            names[role] = record.partition
    if not by_role:
        return SplitSet(name=name, train=records, validation=(), tests={})
    if strangers:
        raise ValueError(
            f"{source}: partition {', '.join(map(repr, sorted(strangers)))} beside "
            f"{', '.join(sorted(names.values()))}; call partitions "
            + ", ".join(known for one in ROLES.values() for known in one)
        )
    tests = {names["test"]: by_role["test"]} if "test" in names else {}
    return SplitSet(
        name=name, train=by_role["train"], validation=by_role["validation"], tests=tests
    )


def split_at_random(split: SplitSet, fraction: float, *, seed: int) -> SplitSet:
    """Draw a test set from a set without partitions: of every family, no sequence on both sides."""
    members: dict[str, dict[str, list[StructureRecord]]] = defaultdict(lambda: defaultdict(list))
    family_of: dict[str, str] = {}
    for record in split.train:
        # A sequence under two families is of the first, so that its copies stay together.
        family = family_of.setdefault(record.sequence, record.family)
        members[family][record.sequence].append(record)
    train: list[StructureRecord] = []
    test: list[StructureRecord] = []
    generator = np.random.default_rng(seed)
    for family in sorted(members):
        sequences = list(members[family])
        order = generator.permutation(len(sequences)).tolist()
        # One sequence alone is fitted on.
        num_test = max(round(fraction * len(sequences)), 1) if len(sequences) > 1 else 0
        for place, number in enumerate(order):
            (test if place < num_test else train).extend(members[family][sequences[number]])
    if not test:
        raise ValueError(
            f"no family of {split.name} has two distinct sequences, one to fit on and one to test: "
            "give more RNAs, or a partition"
        )
    return SplitSet(name=split.name, train=train, validation=(), tests={"test": test})


def build_split_folds(
    splits: Iterable[SplitSet], config: StructureConfig
) -> tuple[list[StructureRecord], list[Fold], tuple[str, ...]]:
    """Records of all sets, a fold for each test set, and notes on what was left out.

    A fit is as published: RNAs of it that are tested too are counted by `fit_overlap`, not left
    out, so that it does not depend on the test sets beside. Draws are by `config.seed` and by set.
    Where validation is drawn, each sequence of the fit is there once: none is on both sides.
    """
    records: list[StructureRecord] = []
    folds: list[Fold] = []
    notes: list[str] = []

    def place(chosen: Sequence[StructureRecord], max_nt: int, what: str) -> list[int]:
        """Indices in the order of draws, of those short enough."""
        first = len(records)
        records.extend(chosen)
        order = np.random.default_rng(config.seed).permutation(len(chosen)).tolist()
        kept = [first + place for place in order if len(chosen[place].sequence) <= max_nt]
        if len(kept) < len(chosen):
            notes.append(
                f"{len(chosen) - len(kept)} of {len(chosen)} RNAs of {what} are left out: "
                f"longer than {max_nt} nt"
            )
        return kept

    for split in splits:
        max_fit_nt = min(config.max_length_nt, config.fit.max_fit_length_nt)
        fit = [record for record in split.train if len(record.sequence) >= MIN_FIT_NT]
        tuning = [record for record in split.validation if len(record.sequence) >= MIN_FIT_NT]
        train = place(fit, max_fit_nt, f"{split.name} to train on")
        validation = place(tuning, max_fit_nt, f"{split.name} to validate on")
        if not validation:
            first_of: dict[str, int] = {}
            for one in train:
                first_of.setdefault(records[one].sequence, one)
            num_repeats = len(train) - len(first_of)
            distinct = [*first_of.values()]
            train, validation = _draw_validation(records, distinct, config.validation_fraction)
            notes.append(
                f"{split.name} has no validation part: {len(validation)} of its RNAs tune the "
                f"threshold; {num_repeats} repeats of a sequence are left out of the fit"
            )
        for name, chosen in split.tests.items():
            test = place(chosen, config.max_length_nt, name)
            test = test[: config.max_test_per_part or None]
            if not test:
                raise ValueError(
                    f"no RNA of {name} has at most {config.max_length_nt} nt: raise max_length_nt"
                )
            if not (train and validation):
                raise ValueError(
                    f"{split.name} has {len(train)} sequences of {MIN_FIT_NT} to {max_fit_nt} nt "
                    f"to train on and {len(validation)} to validate on; it takes one of each: "
                    "raise fit.max_fit_length_nt"
                )
            folds.append(
                Fold(
                    part=name,
                    test=tuple(test),
                    train=_draw(records, train, config.fit.max_fit_sequences),
                    validation=_draw(records, validation, config.fit.max_validation_sequences),
                    num_test_repeats=len(test) - len({records[one].sequence for one in test}),
                )
            )
    repeated = [fold.part for fold in folds]
    if len(set(repeated)) < len(repeated):
        raise ValueError(f"test sets need names of their own, got {', '.join(repeated)}")
    return records, folds, tuple(dict.fromkeys(notes))


def _draw_validation(
    records: Sequence[StructureRecord], indices: Sequence[int], fraction: float
) -> tuple[list[int], list[int]]:
    """What to train on, and about `fraction` to validate on, of each family that is large enough.

    At least one of two RNAs or more is on either side.
    """
    by_family = sorted(indices, key=lambda one: records[one].family)
    num = len(by_family)
    share = min(max(round(fraction * num), 1), num - 1)
    drawn = {int((place + 0.5) * num / share) for place in range(share)}
    train = [one for place, one in enumerate(by_family) if place not in drawn]
    return train, [by_family[place] for place in sorted(drawn)]


def _draw(
    records: Sequence[StructureRecord], indices: Sequence[int], limit: int
) -> tuple[int, ...]:
    members: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        members[records[index].family].append(index)
    return draw_evenly({family: members[family] for family in sorted(members)}, limit)
