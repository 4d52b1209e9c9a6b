"""Time and memory of the whole preparation against corpora of growing size, beside other tools.

`python benchmarks/bench_scale.py --from core.fasta.xz … --sizes 400000 4000000 36000000`

Corpora are made by make_corpus.py and kept in the scratch folder; what is made of them is not.
A size and provider that results.csv has for this commit is not measured again, so that a run of
hours may be stopped and started. Memory is the sum over a command and its children, sampled:
`peak_memory` what they hold of their own, `peak_resident` with the files that they map, which the
system may take back.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zstandard

from make_corpus import CorpusConfig, write_corpus
from openrinalmo.data_prep import prepare
from openrinalmo.data_prep.metadata import MetadataConfig
from openrinalmo.data_prep.mmseqs import ClusterConfig, find_mmseqs
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from rows import RESULTS, append_rows
from templates import read_templates

BENCH = "data_prep_scale"
INTERVAL_SECONDS = 0.05
TOTAL = "total"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(kw_only=True)
class Measured:
    """What one provider took: in all, and by phase where it has any."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Of the command and its children: what a machine busy with other work disturbs least."""
    memory_bytes: dict[str, int] = field(default_factory=dict)
    resident_bytes: dict[str, int] = field(default_factory=dict)

    def note(self, phase: str, memory: int, resident: int) -> None:
        """Take one look at the memory into account."""
        for name in {TOTAL, phase}:
            self.memory_bytes[name] = max(memory, self.memory_bytes.get(name, 0))
            self.resident_bytes[name] = max(resident, self.resident_bytes.get(name, 0))


def main() -> None:
    """Measure what is not measured, append rows, print how time grows with size."""
    arguments = _parse_arguments()
    providers = _find_providers(arguments.threads)
    if unknown := set(arguments.providers) - providers.keys():
        sys.exit(f"--providers {' '.join(sorted(unknown))}: there are {', '.join(providers)}")
    if arguments.providers:
        providers = {name: providers[name] for name in arguments.providers}
    for size in sorted(arguments.sizes):
        missing = [name for name in providers if (size, name, TOTAL) not in _read_rows("seconds")]
        if not missing:
            continue
        corpus = _make_corpus(size, arguments)
        for name in missing:
            with _scratch(arguments.scratch / "run") as folder:
                measured = providers[name](corpus, folder)
            _append(size, name, measured)
    for line in _describe(arguments.sizes):
        sys.stdout.write(line + "\n")


def measure_ours(corpus: Path, folder: Path, *, threads: int) -> Measured:
    """Run prepare.py; a step's memory is what was held while its scratch folder was there."""
    steps = folder / "out" / "steps"

    def find_phase() -> str:
        partial = next(steps.glob("*.partial"), None)
        return partial.stem if partial and partial.is_dir() else "between"

    command = [sys.executable, prepare.__file__, corpus, "--out", folder / "out"]
    measured = run_measured([*command, "--threads", threads], folder, find_phase)
    for path in steps.glob("*/step.json"):
        step = json.loads(path.read_text())
        measured.seconds[path.parent.name] = step["seconds"]
        measured.cpu_seconds[path.parent.name] = step["cpu_seconds"]
    return measured


def measure_easy_linclust(corpus: Path, folder: Path, *, threads: int) -> Measured:
    """Run raw `mmseqs easy-linclust` with our thresholds, on the unpacked FASTA."""
    config = ClusterConfig()
    command = [find_mmseqs(), "easy-linclust", _unpack(corpus, folder), folder / "r", folder / "t"]
    settings = ["--min-seq-id", config.min_seq_id, "-c", config.coverage, "--dbtype", 2]
    return run_measured([*command, *settings, "--threads", threads], folder)


def measure_clusthash(corpus: Path, folder: Path, *, threads: int) -> Measured:
    """Find exact duplicates as MMseqs2 does: createdb, clusthash, clust."""
    mmseqs, database, found = find_mmseqs(), folder / "db", folder / "found"
    fasta = _unpack(corpus, folder)
    parts = [
        run_measured([mmseqs, *command, "--threads", threads], folder)
        for command in (
            ["createdb", fasta, database, "--dbtype", 2],
            ["clusthash", database, found, "--min-seq-id", 1.0],
            ["clust", database, found, folder / "clusters"],
        )
    ]
    return Measured(
        seconds={TOTAL: sum(part.seconds[TOTAL] for part in parts)},
        cpu_seconds={TOTAL: sum(part.cpu_seconds[TOTAL] for part in parts)},
        memory_bytes={TOTAL: max(part.memory_bytes[TOTAL] for part in parts)},
        resident_bytes={TOTAL: max(part.resident_bytes[TOTAL] for part in parts)},
    )


def measure_seqkit(corpus: Path, folder: Path, *, threads: int) -> Measured:
    """Drop exact duplicates with `seqkit rmdup`, by 64-bit hashes."""
    fasta = _unpack(corpus, folder)
    command = ["seqkit", "rmdup", "--by-seq", "--threads", threads, fasta, "-o", folder / "out.fa"]
    return run_measured(command, folder)


def run_measured(
    command: list[object], folder: Path, find_phase: Callable[[], str] = lambda: TOTAL
) -> Measured:
    """Run a command to its end; a failure raises with its last words."""
    measured = Measured()
    done = threading.Event()
    log = folder / "log"
    start = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT)

        def watch() -> None:
            while not done.wait(INTERVAL_SECONDS):
                measured.note(find_phase(), *_sum_memory(process.pid))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
    measured.seconds[TOTAL] = time.monotonic() - start
    measured.cpu_seconds[TOTAL] = usage.ru_utime + usage.ru_stime
    done.set()
    watcher.join()
    if code:
        words = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"`{command[0]} {command[1]}` exited with {code}:\n{words}")
    return measured


def fit_exponent(seconds_by_size: dict[int, float]) -> float:
    """Return the slope of log seconds over log size: 1 is linear."""
    sizes, seconds = zip(*seconds_by_size.items(), strict=True)
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 0.01)), 1)[0])


def _find_providers(threads: int) -> dict[str, Callable[[Path, Path], Measured]]:
    measures = {
        "ours": measure_ours,
        "clusthash": measure_clusthash,
        **({"seqkit": measure_seqkit} if shutil.which("seqkit") else {}),
        "easy_linclust": measure_easy_linclust,
    }

    def bind(measure: Callable[..., Measured]) -> Callable[[Path, Path], Measured]:
        return lambda corpus, folder: measure(corpus, folder, threads=threads)

    return {name: bind(measure) for name, measure in measures.items()}


def _sum_memory(pid: int) -> tuple[int, int]:
    """Return a process's and its descendants' own and resident bytes; gone ones count nothing."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    sums = [_sum_memory(child) for child in children]
    return (
        (resident - shared) * PAGE_BYTES + sum(own for own, _ in sums),
        resident * PAGE_BYTES + sum(whole for _, whole in sums),
    )


def _make_corpus(size: int, arguments: argparse.Namespace) -> Path:
    path = arguments.scratch / f"corpus-{size}.fasta.zst"
    if not path.exists():
        arguments.scratch.mkdir(parents=True, exist_ok=True)
        metadata = arguments.metadata and MetadataConfig(
            path=arguments.metadata, id_column=arguments.metadata_id_column
        )
        templates = read_templates(arguments.families, weights=arguments.weights, metadata=metadata)
        write_corpus(path, templates, CorpusConfig(num_records=size))
    return path


def _unpack(corpus: Path, folder: Path) -> Path:
    """Return plain FASTA, which MMseqs2 needs, made before the clock starts."""
    plain = folder / "in.fasta"
    with corpus.open("rb") as packed, plain.open("wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    return plain


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def _append(size: int, provider: str, measured: Measured) -> None:
    """Append rows; the total's seconds last, since they say that all of it is there."""
    for phase, value in measured.memory_bytes.items():
        _append_row(size, phase, "peak_memory", "GB", provider, value / 1e9)
    for phase, value in measured.resident_bytes.items():
        _append_row(size, phase, "peak_resident", "GB", provider, value / 1e9)
    for phase, value in measured.cpu_seconds.items():
        if value:
            _append_row(size, phase, "sequences_per_cpu_second", "1/s", provider, size / value)
        _append_row(size, phase, "cpu_seconds", "s", provider, value)
    for phase, value in sorted(measured.seconds.items(), key=lambda item: item[0] == TOTAL):
        if value:
            _append_row(size, phase, "sequences_per_second", "1/s", provider, size / value)
        _append_row(size, phase, "seconds", "s", provider, value)


def _append_row(size: int, phase: str, metric: str, unit: str, provider: str, value: float) -> None:
    append_rows(BENCH, f"{size}-{phase}", metric, unit, {provider: [value]})


def _read_rows(metric: str) -> dict[tuple[int, str, str], float]:
    """Return what results.csv has of a metric for this commit, by size, provider and phase."""
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    with RESULTS.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["bench"], row["commit"], row["metric"]) == (BENCH, commit, metric)
        ]
    found = {}
    for row in rows:
        size, phase = row["case"].split("-")
        found[int(size), row["provider"], phase] = float(row["value"])
    return found


def _describe(sizes: list[int]) -> Iterator[str]:
    """Yield the seconds at every size, by the clock and of the processor, and their exponents."""
    sizes = sorted(sizes)
    for metric in ("seconds", "cpu_seconds"):
        known = {key: value for key, value in _read_rows(metric).items() if key[0] in sizes}
        yield f"{metric:<24}" + "".join(f"{size:>12,}" for size in sizes) + "   exponent"
        for provider, phase in sorted({key[1:] for key in known}):
            taken = {s: known[s, provider, phase] for s in sizes if (s, provider, phase) in known}
            cells = "".join(f"{taken[s]:>12.1f}" if s in taken else " " * 12 for s in sizes)
            slope = f"{fit_exponent(taken):>11.3f}" if len(taken) > 1 else ""
            yield f"{provider + ' ' + phase:<24}{cells}{slope}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[400_000], help="records; 4000000 takes an hour")
    add("--from", dest="families", nargs="+", type=Path, default=[SAMPLE_FASTA], metavar="FASTA")
    add("--weights", nargs="+", type=float, default=(), help="share of each file in the corpus")
    add("--metadata", type=Path, metavar="TSV", help="table with the RNA type of each identifier")
    add("--metadata-id-column", default="id")
    add("--providers", nargs="+", default=(), help="which to measure; default all there are")
    add("--scratch", type=Path, default=Path("runs/bench_scale"))
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    main()
