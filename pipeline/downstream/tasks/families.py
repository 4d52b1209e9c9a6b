"""Leave one family out: which RNAs a head is fitted, tuned and tested on, fold by fold."""

import csv
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..fitting.regime_config import RegimeConfig
from ..structure_folds.folds import Benchmark, Fold, draw_evenly
from ..structure_folds.structure_config import (
    QUICK_FIT,
    QUICK_REGIME,
    FitConfig,
    Presets,
    StructureConfig,
    build_config,
)
from ..structures.records import (
    StructureRecord,
    find_structures,
    hash_file,
    hash_structures,
    read_structures,
)
from ..structures.structure_files import open_text
from .structure_splits import MIN_FIT_NT, ROLES

logger = logging.getLogger(__name__)


def _build_quick() -> StructureConfig:
    """The embedded sample in two minutes on two cores: shows that all works, ranks nothing."""
    return StructureConfig(
        max_test_per_part=10,
        fit=QUICK_FIT,
        regime=QUICK_REGIME,
    )


def _build_budget() -> StructureConfig:
    """ArchiveII's nine folds, for two cores and about half an hour."""
    return StructureConfig(
        max_test_per_part=100,
        fit=FitConfig(max_fit_sequences=160, max_validation_sequences=40, max_fit_length_nt=300),
        regime=RegimeConfig(max_steps=160, epochs=160, peak_lr=2e-3),
    )


PRESETS: Presets = {
    "quick": _build_quick,
    "budget": _build_budget,
    "full": StructureConfig,
}


def build_families_config(preset: str) -> StructureConfig:
    """Settings of a named preset; docs/families.md has what each costs."""
    return build_config(PRESETS, preset)


def read_benchmark(
    data: Path | None,
    config: StructureConfig,
    only: Sequence[str] = (),
    *,
    fold_file: Path | None = None,
) -> Benchmark:
    """The sample, ArchiveII of a data folder, or a user's set, with folds for all or `only`.

    `fold_file`, a published list of folds, leaves the RNAs that it names.
    """
    source = find_structures(data)
    records = read_structures(source, require_families=True)
    if fold_file:
        records = _select_listed(records, fold_file)
    name = "sample" if data is None else source.name.partition(".")[0].partition("_")[0].lower()
    if fold_file:
        name += f"+{hash_file(fold_file)[:8]}"  # of the same file other RNAs
    return Benchmark(
        task="families",
        title="Secondary structure, families held out",
        name=name,
        sources={source.name: hash_structures(source)},
        records=records,
        folds=build_folds(records, config, only),
        is_partial=bool(only),
        notes=(f"{len(records)} RNAs that {fold_file.name} lists",) if fold_file else (),
    )


def _select_listed(records: Sequence[StructureRecord], fold_file: Path) -> list[StructureRecord]:
    """Records that a fold file names; it must hold out whole families, each under its name."""
    folds = read_fold_file(fold_file)
    family_of = {record.id: record.family for record in records}
    for name, partitions in folds.items():
        listed = {one: ids for one, ids in partitions.items() if one.lower() in ROLES["test"]}
        for one in (one for ids in partitions.values() for one in ids if one not in family_of):
            raise ValueError(f"{fold_file} names {one!r}, which is not among the structures")
        for role, ids in partitions.items():
            wrong = [one for one in ids if (family_of[one] == name) != (role in listed)]
            if wrong:
                raise ValueError(
                    f"{fold_file}: {wrong[0]!r} of family {family_of[wrong[0]]} is in {role} of "
                    f"fold {name}; a fold must be named after the family it holds out whole"
                )
    named = {one for partitions in folds.values() for ids in partitions.values() for one in ids}
    return [record for record in records if record.id in named]


def read_fold_file(path: Path) -> dict[str, dict[str, list[str]]]:
    """Ids of each partition of each fold of a `fold_name,fold_number,partition,id` table."""
    folds: dict[str, dict[str, list[str]]] = {}
    with open_text(path) as lines:
        rows = csv.DictReader(lines)
        missing = {"fold_name", "partition", "id"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        for row in rows:
            parts = folds.setdefault(row["fold_name"], {})
            parts.setdefault(row["partition"], []).append(row["id"])
    return folds


def build_folds(
    records: Sequence[StructureRecord], config: StructureConfig, only: Iterable[str] = ()
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
            f"most {config.max_length_nt} nt; a family is a table's column, a Stockholm ID, what "
            "ids such as 5s_x begin with, a file of several RNAs, or a folder of files of one each"
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
    config: StructureConfig,
) -> Fold:
    test = members[held_out_family][: config.max_test_per_part or None]
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
            is_new = sequence not in held_out and sequence not in seen
            if is_new and MIN_FIT_NT <= len(sequence) <= config.fit.max_fit_length_nt:
                eligible.append(index)
            seen.add(sequence)
        # A family of one RNA is fitted on; a family of two or more always has one to validate.
        share = max(round(config.validation_fraction * len(eligible)), 1)
        share = min(share, len(eligible) - 1) if eligible else 0
        validation_of[family], train_of[family] = eligible[:share], eligible[share:]
    return Fold(
        part=held_out_family,
        held_out_family=held_out_family,
        test=tuple(test),
        train=draw_evenly(train_of, config.fit.max_fit_sequences),
        validation=draw_evenly(validation_of, config.fit.max_validation_sequences),
        num_shared=num_shared,
        num_repeats=num_repeats,
        num_test_repeats=len(test) - len({records[index].sequence for index in test}),
    )
