"""The signature line of a task that fits no head: its own facts first, then what all state."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ....model.weights import LoadedModel
from ..scores.signature import build_signature, describe_bootstrap, hash_settings
from ..structures.records import hash_structures
from .zero_shot_settings import ZeroShotConfig


def build_zero_shot_signature(
    task: str,
    own_facts: Mapping[str, object],
    *,
    config: ZeroShotConfig,
    loaded: LoadedModel,
    numbers: int,
) -> str:
    """One line; `own_facts` say which data and how it is measured, `numbers` is code's version."""
    return build_signature(
        {
            "task": task,
            **own_facts,
            "config": hash_settings(asdict(config)),
            **describe_bootstrap(config.bootstrap),
            "seed": config.seed,
            "ckpt": loaded.metadata["sha256"][:8],
            "numbers": numbers,
        }
    )


def describe_source(path: Path, *, is_sample: bool = False) -> str:
    """Name and hash of a file, or of a folder of structure files, as a fact states them."""
    name = "sample" if is_sample else path.name.partition(".")[0].lower()
    return f"{name}-{hash_structures(path)[:8]}"
