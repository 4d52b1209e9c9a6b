"""Made-up corpora large enough to train on for a few steps."""

from pathlib import Path

import numpy as np

from openrinalmo.data_prep.shards import read_manifest, write_manifest
from support.tiny_data import TinyRecord, write_tiny_data


def make_corpus(folder: Path, *, num_clusters: int = 40, seed: int = 0) -> Path:
    """Write clusters of one to three members, 20 to 121 nt, of two types with other letters."""
    rng = np.random.default_rng(seed)
    splits: dict[str, list[list[TinyRecord]]] = {"train": [], "validation": []}
    for number in range(num_clusters):
        rna_type, letters = (("hairpin", "ACGU"), ("repeat", "AAAC"))[number % 2]
        length = int(rng.integers(20, 120))
        members = [
            (f"r{number}.{i}", "".join(rng.choice(list(letters), length + i)), rna_type)
            for i in range(int(rng.integers(1, 4)))
        ]
        splits["validation" if number % 8 in (6, 7) else "train"].append(members)
    write_tiny_data(folder, **splits, max_shard_nt=1500)
    manifest = read_manifest(folder)
    for split in manifest["splits"].values():
        split["unigram_entropy_nats_per_nt"] = float(np.log(4))
    write_manifest(folder, manifest)
    return folder
