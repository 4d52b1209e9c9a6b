"""RNA types from a table: tab-separated, one line of column names, packed or not."""

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from .inputs.archives import ArchiveError, open_unpacked
from .type_words import NO_TYPE_RANK, rank_type

TYPE_COLUMNS = ("rna_type", "type")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataConfig:
    """A table that gives records their RNA type, by the identifier in the FASTA header."""

    path: Path
    id_column: str = "id"
    type_column: str | None = None
    """By default `rna_type`, else `type`."""


class RnaTypes:
    """RNA types by identifier, of which the 64-bit XXH3 is held: 12 bytes an identifier.

    That one of 36 million other identifiers looked up has the hash of one of 36 million held, and
    so its type, has a chance of 1 in 14,000; that two of those held collide, 1 in 28,000.
    """

    def __init__(self, hashes: NDArray[np.uint64], types: NDArray[np.uint32], names: Sequence[str]):
        """Take each line's hash and its type's place among `names`.

        Of equal hashes the first whose type tells something counts, else the first.
        `hashes` is sorted in place: a copy of 36 million would be 288 MB.
        """
        ranks = np.array([rank_type(name) for name in names], np.int8)
        order = np.lexsort((ranks[types], hashes))
        types = types[order]
        del order
        hashes.sort()
        is_first = np.ones(len(hashes), bool)
        np.not_equal(hashes[1:], hashes[:-1], out=is_first[1:])
        if not is_first.all():
            hashes, types = hashes[is_first], types[is_first]
        self._hashes, self._types = hashes, types
        self._names: list[str | None] = [*names, None]

    def __len__(self) -> int:
        return len(self._hashes)

    def get(self, identifier: str) -> str | None:
        """Return the type of one identifier; of many, `find` is some twenty times faster."""
        return self.find([identifier.encode()])[0]

    def find(self, ids: Sequence[bytes]) -> list[str | None]:
        """Return the type of each identifier (UTF-8), None where the table has none."""
        if not len(self):
            return [None] * len(ids)
        hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, ids), np.uint64, len(ids))
        order = np.argsort(hashes)  # neighbours are then searched near each other
        places = np.empty(len(ids), np.int64)
        places[order] = np.searchsorted(self._hashes, hashes[order])
        places[places == len(self)] = 0
        unknown = len(self._names) - 1
        numbers = np.where(self._hashes[places] == hashes, self._types[places], unknown)
        return list(map(self._names.__getitem__, numbers.tolist()))


def read_rna_types(config: MetadataConfig) -> RnaTypes:
    """Return the RNA types by identifier; of several lines, the first that tells one counts.

    Bytes that are not UTF-8 are replaced, as they are in the identifiers of records. While the
    table is sorted, twice the memory that it is held in is used.
    """
    hashes, types = array("Q"), array("I")
    numbers: dict[str, int] = {}
    number = 0
    file = open_unpacked(config.path)
    try:
        with io.TextIOWrapper(file, encoding="utf-8", errors="replace") as text:
            lines = enumerate(map(_split, text), start=1)
            number, columns = next(lines, (0, []))
            id_index, type_index = _find_columns(config, columns)
            for number, row in lines:
                if row == [""]:
                    continue
                if len(row) != len(columns):
                    raise ValueError(
                        f"{config.path}, line {number}: {len(row)} fields, "
                        f"the first line has {len(columns)}"
                    )
                rna_type = row[type_index].strip()
                if rank_type(rna_type) < NO_TYPE_RANK:
                    hashes.append(xxhash.xxh3_64_intdigest(row[id_index].encode()))
                    types.append(numbers.setdefault(rna_type, len(numbers)))
    except ArchiveError as error:
        raise ValueError(f"{config.path}, after line {number} (unpacked): {error}") from error
    return RnaTypes(
        np.frombuffer(hashes, np.uint64), np.frombuffer(types, np.uint32), list(numbers)
    )


def _split(line: str) -> list[str]:
    return line.rstrip("\n").split("\t")


def _find_columns(config: MetadataConfig, columns: list[str]) -> tuple[int, int]:
    wanted = [config.type_column] if config.type_column else TYPE_COLUMNS
    type_column = next((name for name in wanted if name in columns), None)
    for name, flag in ((config.id_column, "id"), (type_column, "type")):
        if name not in columns:
            raise ValueError(
                f"{config.path}: no column {name or ' or '.join(wanted)!r} among "
                f"{', '.join(columns) or 'none'}; name it with --metadata-{flag}-column"
            )
    assert type_column is not None
    return columns.index(config.id_column), columns.index(type_column)
