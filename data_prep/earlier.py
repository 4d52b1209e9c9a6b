"""The earlier data of `--update`: whole, made under the same criteria, and what is kept of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters.cluster_update import OldClusters
from .config import DataConfig
from .dedup import DedupConfig
from .products import load_product
from .seals import read_sealed
from .shards import hash_file
from .steps import STEP_FILE
from .unique import read_keys

LINKS = (
    ("unique", "records", "records", "sha256"),
    ("clusters", "sequences", "unique", "sequences_sha256"),
    ("split", "unique", "unique", "sha256"),
    ("split", "clusters", "clusters", "sha256"),
)
"""Which entry of a step's fingerprint is which entry of an earlier step's report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierData:
    """A data folder whose clusters and their sides stay; its files are read when they are asked."""

    folder: Path
    steps: dict[str, dict[str, Any]]
    """What `step.json` holds, by the step's name."""

    @property
    def clusters_fingerprint(self) -> dict[str, str]:
        """Hashes of its sequences, their representatives and the clusters' names."""
        clusters = self.steps["clusters"]["report"]
        return {
            "sequences": self.steps["unique"]["report"]["sequences_sha256"],
            "clusters": clusters["sha256"],
            "names": clusters["names_sha256"],
        }

    @property
    def split_fingerprint(self) -> dict[str, str]:
        """Hashes of the clusters' names and sides."""
        names = self.steps["clusters"]["report"]["names_sha256"]
        return {"names": names, "split": self.steps["split"]["report"]["sha256"]}

    def read_clusters(self, config: DedupConfig) -> OldClusters:
        """Read its sequences' keys and its clusters."""
        for step in ("records", "unique", "clusters"):
            self._check_files(step)
        steps = self.folder / "steps"
        return OldClusters(
            keys=read_keys(steps, config),
            representatives=load_product(steps, "clusters"),
            names=read_names(steps),
        )

    def read_sides(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read its clusters' names, and which of them are for validation."""
        for step in ("clusters", "split"):
            self._check_files(step)
        return read_names(self.folder / "steps"), load_product(self.folder / "steps", "split")

    def _check_files(self, step: str) -> None:
        folder = self.folder / "steps" / step
        for name, sha256 in self.steps[step]["files"].items():
            if not (folder / name).is_file() or hash_file(folder / name) != sha256:
                raise ValueError(
                    f"--update {self.folder}: {folder / name} is not the file that its step made; "
                    "prepare that folder again"
                )


def read_names(steps: Path) -> NDArray[np.uint8]:
    """Read the names of the clusters, in the order of their representatives."""
    return np.load(steps / "clusters" / "names.npy")


def read_earlier(folder: Path, config: DataConfig, mmseqs: str) -> EarlierData:
    """Return the earlier data; `ValueError` where it is half made, or made by other criteria."""
    if folder.resolve() == config.out.resolve():
        raise ValueError(
            f"--update {folder} is --out itself, whose steps this run replaces: give the new "
            "release a folder of its own"
        )
    steps = {name: _read_step(folder, name) for name in ("records", "unique", "clusters", "split")}
    for step, deciding in (
        ("unique", asdict(config.dedup)),
        ("clusters", {**config.cluster.deciding, "mmseqs": mmseqs}),
    ):
        before = steps[step]["fingerprint"]
        for name, now in deciding.items():
            if before.get(name) != now:
                raise ValueError(
                    f"--update {folder}: it was prepared with {name}={before.get(name)}, this run "
                    f"has {now}: give the same, or leave --update out"
                )
    for step, entry, source, product in LINKS:
        if steps[step]["fingerprint"].get(entry) != steps[source]["report"].get(product):
            raise ValueError(
                f"--update {folder}: its step {step} was made from another {source} than lies "
                "there, as after a run that was stopped: end that run first"
            )
    return EarlierData(folder=folder, steps=steps)


def _read_step(folder: Path, step: str) -> dict[str, Any]:
    path = folder / "steps" / step / STEP_FILE
    if not path.is_file():
        raise ValueError(
            f"--update {folder}: no {path}; give a folder that `make data` wrote, with its steps/"
        )
    return read_sealed(path)
