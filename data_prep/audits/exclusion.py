"""Records to leave out of a corpus: those near a benchmark's sequences, and whole families.

A record goes if it equals a benchmark's sequence, if it contains one shorter than 25 nt (of which
chance makes relatives), or if their alignment reaches identity and coverage, on either strand; and
if its RNA type or family is named. Records that are not left out keep their order.
"""

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inspection.identity import reverse_complement
from ..mmseqs import LOG_NAME, find_mmseqs
from ..programs import scratch_folder
from .benchmark_tables import ColumnsConfig
from .benchmarks import read_benchmarks
from .contained import SHORT_NT, find_contained
from .searching import (
    SearchConfig,
    format_numbered,
    search,
    write_numbered,
)

REASONS = ("family", "identical", "contains", "near")
"""In the order of asking: a record goes for the first that holds."""
LONG_NT = 100
"""Relatives of a shorter sequence have ungapped alignments that score no more than chance's."""
BLOCK_NT = 1 << 25
"""Letters of records that are searched at a time: MMseqs2's files of a block take up to 2 GB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExclusionConfig:
    """What is left out; nothing by default."""

    benchmarks: tuple[Path, ...] = ()
    """Files or folders of sequences or structures; an audit's `neighbours.tsv` is a table too."""
    families: tuple[str, ...] = ()
    """RNA types or families, as they stand in the labels or in one of their parts (`a; b`)."""
    identity: float = 0.8
    """Lowest identity of an alignment for which a record goes."""
    coverage: float = 0.8
    """Lowest share of the benchmark's sequence that it spans."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """`max_seqs` bounds the alignments of each record that has no near one."""
    min_ungapped_score: int = 25
    """The search's for a benchmark's sequences of 100 nt or more. With 0, as for shorter ones,
    33,000 records took three times as long, and the same went."""

    def __post_init__(self) -> None:
        for name in ("identity", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"exclude.{name} must be in (0, 1], got {getattr(self, name)}")
        if self.min_ungapped_score < 0:
            score = self.min_ungapped_score
            raise ValueError(f"exclude.min_ungapped_score must be at least 0, got {score}")
        for path in self.benchmarks:
            if not path.exists():
                raise ValueError(f"exclude.benchmarks: {path} is no file or folder")


class Labels(NamedTuple):
    """Labels of records: their places among `names`."""

    numbers: NDArray[np.integer]
    names: Sequence[str]
    rows: NDArray[np.integer] | None = None
    """Which record each is of, in any order and number; without, each has one."""


def choose_kept(
    iter_sequences: Callable[[], Iterable[bytes]],
    count: int,
    labels: Sequence[Labels],
    folder: Path,
    config: ExclusionConfig,
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Return which of `count` records are kept, and a report without paths.

    `labels` are columns of RNA types, of families, or none. `folder` takes the log and, for a
    while, MMseqs2's files. A benchmark is searched from the records' side: each needs one
    alignment that reaches the bounds, so that no list of hits is cut short.
    """
    reasons = np.zeros(count, np.uint8)
    per_family = _mark_families(reasons, labels, config.families)
    targets, _ = _read_targets(config)
    commands: list[str] = []
    if targets:
        commands = _mark_near(reasons, iter_sequences(), targets, folder, config)
    counts = np.bincount(reasons, minlength=len(REASONS) + 1).tolist()
    return reasons == 0, {
        "sequences": len(targets),
        "sequences_sha256": hashlib.sha256(b"\n".join(targets)).hexdigest(),
        "shorter_than_25_nt": sum(len(target) < SHORT_NT for target in targets),
        "families": per_family,
        "identity": config.identity,
        "coverage": config.coverage,
        "mmseqs_search": commands,
        "left_out": dict(zip(REASONS, counts[1:], strict=True)),
        "kept": counts[0],
    }


def describe(config: ExclusionConfig) -> dict[str, Any] | None:
    """Return what decides the choice beside the records, for a step's fingerprint and a manifest.

    The benchmarks count by their sequences: neither names nor formats of the files matter.
    """
    if not config.benchmarks and not config.families:
        return None
    targets, _ = _read_targets(config)
    return {
        "sequences_sha256": hashlib.sha256(b"\n".join(targets)).hexdigest(),
        "families": sorted(set(config.families)),
        "identity": config.identity,
        "coverage": config.coverage,
        "min_ungapped_score": config.min_ungapped_score,
        "search": {
            key: value
            for key, value in asdict(config.search).items()
            if key not in ("threads", "split_memory_limit", "min_ungapped_score")
        },
    }


def list_benchmarks(config: ExclusionConfig) -> list[dict[str, Any]]:
    """Return name, hash and number of sequences of each file, which decide no product."""
    return _read_targets(config)[1]


def _read_targets(config: ExclusionConfig) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Return the benchmarks' distinct sequences, sorted, and what the files are."""
    if not config.benchmarks:
        return [], []
    try:
        files, _, skipped = read_benchmarks(config.benchmarks, ColumnsConfig())
    except ValueError as error:
        if "-column" not in str(error):
            raise
        raise ValueError(
            f"{error} (that option is of audits and inputs: of a table to exclude, rename the "
            "column, or give FASTA)"
        ) from error
    if skipped:
        raise ValueError(
            f"exclude.benchmarks: {len(skipped)} files of the folders are not read, and what they "
            f"hold would stay: {'; '.join(skipped[:5])}; name the files to read, or move these away"
        )
    targets = {record.sequence for file in files for record in file.records} - {b""}
    return sorted(targets), [
        {"name": file.name, "sha256": file.sha256, "sequences": len(file.records)} for file in files
    ]


def _mark_families(
    reasons: NDArray[np.uint8], labels: Sequence[Labels], families: Sequence[str]
) -> dict[str, int]:
    """Mark the records of the families; return how many each has, for a record may be of two."""
    counts = {}
    for family in sorted(set(families)):
        is_member = np.zeros(len(reasons), bool)
        for column in labels:
            is_named = [
                family == name or family in re.split(r"\s*;\s*", name) for name in column.names
            ]
            found = np.flatnonzero(np.array(is_named, bool)[column.numbers])
            is_member[found if column.rows is None else column.rows[found]] = True
        if not is_member.any():
            known = sorted({name for column in labels for name in column.names})
            raise ValueError(
                f"exclude.families: no record is of {family!r}; known are "
                f"{', '.join(known)[:500] or 'none'}"
            )
        reasons[is_member] = 1 + REASONS.index("family")
        counts[family] = int(np.count_nonzero(is_member))
    return counts


def _mark_near(
    reasons: NDArray[np.uint8],
    sequences: Iterable[bytes],
    targets: list[bytes],
    folder: Path,
    config: ExclusionConfig,
) -> list[str]:
    """Mark the records near a target, in this order of reasons; return MMseqs2's flags."""
    both_strands = {*targets, *map(reverse_complement, targets)}
    flags: list[object] = ["--min-seq-id", config.identity, "-c", config.coverage]
    flags += ["--cov-mode", 1, "--max-accept", 1]
    with scratch_folder(folder) as scratch:
        groups = list(_write_groups(scratch, targets, config))
        for first, block in _iter_blocks(sequences):
            for number, sequence in enumerate(block, first):
                if not reasons[number] and sequence in both_strands:
                    reasons[number] = 1 + REASONS.index("identical")
            _mark_containing(reasons, block, targets, first)
            for fasta, search_config in groups:
                _mark_aligned(reasons, block, first, fasta, flags, folder / LOG_NAME, search_config)
    return [" ".join(map(str, [*used.describe(), *flags])) for _, used in groups]


def _write_groups(
    folder: Path, targets: list[bytes], config: ExclusionConfig
) -> Iterator[tuple[Path, SearchConfig]]:
    """Write the targets by length; yield the groups that have any, each with its search."""
    for name, lengths, score in (
        ("long", range(LONG_NT, sys.maxsize), config.min_ungapped_score),
        ("short", range(SHORT_NT, LONG_NT), 0),
    ):
        numbers = [number for number, target in enumerate(targets) if len(target) in lengths]
        if write_numbered(folder / f"{name}.fasta", targets, numbers):
            yield folder / f"{name}.fasta", replace(config.search, min_ungapped_score=score)


def _iter_blocks(sequences: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number of each block's first record, and its records."""
    block: list[bytes] = []
    first = nt = 0
    for sequence in sequences:
        block.append(sequence)
        nt += len(sequence)
        if nt >= BLOCK_NT:
            yield first, block
            first, nt, block = first + len(block), 0, []
    if block:
        yield first, block


def _mark_aligned(
    reasons: NDArray[np.uint8],
    block: list[bytes],
    first: int,
    targets: Path,
    flags: list[object],
    log: Path,
    config: SearchConfig,
) -> None:
    """Mark those of a block that align with a group of targets and have no reason to go yet."""
    left = [number for number in range(first, first + len(block)) if not reasons[number]]
    if not left:
        return
    with tempfile.TemporaryDirectory(dir=targets.parent) as folder:
        queries = Path(folder, "records.fasta")
        with queries.open("wb") as file:
            file.writelines(format_numbered(number, block[number - first]) for number in left)
        binary = find_mmseqs()
        for column in search(queries, targets, *flags, log=log, binary=binary, config=config):
            reasons[column["query"]] = 1 + REASONS.index("near")


def _mark_containing(
    reasons: NDArray[np.uint8], block: list[bytes], targets: list[bytes], first: int
) -> None:
    letters = np.frombuffer(b"".join(block), np.uint8)
    ends = np.cumsum([len(sequence) for sequence in block], dtype=np.int64)
    for _, record, _ in find_contained(targets, letters, ends):
        if not reasons[first + record]:
            reasons[first + record] = 1 + REASONS.index("contains")
