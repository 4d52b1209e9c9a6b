"""Raw letters to the RNA alphabet, a block at a time, and why a sequence is not kept.

Whole blocks go through `bytes.translate` and NumPy: a Python loop over records costs more than all
of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUCLEOTIDES = b"ACGU"
LETTERS = NUCLEOTIDES + b"IRYKMSWBDHVN"
"""What a sequence may hold: nucleotides, inosine, and the IUPAC codes for one of several."""

LONGEST_NT = 1 << 24
"""Readers may shorten a longer record: no filter lets it through."""

REJECT_REASONS = ("empty", "letters", "too_short", "too_long", "ambiguous")
"""In this order: a sequence is rejected for the first that holds."""

_TO_RNA = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyztT", b"ABCDEFGHIJKLMNOPQRSTUVWXYZUU")
GAPS = b" \t\r\n\v\f-."
_IS_GAP = bytes(byte in GAPS for byte in range(256))
_CODE, _STRANGE = 1, 2
_KIND = bytes(
    0 if byte in NUCLEOTIDES else _CODE if byte in LETTERS else _STRANGE for byte in range(256)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """Which sequences are kept."""

    min_length_nt: int = 16
    """Bounds of the paper; both are kept."""
    max_length_nt: int = 8192
    max_ambiguous: float = 0.1
    """Highest share of letters that are not A, C, G or U."""

    def __post_init__(self) -> None:
        if self.min_length_nt < 1:
            raise ValueError(f"filter.min_length_nt must be at least 1, got {self.min_length_nt}")
        if not self.min_length_nt <= self.max_length_nt <= LONGEST_NT:
            raise ValueError(
                f"filter.max_length_nt must be at least min_length_nt = {self.min_length_nt} "
                f"and at most {LONGEST_NT}, got {self.max_length_nt}"
            )
        if not 0 <= self.max_ambiguous <= 1:
            raise ValueError(f"filter.max_ambiguous must be in 0..1, got {self.max_ambiguous}")


def normalise(
    letters: NDArray[np.uint8], ends: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return upper-case RNA: U for T, no gaps, no white space, no `*` at a record's end.

    Both arrays are as in `RecordBlock`: all letters joined, and where each record ends.
    """
    raw = letters.tobytes()
    rna = raw.translate(_TO_RNA, GAPS)
    if len(rna) < len(raw):
        gaps = np.flatnonzero(np.frombuffer(raw.translate(_IS_GAP), np.bool_))
        ends = ends - np.searchsorted(gaps, ends)
    letters = np.frombuffer(rna, np.uint8)
    if b"*" in rna:
        lasts = ends[np.diff(ends, prepend=0) > 0] - 1
        stops = lasts[letters[lasts] == ord("*")]
        letters = np.delete(letters, stops)
        ends = ends - np.searchsorted(stops, ends)
    return letters, ends


def find_reject_reasons(
    letters: NDArray[np.uint8], ends: NDArray[np.int64], config: FilterConfig
) -> NDArray[np.int8]:
    """Return each normalised record's reason, numbered from 1 in `REJECT_REASONS`; 0 is kept."""
    lengths = np.diff(ends, prepend=0)
    kinds = np.frombuffer(letters.tobytes().translate(_KIND), np.uint8)
    others = np.flatnonzero(kinds != 0)
    owners = np.searchsorted(ends, others, side="right")
    ambiguous = np.bincount(owners, minlength=len(ends))
    strange = np.bincount(owners[kinds[others] == _STRANGE], minlength=len(ends))
    holds = (
        lengths == 0,
        strange > 0,
        lengths < config.min_length_nt,
        lengths > config.max_length_nt,
        ambiguous > config.max_ambiguous * lengths,
    )
    numbers = [np.int8(number) for number in range(1, len(holds) + 1)]
    return np.select(holds, numbers, np.int8(0))


def select_records(
    letters: NDArray[np.uint8], ends: NDArray[np.int64], is_chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the letters and ends of the chosen records alone."""
    if is_chosen.all():
        return letters, ends
    edges = np.flatnonzero(np.diff(is_chosen, prepend=False, append=False))  # of runs of records
    runs = np.append(0, ends)[edges].reshape(-1, 2).tolist()
    chosen = [letters[start:stop] for start, stop in runs]
    return np.concatenate([letters[:0], *chosen]), np.cumsum(np.diff(ends, prepend=0)[is_chosen])
