"""The nearest record of a prepared corpus to each given sequence: exact, contained, aligned.

Nearness is identity times coverage, the share of the given sequence that the alignment spans. Three
passes, each on both strands: equality, which needs no MMseqs2; containment of sequences shorter
than `SHORT_NT`, among whose relatives chance ones are as near as true ones; `mmseqs search`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..inspection.identity import reverse_complement
from ..mmseqs import LOG_NAME
from ..programs import scratch_folder
from ..shards import SPLITS, Split, open_split
from .contained import SHORT_NT, find_contained
from .searching import (
    SearchConfig,
    format_numbered,
    search,
    write_numbered,
)

CHANCE_NT = (16, 20, 25, 30, 40, 60, 80, 100, 150, 200, 300)
CHANCE_NEARNESS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.65, 0.6, 0.45, 0.4, 0.3)
"""What chance offers, by length: the 99th percentile or more of the nearness of `core`'s records
(42.5 Mnt, both strands) to random sequences, 300 at each of 20 lengths and 600 at each of 18. Of
others, 600 at each of 21 lengths from 16 to 600 nt, at most 0.7 % were nearer. The last holds for
longer ones, to which chance is far below."""
_AMBIGUOUS = bytes.maketrans(b"IRYKMSWBDHVNX", b" " * 13)

Status = Literal["found", "none", "not_searchable"]


class Neighbours(NamedTuple):
    """One entry a sequence; `record` is -1 where there is none."""

    record: NDArray[np.int64]
    """Number in the corpus: training records first."""
    identity: NDArray[np.float64]
    coverage: NDArray[np.float64]
    record_coverage: NDArray[np.float64]
    """Share of the record that the alignment spans."""
    is_reverse: NDArray[np.bool_]
    is_identical: NDArray[np.bool_]
    """The whole record equals the whole sequence, on either strand."""
    covered_identity: NDArray[np.float64]
    """Highest identity of any alignment with the coverage asked for; 0 without one."""

    @property
    def nearness(self) -> NDArray[np.float64]:
        """Identity times coverage."""
        return self.identity * self.coverage


class Corpus:
    """The records of both splits under one numbering, training first."""

    def __init__(self, folder: Path) -> None:
        self.splits: list[Split] = [open_split(folder, split) for split in SPLITS]
        self.num_train = len(self.splits[0])
        self.num_records = sum(map(len, self.splits))

    def locate(self, number: int) -> tuple[Split, int]:
        """Return a record's split and its index there."""
        if number < self.num_train:
            return self.splits[0], number
        return self.splits[1], number - self.num_train

    def iter_sequences(self) -> Iterator[bytes]:
        """Yield every record's letters in order."""
        for split in self.splits:
            for index in range(len(split)):
                yield split.sequence(index).tobytes()


def find_neighbours(
    sequences: Sequence[bytes],
    corpus: Corpus,
    folder: Path,
    *,
    config: SearchConfig,
    coverage: float,
    binary: Path | None,
) -> Neighbours:
    """Return the nearest record to each of the distinct sequences.

    `folder` takes the log and, for a while, MMseqs2's files; without a `binary` only equal records
    and short ones within a record are found.
    """
    found = _start(len(sequences))
    with scratch_folder(folder) as scratch:
        _write_corpus(found, sequences, corpus, scratch / "corpus.fasta", is_searched=bool(binary))
        _add_contained(found, sequences, corpus)
        queries, targets = scratch / "queries.fasta", scratch / "corpus.fasta"
        # Nothing is nearer than a copy.
        left = np.flatnonzero(found.nearness < 1).tolist()
        if binary and write_numbered(queries, sequences, left):
            log = folder / LOG_NAME
            for alignments in search(queries, targets, log=log, binary=binary, config=config):
                _add_alignments(found, alignments, coverage)
    return found


def compute_found_from(lengths_nt: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Return from which nearness on a record is no chance one, for sequences of some lengths."""
    return np.interp(np.asarray(lengths_nt, float), CHANCE_NT, CHANCE_NEARNESS)


def judge(
    sequences: Sequence[bytes], found: Neighbours, *, kmer_nt: int, is_aligned: bool
) -> list[Status]:
    """Say of each sequence whether it has a neighbour, none, or could not be searched for.

    A neighbour is nearer than chance offers at that length. A short sequence without one may well
    have relatives that no pass could tell from chance. Longer ones need a seed of plain letters,
    and MMseqs2 to have run (`is_aligned`).
    """
    statuses: list[Status] = []
    bounds = compute_found_from([len(sequence) for sequence in sequences])
    is_found = (found.record >= 0) & (found.nearness >= bounds)
    for number, sequence in enumerate(sequences):
        runs = sequence.translate(_AMBIGUOUS).split()
        has_seed = max(map(len, runs), default=0) >= kmer_nt
        if is_found[number]:
            statuses.append("found")
        elif len(sequence) < SHORT_NT or not has_seed or not is_aligned:
            statuses.append("not_searchable")
        else:
            statuses.append("none")
    return statuses


def _start(count: int) -> Neighbours:
    zeros = [np.zeros(count) for _ in range(4)]
    return Neighbours(
        record=np.full(count, -1),
        identity=zeros[0],
        coverage=zeros[1],
        record_coverage=zeros[2],
        is_reverse=np.zeros(count, bool),
        is_identical=np.zeros(count, bool),
        covered_identity=zeros[3],
    )


def _write_corpus(
    found: Neighbours, sequences: Sequence[bytes], corpus: Corpus, path: Path, *, is_searched: bool
) -> None:
    """Note equal records and, if the corpus is searched, write all of it."""
    numbers = {sequence: number for number, sequence in enumerate(sequences) if sequence}
    reverse = {reverse_complement(sequence): number for sequence, number in numbers.items()}
    records = tqdm(corpus.iter_sequences(), total=corpus.num_records, desc="corpus", disable=None)
    with path.open("wb") as fasta:
        for record, sequence in enumerate(records):
            for known, is_reverse in ((numbers, False), (reverse, True)):
                number = known.get(sequence)
                if number is None:
                    continue
                # The first equal record, and one of the same strand before an antisense one.
                if not found.is_identical[number] or (found.is_reverse[number] > is_reverse):
                    _set(found, number, record, is_reverse=is_reverse, record_coverage=1.0)
                    found.is_identical[number] = True
            if is_searched:
                fasta.write(format_numbered(record, sequence))


def _set(
    found: Neighbours, number: int, record: int, *, is_reverse: bool, record_coverage: float
) -> None:
    """Note that a record holds a whole sequence letter by letter."""
    found.record[number] = record
    found.is_reverse[number] = is_reverse
    found.record_coverage[number] = record_coverage
    found.identity[number] = found.coverage[number] = found.covered_identity[number] = 1


def _add_contained(found: Neighbours, sequences: Sequence[bytes], corpus: Corpus) -> None:
    first_record = 0
    for split in corpus.splits:
        ends = np.cumsum(split.lengths_nt, dtype=np.int64)
        first_letter = 0
        for letters in split.iter_letters():
            first, last = np.searchsorted(
                ends, [first_letter, first_letter + len(letters)], side="right"
            )
            shard_ends = ends[first:last] - first_letter
            for number, row, is_reverse in find_contained(sequences, letters, shard_ends):
                if found.identity[number] < 1:
                    length = int(split.lengths_nt[first + row])
                    _set(
                        found,
                        number,
                        first_record + int(first) + row,
                        is_reverse=is_reverse,
                        record_coverage=len(sequences[number]) / length,
                    )
            first_letter += len(letters)
        first_record += len(split)


def _add_alignments(found: Neighbours, column: dict[str, NDArray], coverage: float) -> None:
    """Take the alignments that are nearer than what is known; of equals the first record's."""
    query, identity = column["query"], column["fident"]
    spans = [np.abs(column[f"{x}end"] - column[f"{x}start"]) + 1 for x in "qt"]
    covered, record_covered = spans[0] / column["qlen"], spans[1] / column["tlen"]
    is_enough = covered >= coverage
    np.maximum.at(found.covered_identity, query[is_enough], identity[is_enough])
    order = np.lexsort((column["target"], -identity * covered, query))
    best = order[np.unique(query[order], return_index=True)[1]]
    new, old = (identity * covered)[best], found.nearness[query[best]]
    is_first = column["target"][best] < found.record[query[best]]
    best = best[((new > old) | ((new == old) & is_first)) & (old < 1)]
    at = query[best]
    found.record[at] = column["target"][best]
    found.identity[at], found.coverage[at] = identity[best], covered[best]
    found.record_coverage[at] = record_covered[best]
    is_query_reversed = column["qend"] < column["qstart"]
    is_target_reversed = column["tend"] < column["tstart"]
    found.is_reverse[at] = (is_query_reversed != is_target_reversed)[best]
