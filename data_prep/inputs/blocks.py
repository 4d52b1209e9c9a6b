"""What every reader of sequences gives: blocks of raw records, which `records` normalises."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Source = Path | BinaryIO
"""A file, packed or not, or an open stream of unpacked bytes."""


class RecordBlock(NamedTuple):
    """Some consecutive records of one input as they stand there: some megabytes of letters."""

    ids: list[bytes]
    """First word of each header; `b""` where there is none."""
    rna_types: list[bytes | None]
    """What each record itself states, None if nothing."""
    letters: NDArray[np.uint8]
    """Raw letters of all records, joined; line ends may be inside, normalising drops them."""
    ends: NDArray[np.int64]
    """Where each record ends in `letters`."""
    first_number: int
    """Number of the first record in its input, from 1."""
    sources: list[bytes] | None = None
    """Where each record was read first, of prepared data; None: from this input."""


BlockReader = Callable[[Source, Callable[[int], object]], Iterator[RecordBlock]]
"""Yields the blocks of one input; the function it takes hears of the packed bytes read so far."""
