"""New sequences of known families: bpRNA's TR0 to fit, VL0 to tune, TS0 to test."""

from pathlib import Path

from ..structure_folds.folds import Benchmark
from ..structure_folds.structure_config import StructureConfig, build_config
from ..structures.records import (
    describe_structures_lack,
    find_in_folder,
    find_structures,
    hash_structures,
)
from .structure_splits import PRESETS, build_split_folds, read_split_set, split_at_random

BPRNA = "bprna*TR0*.tsv*"
"""bpRNA's file, in a data folder or in `structure/` inside it; its column `partition` splits it."""
TEST_FRACTION = 0.2
"""Share of each family that is tested where the data has no partitions."""


def build_intra_family_config(preset: str) -> StructureConfig:
    """Settings of a named preset."""
    return build_config(PRESETS, preset)


def describe_intra_family_lack(data: Path) -> str:
    """What keeps a set from being read; empty where nothing is seen to."""
    return "" if find_in_folder(data, BPRNA) else describe_structures_lack(data)


def read_intra_family(data: Path | None, config: StructureConfig) -> Benchmark:
    """BpRNA of a data folder, else what `find_structures` finds, by partition or else at random.

    A set with partitions has a column for them, or the folders TR0, VL0 and TS0.
    """
    source = (data and find_in_folder(data, BPRNA)) or find_structures(data)
    name = "sample" if data is None else source.name.partition(".")[0].lower()
    split = read_split_set(source, name)
    notes: tuple[str, ...] = ()
    if not split.tests:
        if split.validation:
            raise ValueError(f"{source} has a partition to train on but none to test on")
        split = split_at_random(split, TEST_FRACTION, seed=config.seed)
        notes = (
            f"{name} has no partitions: a fifth of the sequences of each family, drawn by the "
            "seed, is tested; relatives of them are fitted on",
        )
    if not split.train:
        raise ValueError(f"{source} has a partition to test on but none to train on")
    records, folds, left_out = build_split_folds([split], config)
    return Benchmark(
        task="intra-family",
        title="Secondary structure, new sequences of known families",
        name=name,
        sources={source.name: hash_structures(source)},
        records=records,
        folds=folds,
        notes=(*notes, *left_out),
    )
