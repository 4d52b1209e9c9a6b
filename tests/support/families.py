"""Synthetic RNA families with known structures: hairpins whose stems are drawn by a seed."""

import numpy as np

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin, save_masked_lm
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.structure_folds.structure_config import StructureConfig

PARTNER = {"A": "U", "U": "A", "G": "C", "C": "G"}
STEMS_NT = {"short": 4, "middle": 6, "long": 9}
"""Stem length of each family."""


def draw_hairpin(generator, stem_nt):
    """Sequence and dot-bracket of one stem, its loop and two loose ends."""
    stem = generator.choice(list("ACGU"), stem_nt)
    loop, left, right = ("".join(generator.choice(list("ACGU"), n)) for n in (5, 2, 3))
    closing = "".join(PARTNER[base] for base in stem[::-1])
    sequence = left + "".join(stem) + loop + closing + right
    return sequence, ".." + "(" * stem_nt + "....." + ")" * stem_nt + "..."


def build_lines(per_family=6, seed=0):
    """Rows (id, family, sequence, structure) of three families."""
    generator = np.random.default_rng(seed)
    return [
        (f"{family}-{number}", family, *draw_hairpin(generator, stem_nt))
        for family, stem_nt in STEMS_NT.items()
        for number in range(per_family)
    ]


def write_structures(path, lines):
    """Write a structure file."""
    rows = [("id", "family", "sequence", "structure"), *lines]
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    return path


def write_checkpoint(folder, seed=3):
    """Export a randomly initialised encoder of a few hundred parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    config = EncoderConfig(embed_dim=8, num_blocks=1, num_heads=2)
    save_masked_lm(build_random_twin(config, seed), folder / "model.safetensors", {"run": "toy"})
    return folder


def build_toy_config(**changes):
    """Settings that evaluate the synthetic families in a second."""
    settings = {
        "preset": "toy",
        "systems": ("pretrained", "random", "one-hot"),
        "workers": 1,
        "device": "cpu",
        "validation_fraction": 0.34,
        "regime": RegimeConfig(max_steps=3, batch_sequences=2, peak_lr=1e-2),
        "bootstrap": BootstrapConfig(num_resamples=50),
    }
    return StructureConfig(**{**settings, **changes})
