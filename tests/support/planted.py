"""Planted records of every kind that data_prep tells apart, and short ways to prepare and read."""

import random
from pathlib import Path
from typing import Any

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.prepare import prepare_data
from openrinalmo.data_prep.shards import SPLITS, open_split

from .sequences import draw_sequence, mutate

RNG = random.Random(0)
ORIGINALS = [draw_sequence(RNG, 200) for _ in range(30)]
RELATIVES = [mutate(RNG, sequence, identity=0.95) for sequence in ORIGINALS[:10]]
PLANTED = [
    *((f"original{n} rna_type=tRNA", sequence) for n, sequence in enumerate(ORIGINALS)),
    *((f"relative{n} rna_type=rRNA", sequence) for n, sequence in enumerate(RELATIVES)),
    ("copy", ORIGINALS[20]),
    ("lower", ORIGINALS[21].lower()),
    ("dna", ORIGINALS[22].replace("U", "T")),
    ("gapped", ".".join(ORIGINALS[23])),
    ("original1", ORIGINALS[24] + "ACGU"),
    ("short rna_type=miRNA", "ACGUACGUACGUACGU"),
    ("too_short", "ACGUACGUACGUACG"),
    ("too_long", "A" * 8193),
    ("empty", ""),
    ("protein", "MKVLAAGIVGLLAAQWERTYPS"),
    ("ambiguous", "ACGUN" * 20),
]


def prepare(out: Path, *arguments: object) -> dict[str, Any]:
    """Prepare data with the command line's arguments, on one thread."""
    return prepare_data(parse_arguments([*map(str, arguments), "--out", str(out), "--threads=1"]))


def read_records(folder: Path) -> list[tuple[str, str, int, str, str, str]]:
    """Return every record of both splits: id, sequence, cluster, source, type, split."""
    records = []
    for name in SPLITS:
        split = open_split(folder, name)
        for i in range(split.num_records):
            sequence = split.sequence(i).tobytes().decode()
            rna_type = split.rna_types[split.rna_type_ids[i]]
            row = (split.id(i), sequence, split.cluster(i), split.source(i), rna_type, name)
            records.append(row)
    return records
