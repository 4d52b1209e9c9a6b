"""Families unlike those of the fit: bpRNA to bpRNA-new, Rivas' A sets, and any set of a user's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..structure_folds.folds import Benchmark
from ..structure_folds.structure_config import StructureConfig, build_config
from ..structures.records import (
    StructureRecord,
    find_in_folder,
    find_structures,
    hash_structures,
    spell_out,
)
from .intra_family import BPRNA
from .structure_splits import PRESETS, SplitSet, build_split_folds, read_split_set

BPRNA_NEW = "bprna_new*.tsv*"
RIVAS_TRAIN = "rivas_TrainSetA*.tsv*"
RIVAS_TEST = "rivas_TestSetA*.tsv*"
"""Files of a data folder, or of `structure/` inside it."""


def build_out_of_family_config(preset: str) -> StructureConfig:
    """Settings of a named preset."""
    return build_config(PRESETS, preset)


def describe_out_of_family_lack(data: Path) -> str:
    """Say that no published pair of sets is in `data`; empty where one is."""
    if _find_pairs(data):
        return ""
    return (
        f"{data} holds neither {BPRNA} with {BPRNA_NEW} nor {RIVAS_TRAIN} with {RIVAS_TEST}; "
        "give --test NAME=PATH"
    )


def _find_pairs(data: Path) -> list[tuple[Path, Path, str]]:
    """What to fit on and to test on, and what the test set is called."""
    found = [
        (find_in_folder(data, fitted_on), find_in_folder(data, tested), name)
        for fitted_on, tested, name in (
            (BPRNA, BPRNA_NEW, "bpRNA-new"),
            (RIVAS_TRAIN, RIVAS_TEST, "TestSetA"),
        )
    ]
    return [(first, second, name) for first, second, name in found if first and second]


def _list_tested(given: SplitSet) -> list[StructureRecord]:
    """What has a role to be tested; where nothing has, all."""
    parts = given.tests.values() or (given.train, given.validation)
    return [record for part in parts for record in part]


def read_out_of_family(
    data: Path | None,
    config: StructureConfig,
    *,
    fit: Path | None = None,
    tests: Mapping[str, Path] | None = None,
) -> Benchmark:
    """Published pairs of sets in a data folder, or a user's `tests` by name.

    `tests` are tested with the fit of `fit`, else of bpRNA in `data`, else of the sample: any file,
    folder or glob. Of a set with a partition to test on, that one is taken; of others, all.
    """
    sources: dict[str, str] = {}

    def read(source: Path, name: str, label: str = "") -> SplitSet:
        sources[label or source.name] = hash_structures(source)
        return read_split_set(source, name)

    splits: list[SplitSet] = []
    if tests:
        named = fit and spell_out(fit)
        source = named or (data and find_in_folder(data, BPRNA)) or find_structures(data)
        fitted = read(source, source.name.partition(".")[0])
        given: dict[str, list[StructureRecord]] = {}
        for name, given_path in tests.items():
            path = spell_out(given_path)
            one = read(path, name, f"{path.name} ({name})")  # two sets may have one file name
            given[name] = _list_tested(one)
        splits.append(replace(fitted, tests=given))
    elif data is None or fit is not None:
        raise ValueError(
            "nothing to test on: give --test NAME=PATH, or a data folder with bpRNA and bpRNA-new "
            "or with Rivas' TrainSetA and TestSetA"
        )
    elif lack := describe_out_of_family_lack(data):
        raise FileNotFoundError(lack)
    else:
        for first, second, name in _find_pairs(data):
            split = read(first, first.name.partition(".")[0])
            splits.append(replace(split, tests={name: _list_tested(read(second, name))}))
    records, folds, notes = build_split_folds(splits, config)
    return Benchmark(
        task="out-of-family",
        title="Secondary structure, families unlike those of the fit",
        name="+".join(fold.part for fold in folds),
        sources=sources,
        records=records,
        folds=folds,
        notes=notes,
    )
