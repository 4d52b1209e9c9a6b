"""`mmseqs search` of sequences under numbers, as nucleotides and on both strands."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from .mmseqs import run_mmseqs

LOG_NAME = "mmseqs.log"
_TO_DNA = bytes.maketrans(b"UIX", b"TNN")
ALIGNMENT_COLUMNS = (
    *("query", "target", "fident", "qstart", "qend", "qlen", "tstart", "tend", "tlen"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """`mmseqs search` in its own words where it has some; all but `threads` decide the result."""

    kmer_nt: int = 9
    """Letters of a seed; 11 is about ten times faster, and right past a billion letters."""
    max_seqs: int = 300
    """Records aligned to a sequence, the best by ungapped score."""
    gap_open: int = 4
    gap_extend: int = 1
    """Costs; MMseqs2's own 5 and 2 end alignments of 75 % identity before the sequence ends."""
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __post_init__(self) -> None:
        if not 7 <= self.kmer_nt <= 15:
            raise ValueError(f"search.kmer_nt must be in 7..15, got {self.kmer_nt}")
        for name in ("max_seqs", "gap_open", "gap_extend", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"search.{name} must be at least 1, got {getattr(self, name)}")

    def describe(self) -> list[object]:
        """Return the flags of `mmseqs search` that decide what it finds.

        The e-value is no bound: an exact copy of 20 letters is rare by no e-value, and nearness
        says what an alignment is worth. Low-complexity letters count.
        """
        return [
            *["--search-type", 3, "--strand", 2, "--alignment-mode", 3],
            *["-k", self.kmer_nt, "--spaced-kmer-mode", 0, "--mask", 0, "--min-ungapped-score", 0],
            *["-e", 100000, "--max-seqs", self.max_seqs],
            *["--gap-open", f"aa:11,nucl:{self.gap_open}"],
            *["--gap-extend", f"aa:1,nucl:{self.gap_extend}"],
        ]


def search(
    queries: Path, targets: Path, *flags: object, log: Path, binary: Path, config: SearchConfig
) -> Path:
    """Search the FASTA file `targets` for each of `queries`; return the table of alignments.

    MMseqs2's files stand beside the two, in a folder that the caller makes and deletes.
    """
    scratch = queries.parent
    result, table = scratch / "hits", scratch / "alignments.tsv"
    databases = [fasta.with_suffix("") for fasta in (queries, targets)]
    threads = ["--threads", config.threads]
    for fasta, database in zip((queries, targets), databases, strict=True):
        run_mmseqs(
            *[binary, "createdb", fasta, database, "--dbtype", 2, "--shuffle", 0, *threads],
            log=log,
        )
    run_mmseqs(
        *[binary, "search", *databases, result, scratch / "tmp", *config.describe()],
        *[*flags, *threads],
        log=log,
    )
    run_mmseqs(
        *[binary, "convertalis", *databases, result, table, "--search-type", 3],
        *["--format-output", ",".join(ALIGNMENT_COLUMNS), *threads],
        log=log,
    )
    return table


def write_numbered(path: Path, sequences: Iterable[bytes]) -> None:
    """Write sequences under their numbers for MMseqs2, which drops empty ones with a complaint."""
    with path.open("wb") as file:
        for number, sequence in enumerate(sequences):
            if sequence:
                file.write(format_numbered(number, sequence))


def format_numbered(number: int, sequence: bytes) -> bytes:
    """Return one record: DNA letters, N for inosine and X."""
    return b">%d\n%b\n" % (number, sequence.translate(_TO_DNA))


def iter_alignments(table: Path) -> Iterator[dict[str, NDArray]]:
    """Yield the alignments in blocks: 64,000 sequences have up to 19 million of them."""
    if not table.stat().st_size:
        return
    types = {name: pa.float64() if name == "fident" else pa.int64() for name in ALIGNMENT_COLUMNS}
    reader = pyarrow.csv.open_csv(
        table,
        read_options=pyarrow.csv.ReadOptions(column_names=list(ALIGNMENT_COLUMNS)),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t"),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types),
    )
    for batch in reader:
        columns = (column.to_numpy() for column in batch.columns)
        yield dict(zip(ALIGNMENT_COLUMNS, columns, strict=True))
