"""RNA types from a table: tab-separated, one line of column names, packed or not."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from .archives import ArchiveError, open_unpacked

TYPE_COLUMNS = ("rna_type", "type")
NO_TYPE = ("", "-", ".", "NA")
"""How tables write that a type is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataConfig:
    """A table that gives records their RNA type, by the identifier in the FASTA header."""

    path: Path
    id_column: str = "id"
    type_column: str | None = None
    """By default `rna_type`, else `type`."""


def read_rna_types(config: MetadataConfig) -> dict[str, str]:
    """Return the RNA type by identifier; of several lines with a type, the first counts.

    The table is held in memory: about 200 bytes a line.
    """
    rna_types: dict[str, str] = {}
    interned: dict[str, str] = {}  # few distinct types: hold each once
    try:
        with io.TextIOWrapper(open_unpacked(config.path), encoding="utf-8", newline="") as text:
            rows = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns = next(rows, [])
            id_index, type_index = _find_columns(config, columns)
            for row in filter(None, rows):
                if len(row) != len(columns):
                    raise ValueError(
                        f"{config.path}, line {rows.line_num}: {len(row)} fields, "
                        f"the first line has {len(columns)}"
                    )
                rna_type = row[type_index].strip()
                if rna_type not in NO_TYPE:
                    rna_type = interned.setdefault(rna_type, rna_type)
                    rna_types.setdefault(row[id_index], rna_type)
    except (ArchiveError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{config.path}: {error}") from error
    return rna_types


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
