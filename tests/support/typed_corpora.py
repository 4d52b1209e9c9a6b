"""Made-up corpora in which RNA types differ in how many clusters they have, and how long."""

from pathlib import Path

import numpy as np

from support.tiny_data import write_tiny_data

CLUSTERS_BY_TYPE = {"lncRNA": 8, "rRNA": 40, "tRNA": 2}


def make_typed_corpus(folder: Path) -> Path:
    """Write clusters of one to three members; rRNA is most of them and longest by far."""
    rng = np.random.default_rng(0)
    lengths = {"lncRNA": 60, "rRNA": 110, "tRNA": 30}
    train = [
        [
            (f"{name}.{number}.{i}", "".join(rng.choice(list("ACGU"), lengths[name] + i)), name)
            for i in range(int(rng.integers(1, 4)))
        ]
        for name, count in CLUSTERS_BY_TYPE.items()
        for number in rng.permutation(count).tolist()
    ]
    order = rng.permutation(len(train)).tolist()
    validation = [[(f"v.{i}", "ACGU" * 10, "rRNA" if i else "tRNA")] for i in range(6)]
    return write_tiny_data(
        folder, train=[train[i] for i in order], validation=validation, max_shard_nt=1500
    )
