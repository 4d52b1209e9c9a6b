"""RNA types by the numbers of RNAcentral's identifiers, in bounded memory.

RNAcentral numbers its sequences one after another (`URS` and ten hex digits), so its types are one
byte at the place of that number: about 50 MB for 46 million, exact, whatever the order of lines;
Rfam's hits are three bytes, and seven while their scores are compared.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from .inputs.archives import ArchiveError, open_unpacked
from .type_words import TELLING_RANK, rank_type

logger = logging.getLogger(__name__)

URS_LENGTH = 13
HIGHEST_NUMBER = 2**31
"""Two billion bytes would be held; RNAcentral 27 has 46 million sequences."""
MAX_TYPES = 255
CSV_BLOCK_BYTES = 8 * 2**20
TYPE_COLUMN = 4
"""Of `id_mapping.tsv`: URS, database, external id, taxon, RNA type, gene."""
FAMILY_COLUMN, SCORE_COLUMN, START_COLUMN, STOP_COLUMN = 1, 2, 4, 5
"""Of `rfam_annotations.tsv`: URS, family, score, E-value, where in the sequence, where in the
model, the family in words."""
MIN_HIT_SHARE = 0.5
"""Of a sequence that a hit must span to name it: no second family can span as much beside it, and a
lncRNA that holds a miRNA's hairpin is no pre_miRNA."""
_LONGEST_HIT = np.iinfo(np.uint16).max
_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = np.arange(16)


class UrsTypes:
    """One type for each number: the first that tells something, else the first."""

    def __init__(self) -> None:
        self._names: list[bytes] = [b""]
        self._codes = np.zeros(1 << 16, np.uint8)

    def add(self, path: Path) -> None:
        """Read RNAcentral's mapping."""
        counts = _Counts()
        for ids, labels in _iter_columns(path, {0: pa.binary(), TYPE_COLUMN: pa.binary()}):
            numbers = parse_urs(ids)
            codes = _encode(self._names, labels, None)
            usable = counts.find_usable(numbers, codes)
            self._merge(numbers[usable], codes[usable])
        counts.finish(path)

    def find(self, numbers: NDArray[np.int64]) -> list[bytes | None]:
        """Return the type of each number, None where nothing is known of it."""
        codes, _ = _look_up(numbers, self._codes)
        return [self._names[code] or None for code in codes.tolist()]

    def _merge(self, numbers: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        """Keep the first type of each number; a telling one replaces another."""
        if not len(numbers):
            return
        self._codes = _grow(self._codes, int(numbers.max()) + 1)
        is_telling = np.array([rank_type(name) == TELLING_RANK for name in self._names])
        telling = is_telling[codes]
        for wanted in (telling, ~telling):
            chosen = numbers[wanted]
            free = self._codes[chosen] == 0
            if wanted is telling:
                free |= ~is_telling[self._codes[chosen]]
            # Assigned from the last to the first, so that the first of several remains.
            self._codes[chosen[free][::-1]] = codes[wanted][free][::-1]


class RfamHits:
    """The best hit of each number: the one of the highest score, of several the first."""

    def __init__(self) -> None:
        self._names: list[bytes] = [b""]
        self._codes = np.zeros(1 << 16, np.uint8)
        self._extents_nt = np.zeros(1 << 16, np.uint16)

    def add(self, path: Path, families: Mapping[str, str]) -> None:
        """Read RNAcentral's hits of Rfam's families, whose types `families` gives."""
        counts = _Counts()
        best_scores = np.zeros(1 << 16, np.float32)
        columns = {
            0: pa.binary(),
            FAMILY_COLUMN: pa.binary(),
            SCORE_COLUMN: pa.float32(),
            START_COLUMN: pa.int64(),
            STOP_COLUMN: pa.int64(),
        }
        for ids, labels, *numeric in _iter_columns(path, columns):
            scores, starts, stops = (column.to_numpy() for column in numeric)
            numbers = parse_urs(ids)
            codes = _encode(self._names, labels, families)
            extents = np.minimum(np.abs(stops - starts) + 1, _LONGEST_HIT)
            rows = np.flatnonzero(counts.find_usable(numbers, codes))
            rows = rows[np.lexsort((rows, -scores[rows], numbers[rows]))]
            chosen, first = np.unique(numbers[rows], return_index=True)
            rows = rows[first]
            size = int(chosen[-1]) + 1 if len(chosen) else 0
            self._codes = _grow(self._codes, size)
            self._extents_nt = _grow(self._extents_nt, size)
            best_scores = _grow(best_scores, size)
            is_best = (self._codes[chosen] == 0) | (scores[rows] > best_scores[chosen])
            chosen, rows = chosen[is_best], rows[is_best]
            self._codes[chosen] = codes[rows]
            self._extents_nt[chosen] = extents[rows]
            best_scores[chosen] = scores[rows]
        counts.finish(path)

    def find(self, numbers: NDArray[np.int64], lengths_nt: NDArray[np.int64]) -> list[bytes | None]:
        """Return the type of the best hit of each number, if it spans enough of the sequence."""
        codes, places = _look_up(numbers, self._codes)
        is_spanned = self._extents_nt[places] >= MIN_HIT_SHARE * lengths_nt
        return [self._names[code] or None for code in np.where(is_spanned, codes, 0).tolist()]


def parse_urs(ids: pa.Array) -> NDArray[np.int64]:
    """Return the number in `URS00000ABC12` or `URS00000ABC12_9606`, -1 for anything else."""
    ids = ids.cast(pa.large_binary())
    _, offsets, values = ids.buffers()
    ends = np.frombuffer(offsets, np.int64, len(ids) + 1, ids.offset * 8)
    letters = np.frombuffer(values or b"", np.uint8)
    numbers = np.full(len(ids), -1, np.int64)
    rows = np.flatnonzero(np.diff(ends) >= URS_LENGTH)
    if not len(rows):
        return numbers
    starts, lengths = ends[:-1][rows], np.diff(ends)[rows]
    digits = _HEX[letters[starts[:, None] + np.arange(3, URS_LENGTH)]]
    named = (letters[starts[:, None] + np.arange(3)] == np.frombuffer(b"URS", np.uint8)).all(1)
    after = letters[np.minimum(starts + URS_LENGTH, len(letters) - 1)]
    ended = (lengths == URS_LENGTH) | ((after == ord("_")) & (lengths > URS_LENGTH + 1))
    found = digits.astype(np.int64) @ (16 ** np.arange(URS_LENGTH - 4, -1, -1))
    good = named & ended & (digits < 16).all(1) & (found < HIGHEST_NUMBER)
    numbers[rows[good]] = found[good]
    return numbers


class _Counts:
    """How many lines of a table are of use."""

    def __init__(self) -> None:
        self._used = self._skipped = 0

    def find_usable(
        self, numbers: NDArray[np.int64], codes: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Return which lines have an identifier and a type, and count them."""
        usable = (numbers >= 0) & (codes > 0)
        self._skipped += int((numbers < 0).sum())
        self._used += int(usable.sum())
        return usable

    def finish(self, path: Path) -> None:
        """Refuse a table without a usable line; warn of those that were passed over."""
        if not self._used:
            raise ValueError(f"{path}: none of its lines has an identifier URS… and a type")
        if self._skipped:
            logger.warning("%s: %d lines without an identifier URS…", path.name, self._skipped)


def _encode(
    names: list[bytes], labels: pa.Array, words: Mapping[str, str] | None
) -> NDArray[np.uint8]:
    """Return each label's place in `names`, which grows; `words` translates labels."""
    encoded = labels.dictionary_encode()
    codes = []
    for label in encoded.dictionary.to_pylist():
        if words is not None:
            label = words.get(label.decode(errors="replace"), "").encode()  # noqa: PLW2901
        if label not in names:
            names.append(label)
        codes.append(names.index(label))
    if len(names) > MAX_TYPES:
        raise ValueError(f"more than {MAX_TYPES} RNA types: is it the column of types?")
    return np.array([*codes, 0], np.uint8)[encoded.indices.to_numpy(zero_copy_only=False)]


def _look_up(
    numbers: NDArray[np.int64], codes: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the code at each number, 0 past the end, and the places that are looked at."""
    known = (numbers >= 0) & (numbers < len(codes))
    places = np.where(known, numbers, 0)
    return np.where(known, codes[places], 0), places


def _grow(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the array with at least `size` elements, further ones 0."""
    if size <= len(array):
        return array
    grown = np.zeros(max(size, len(array) * 3 // 2), array.dtype)
    grown[: len(array)] = array
    return grown


def _iter_columns(path: Path, columns: Mapping[int, pa.DataType]) -> Iterator[list[pa.Array]]:
    """Yield some columns of a table without a header, block by block."""
    needed = max(columns) + 1
    try:
        with open_unpacked(path) as file:
            width = file.readline().count(b"\t") + 1
        if width < needed:
            raise ValueError(
                f"{path}, line 1: {width} columns separated by tabs, expected at least {needed}"
            )
        wrong: list[str] = []

        def skip(row: csv.InvalidRow) -> str:
            wrong.append(row.text)
            return "skip"

        names = [str(number) for number in range(width)]
        types = {str(number): kind for number, kind in columns.items()}
        with open_unpacked(path) as file:
            yield from csv.open_csv(
                file,
                csv.ReadOptions(column_names=names, block_size=CSV_BLOCK_BYTES, use_threads=False),
                csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=skip),
                csv.ConvertOptions(include_columns=[*types], column_types=types, null_values=[]),
            )
        if wrong:
            logger.warning(
                "%s: %d lines have not %d columns, the first is %.80r",
                path.name, len(wrong), width, wrong[0],
            )  # fmt: skip
    except ArchiveError as error:
        raise ValueError(f"{path}: {error}") from error
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a table separated by tabs: {error}") from error
