"""RNA types that RNAcentral and Rfam state, by identifier or by family."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .inputs.archives import ArchiveError, open_unpacked
from .type_words import choose_types, translate_rfam
from .urs_types import RfamHits, UrsTypes, parse_urs

RFAM_NAME_COLUMN, RFAM_TYPE_COLUMN = 1, 18  # of family.txt
RFAM_ROOTS = ("Gene", "Cis-reg", "Intron")
_FAMILY = re.compile(r"RF\d{5}")


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
        if self.rfam_annotations and not self.family:
            raise ValueError(
                f"--rfam-annotations {self.rfam_annotations} names families: give their types too, "
                "with --family-table"
            )


class Annotations:
    """RNA types by identifier (`URS…`, with or without taxon), else by family of the input file."""

    def __init__(self, config: AnnotationConfig) -> None:
        self._families = read_rfam_types(config.family) if config.family else {}
        self._urs, self._hits = UrsTypes(), RfamHits()
        if config.id_mapping:
            self._urs.add(config.id_mapping)
        if config.rfam_annotations:
            self._hits.add(config.rfam_annotations, self._families)

    def find(
        self, source: str, ids: list[bytes], lengths_nt: NDArray[np.int64]
    ) -> list[str | bytes | None]:
        """Return the type of each sequence, None where nothing is known of it.

        `source` is the input's file name: that of a family (`RF00005.fa.gz`) gives its type.
        """
        family = _FAMILY.match(source)
        by_file = self._families.get(family[0]) if family else None
        numbers = parse_urs(pa.array(ids, pa.binary()))
        found = choose_types(self._urs.find(numbers), self._hits.find(numbers, lengths_nt))
        return choose_types(found, [by_file] * len(ids))


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
        types[fields[0]] = translate_rfam(fields[RFAM_NAME_COLUMN], words)
    return types
