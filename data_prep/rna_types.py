"""RNA types that RNAcentral and Rfam state, by identifier or by family, in bounded memory.

RNAcentral numbers its sequences one after another (`URS` and ten hex digits), so its types are one
byte at the place of that number: about 50 MB for 46 million, exact, whatever the order of lines.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from .inputs.archives import ArchiveError, open_unpacked

logger = logging.getLogger(__name__)

URS_LENGTH = 13
HIGHEST_NUMBER = 2**31
"""Two billion bytes would be held; RNAcentral 27 has 46 million sequences."""
MAX_TYPES = 255
GENERIC = (b"misc_RNA", b"ncRNA", b"other", b"RNA")
"""Types that say nothing: any other one of the same sequence counts instead."""
CSV_BLOCK_BYTES = 8 * 2**20
TYPE_COLUMN, FAMILY_COLUMN = 4, 1  # of id_mapping.tsv and of rfam_annotations.tsv
RFAM_TYPE_COLUMN = 18  # of family.txt
RFAM_ROOTS = ("Gene", "Cis-reg", "Intron")
_FAMILY = re.compile(r"RF\d{5}")
_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = np.arange(16)

RFAM_WORDS = {
    "antisense": "antisense_RNA",
    "CD-box": "snoRNA",
    "Cis-reg": "cis_reg",
    "Gene": "ncRNA",
    "HACA-box": "snoRNA",
    "Intron": "intron",
    "miRNA": "pre_miRNA",
    "scaRNA": "snoRNA",
    "splicing": "snRNA",
}
"""Rfam's most special word for a type, where RNAcentral has another; the rest stay as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationConfig:
    """Files of RNA types as RNAcentral and Rfam publish them; each may be missing."""

    id_mapping: Path | None = None
    """RNAcentral's `id_mapping.tsv.gz`: URS, database, external id, taxon, RNA type, gene."""
    rfam_annotations: Path | None = None
    """RNAcentral's `rfam_annotations.tsv.gz`: for sequences without a telling type."""
    family: Path | None = None
    """Rfam's `family.txt.gz`."""

    def __post_init__(self) -> None:
        if self.rfam_annotations and not (self.id_mapping and self.family):
            raise ValueError("rfam_annotations needs id_mapping and family beside it")


class Annotations:
    """RNA types by identifier (`URS…`, with or without taxon), else by family of the input file."""

    def __init__(self, config: AnnotationConfig) -> None:
        self._families = read_rfam_types(config.family) if config.family else {}
        self._urs = _UrsTypes()
        if config.id_mapping:
            self._urs.add(config.id_mapping, TYPE_COLUMN, None)
        if config.rfam_annotations:
            self._urs.add(config.rfam_annotations, FAMILY_COLUMN, self._families)

    def find(self, source: str, ids: list[bytes]) -> list[bytes | None]:
        """Return the type of each identifier, None where nothing is known of it.

        `source` is the input's file name: that of a family (`RF00005.fa.gz`) gives its type.
        """
        family = _FAMILY.match(source)
        by_file = self._families.get(family[0]) if family else None
        default = by_file.encode() if by_file else None
        return [found or default for found in self._urs.find(ids)]


def read_rfam_types(path: Path) -> dict[str, str]:
    """Return the RNA type of each family of Rfam's `family.txt`, in RNAcentral's words.

    The table is a MySQL dump: no header, and a backslash before a line end or tab in a field.
    """
    try:
        with open_unpacked(path) as file:
            text = file.read().decode("latin-1")
    except ArchiveError as error:
        raise ValueError(f"{path}: {error}") from error
    types = {}
    for number, row in enumerate(re.split(r"(?<!\\)\n", text), start=1):
        if not row:
            continue
        fields = re.split(r"(?<!\\)\t", row)
        words = fields[RFAM_TYPE_COLUMN].split(";") if len(fields) > RFAM_TYPE_COLUMN else []
        words = [word.strip() for word in words if word.strip()]
        if not _FAMILY.fullmatch(fields[0]) or not words or words[0] not in RFAM_ROOTS:
            raise ValueError(
                f"{path}, row {number}: expected a family, and its type in column "
                f"{RFAM_TYPE_COLUMN + 1}: Rfam's table has another layout than this code knows"
            )
        types[fields[0]] = RFAM_WORDS.get(words[-1], words[-1])
    return types


class _UrsTypes:
    """One byte for each number: 0 for nothing known, else the place in `names`."""

    def __init__(self) -> None:
        self.names: list[bytes] = [b""]
        self._codes = np.zeros(1 << 16, np.uint8)

    def add(self, path: Path, column: int, words: Mapping[str, str] | None) -> None:
        """Read a table; what is known and tells something stays. `words` translates the column."""
        used = skipped = 0
        for ids, labels in _iter_columns(path, column):
            numbers = _parse_urs(ids)
            codes = self._encode(labels, words)
            usable = (numbers >= 0) & (codes > 0)
            skipped += int((numbers < 0).sum())
            used += int(usable.sum())
            self._merge(numbers[usable], codes[usable])
        if not used:
            raise ValueError(f"{path}: none of its lines has an identifier URS… and a type")
        if skipped:
            logger.warning("%s: %d lines without an identifier URS…", path.name, skipped)

    def find(self, ids: list[bytes]) -> list[bytes | None]:
        """Return the type of each identifier that is a URS and known."""
        numbers = _parse_urs(pa.array(ids, pa.binary()))
        known = (numbers >= 0) & (numbers < len(self._codes))
        codes = np.where(known, self._codes[np.where(known, numbers, 0)], 0)
        return [self.names[code] or None for code in codes.tolist()]

    def _encode(
        self, labels: pa.DictionaryArray, words: Mapping[str, str] | None
    ) -> NDArray[np.uint8]:
        codes = []
        for label in labels.dictionary.to_pylist():
            if words is not None:
                label = words.get(label.decode(errors="replace"), "").encode()  # noqa: PLW2901
            if label not in self.names:
                self.names.append(label)
            codes.append(self.names.index(label))
        if len(self.names) > MAX_TYPES:
            raise ValueError(f"more than {MAX_TYPES} RNA types: is it the column of types?")
        return np.array([*codes, 0], np.uint8)[labels.indices.to_numpy(zero_copy_only=False)]

    def _merge(self, numbers: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        """Keep the first type of each number; a telling one replaces a generic one."""
        if not len(numbers):
            return
        if (size := int(numbers.max()) + 1) > len(self._codes):
            grown = np.zeros(max(size, len(self._codes) * 3 // 2), np.uint8)
            grown[: len(self._codes)] = self._codes
            self._codes = grown
        generic = np.array([name in (b"", *GENERIC) for name in self.names])
        telling = ~generic[codes]
        for wanted in (telling, ~telling):
            chosen = numbers[wanted]
            free = self._codes[chosen] == 0
            if wanted is telling:
                free |= generic[self._codes[chosen]]
            # Assigned from the last to the first, so that the first of several remains.
            self._codes[chosen[free][::-1]] = codes[wanted][free][::-1]


def _iter_columns(path: Path, column: int) -> Iterator[tuple[pa.Array, pa.DictionaryArray]]:
    """Yield the identifiers and one more column of a table without a header, block by block."""
    try:
        with open_unpacked(path) as file:
            width = file.readline().count(b"\t") + 1
        if width <= column:
            raise ValueError(
                f"{path}, line 1: {width} columns separated by tabs, expected at least {column + 1}"
            )
        wrong: list[str] = []

        def skip(row: csv.InvalidRow) -> str:
            wrong.append(row.text)
            return "skip"

        names = [str(number) for number in range(width)]
        with open_unpacked(path) as file:
            reader = csv.open_csv(
                file,
                csv.ReadOptions(column_names=names, block_size=CSV_BLOCK_BYTES, use_threads=False),
                csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=skip),
                csv.ConvertOptions(
                    include_columns=["0", str(column)],
                    column_types={"0": pa.binary(), str(column): pa.binary()},
                ),
            )
            for batch in reader:
                yield batch.column(0), batch.column(1).dictionary_encode()
        if wrong:
            logger.warning(
                "%s: %d lines have not %d columns, the first is %.80r",
                path.name, len(wrong), width, wrong[0],
            )  # fmt: skip
    except ArchiveError as error:
        raise ValueError(f"{path}: {error}") from error
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a table separated by tabs: {error}") from error


def _parse_urs(ids: pa.Array) -> NDArray[np.int64]:
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
