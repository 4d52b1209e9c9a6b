"""Clusters of sequences: MMseqs2 for those with k-mers, an own path for the short, strands kept."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
from numpy.typing import NDArray

from ..mmseqs import (
    LOG_NAME,
    ClusterConfig,
    choose_memory_limit,
    find_mmseqs,
    run_mmseqs,
    say_command,
)
from ..programs import scratch_folder
from .cluster_check import check_sample
from .kmer_matches import LEAST_K, find_forward_members, settle_matches
from .kmer_passes import choose_table_limit
from .sequence_file import SequenceFile
from .short_rnas import cluster_short
from .strands import split_antisense


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The sequences of one clustering on disk; positions are numbers among all of them."""

    long: SequenceFile
    long_positions: NDArray[np.int64]
    short: list[bytes]
    short_positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.long_positions) + len(self.short_positions)


class Clusterer:
    """MMseqs2 on sequences in a scratch folder: its commands are listed as they are run."""

    def __init__(self, scratch: Path, log: Path, config: ClusterConfig) -> None:
        self.config = config
        self.scratch = scratch
        self.log = log
        self._forward = self.scratch / "forward"  # the pairs of the last clustering
        self.commands: list[str] = []
        self.left_out = 0
        self.settled = 0
        self._binary = find_mmseqs()
        self._memory = choose_memory_limit(config.split_memory_limit)

    def run(self, *arguments: object) -> None:
        """Run one MMseqs2 module and note its command, without the folder."""
        said = ["mmseqs", *(str(a).replace(f"{self.scratch}/", "") for a in arguments)]
        runner = self.config.mpi_runner
        self.commands.append(say_command(said, runner))
        run_mmseqs(self._binary, *arguments, log=self.log, mpi_runner=runner)

    @property
    def limits(self) -> list[object]:
        """Arguments that change no result."""
        return ["--threads", self.config.threads, "--split-memory-limit", self._memory]

    def create_database(self, file: SequenceFile, name: str) -> Path:
        """Write MMseqs2's form of the sequences, the type stated: it guesses from ten of them."""
        database = self.scratch / name
        threads = ["--threads", self.config.threads]
        self.run("createdb", file.path, database, "--dbtype", 2, "--shuffle", 0, *threads)
        return database

    def cluster(self, file: SequenceFile) -> NDArray[np.int64]:
        """Return each sequence's representative; one that MMseqs2 drops stands alone."""
        if not len(file):
            return np.empty(0, np.int64)
        config = self.config
        database = self.create_database(file, "db")
        clusters, table = self.scratch / "clu", self.scratch / "tsv"
        criteria = ["--min-seq-id", config.min_seq_id, "-c", config.coverage]
        criteria += ["--cov-mode", config.cov_mode, "--kmer-per-seq", config.kmer_per_seq]
        mode = [] if config.cluster_mode is None else ["--cluster-mode", config.cluster_mode]
        is_cascade = config.method == "cluster"
        # The cascade begins with a linclust whose k-mers have their own length.
        k = 0 if is_cascade else config.k
        first = self.scratch / "clu_first" if is_cascade else clusters
        work = self._prepare_reuse("tmp_linclust" if is_cascade else "tmp")
        self._match_kmers(file, database, work / "pref", k, criteria)
        self.run(
            *["linclust", database, first, work.parent, *criteria, *mode, "-k", k],
            *["--force-reuse", 1, *self.limits],
        )
        if is_cascade:
            work = self._prepare_reuse("tmp")
            for path in self.scratch.glob("clu_first*"):
                path.rename(work / path.name.replace("clu_first", "clu_redundancy"))
            self.run(
                *["cluster", database, clusters, work.parent, *criteria, *mode, "-k", config.k],
                *["-s", config.sensitivity, "--force-reuse", 1, *self.limits],
            )
        self.run("createtsv", database, database, clusters, table, "--threads", config.threads)
        representatives, missing = read_representatives(table, len(file))
        self.left_out += missing
        for path in self.scratch.iterdir():
            if path != file.path and path.name.startswith(("db", "clu", "tsv", "tmp")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return representatives

    def _prepare_reuse(self, name: str) -> Path:
        """Return a workflow's folder; what lies there already, its `--force-reuse` goes on from."""
        work = self.scratch / name / "run"
        work.mkdir(parents=True)
        (work.parent / "latest").symlink_to(work.name)
        return work

    def _match_kmers(
        self, file: SequenceFile, database: Path, target: Path, k: int, criteria: list[object]
    ) -> None:
        """Write linclust's k-mer matches: the only part of it that chance decides, settled."""
        matches = self.scratch / "tmp_matches"
        memory = choose_table_limit(file.lengths, k, self.config.kmer_per_seq, self._memory)
        self.run(
            *["kmermatcher", database, matches, *criteria, "-k", k],
            *["--threads", self.config.threads, "--split-memory-limit", memory],
        )
        self.settled += settle_matches(
            file, matches, target, self._forward, k or LEAST_K, threads=self.config.threads
        )
        for path in self.scratch.glob("tmp_matches*"):
            path.unlink()

    def cluster_some(self, file: SequenceFile, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the representatives of some sequences clustered among themselves."""
        part = file.write_some(self.scratch / "some.fasta", numbers)
        return numbers[self.cluster(part)]

    def cluster_stranded(self, file: SequenceFile) -> tuple[NDArray[np.int64], dict[str, int]]:
        """Cluster, and split off antisense members unless both strands are asked for."""
        representatives = self.cluster(file)
        if self.config.strand == "both":
            return representatives, {}
        is_forward = None
        if len(file):
            is_forward = find_forward_members(self._forward, representatives)
        return split_antisense(
            file,
            representatives,
            self.config.criteria,
            lambda numbers: self.cluster_some(file, numbers),
            is_forward,
        )


def cluster_sequences(
    sequences: Iterable[bytes], folder: Path, config: ClusterConfig
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Cluster sequences; return each one's representative by number, and a report.

    `folder` takes the log and, while it runs, MMseqs2's files. Numbers are places in `sequences`:
    where order matters, the earlier one is preferred.
    """
    with open_clusterer(folder, config) as clusterer:
        parts = write_sequences(sequences, clusterer.scratch, config)
        representatives = np.arange(len(parts))
        local, report = clusterer.cluster_stranded(parts.long)
        representatives[parts.long_positions] = parts.long_positions[local]
        report |= join_short(parts, representatives, config)
        return representatives, report | check(clusterer, parts, local)


@contextmanager
def open_clusterer(folder: Path, config: ClusterConfig) -> Iterator[Clusterer]:
    """Yield MMseqs2 with its log in `folder` and, while the body runs, its files."""
    with scratch_folder(folder) as scratch:
        yield Clusterer(scratch, folder / LOG_NAME, config)


def write_sequences(sequences: Iterable[bytes], scratch: Path, config: ClusterConfig) -> Sequences:
    """Write those that MMseqs2 takes and keep the short ones, each with its position."""
    short: list[bytes] = []
    short_positions: list[int] = []
    count = 0

    def iter_long() -> Iterator[bytes]:
        nonlocal count
        for sequence in sequences:
            if len(sequence) < config.short.max_nt:
                short.append(sequence)
                short_positions.append(count)
            else:
                yield sequence
            count += 1

    long = SequenceFile(scratch / "in.fasta", iter_long())
    is_long = np.ones(count, bool)
    is_long[short_positions] = False
    return Sequences(
        long=long,
        long_positions=np.flatnonzero(is_long),
        short=short,
        short_positions=np.array(short_positions, np.int64),
    )


def join_short(
    parts: Sequences,
    representatives: NDArray[np.int64],
    config: ClusterConfig,
    is_settled: NDArray[np.bool_] | None = None,
) -> dict[str, int]:
    """Fill in the representatives of the short sequences that are not settled already.

    Longer representatives take short members too where the coverage allows it.
    """
    is_head = representatives == np.arange(len(representatives))
    local = np.flatnonzero(
        is_head[parts.long_positions]
        & (parts.long.lengths <= config.short.compute_host_nt(config.coverage))
    )
    is_known = np.zeros(len(parts.short), bool)
    if is_settled is not None:
        is_known = is_settled[parts.short_positions]
    used = np.flatnonzero(~is_known | is_head[parts.short_positions])
    positions = np.concatenate([parts.long_positions[local], parts.short_positions[used]])
    found = cluster_short(
        [parts.long.read(host).tobytes() for host in local] + [parts.short[i] for i in used],
        np.concatenate([np.ones(len(local), bool), is_known[used]]),
        config.short,
        config.criteria,
    )
    joined = found != np.arange(len(found))
    representatives[positions[joined]] = positions[found[joined]]
    return {
        "short_sequences": len(parts.short),
        "short_joined_short": int(np.count_nonzero(joined & (found >= len(local)))),
        "short_joined_longer": int(np.count_nonzero(joined & (found < len(local)))),
    }


def check(
    clusterer: Clusterer, parts: Sequences, representatives: NDArray[np.int64]
) -> dict[str, Any]:
    """Check a sample of MMseqs2's clusters; return what was done."""
    checked = check_sample(
        parts.long, representatives, clusterer.config.criteria, clusterer.config.sample
    )
    return {
        "checked": checked,
        "commands": clusterer.commands,
        "left_out_by_mmseqs": clusterer.left_out,
        "strands_settled": clusterer.settled,
    }


def read_representatives(table: Path, count: int) -> tuple[NDArray[np.int64], int]:
    """Return each sequence's representative of a cluster table, and how many it does not name."""
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
