"""Sequences on disk under their numbers: one-line FASTA for MMseqs2, mapped for random access."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_TO_DNA = bytes.maketrans(b"UI", b"TN")
_WRITE_BYTES = 1 << 24


class SequenceFile:
    """A FASTA file whose n-th record is named n, since MMseqs2 splits some headers at a pipe.

    Letters are in the DNA form, as MMseqs2 takes them: `letters` are the file's bytes, and those of
    record n begin at `starts[n]`. Memory holds 12 bytes a record.
    """

    def __init__(self, path: Path, sequences: Iterable[bytes]) -> None:
        self.path = path
        lengths, pending, pending_bytes = [np.empty(0, np.int32)], [], 0
        count = 0
        with path.open("wb") as file:
            for count, sequence in enumerate(sequences, start=1):
                pending.append(sequence)
                pending_bytes += len(sequence)
                if pending_bytes >= _WRITE_BYTES:
                    lengths.append(_write(file, pending, count - len(pending)))
                    pending, pending_bytes = [], 0
            lengths.append(_write(file, pending, count - len(pending)))
        self.lengths: NDArray[np.int32] = np.concatenate(lengths)
        sizes = self.lengths + _count_digits(count) + 3  # ">" and two line ends
        self.starts = np.cumsum(sizes) - self.lengths - 1
        self.letters = np.memmap(path, np.uint8, mode="r") if count else np.empty(0, np.uint8)
        assert not count or self.starts[-1] + self.lengths[-1] + 1 == len(self.letters)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the letters of some records, each with a line end behind it, and where they end.

        The line end is no letter, so that no k-mer goes over from one record to the next.
        """
        sizes = self.lengths[numbers].astype(np.int64) + 1
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1] if len(ends) else 0)
        places += np.repeat(self.starts[numbers] - ends + sizes, sizes)
        return self.letters[places], ends

    def read(self, number: int) -> NDArray[np.uint8]:
        """Return the letters of one record."""
        start = self.starts[number]
        return self.letters[start : start + self.lengths[number]]

    def write_some(self, path: Path, numbers: NDArray[np.int64]) -> "SequenceFile":
        """Write some records under new numbers, from 0."""
        return SequenceFile(path, (self.read(number).tobytes() for number in numbers))


def _write(file: BinaryIO, sequences: list[bytes], first: int) -> NDArray[np.int32]:
    # All at once: the letters of one record cost as much to translate as their number to say.
    letters = b"\n".join(sequences).translate(_TO_DNA).split(b"\n") if sequences else ()
    file.write(b"".join([b">%d\n%b\n" % pair for pair in enumerate(letters, start=first)]))
    return np.fromiter(map(len, sequences), np.int32, len(sequences))


def _count_digits(count: int) -> NDArray[np.int64]:
    """Return how many digits 0..count-1 have; exact, since no logarithm is taken."""
    powers = 10 ** np.arange(1, 19, dtype=np.int64)
    return np.searchsorted(powers, np.arange(count), side="right") + 1
