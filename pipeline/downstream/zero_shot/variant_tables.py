"""Measured effects of variants: tables of users, read with errors that name the line.

Columns, with tabs or commas, plain, gzip or xz: `variant`, `effect`, `wild_type`, and `assay` where
a table holds several. A higher effect is a better variant.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ....model.alphabet import encode
from ..structures.text_files import iter_values, open_text

REQUIRED = ("wild_type", "variant", "effect")
MIN_VARIANTS = 3
UNMEASURED = ("", "na", "nan")
"""What a table has, in any case, where an effect was not measured."""
_SUBSTITUTION = re.compile(r"([A-Za-z])(\d+)([A-Za-z])")
_BETWEEN = re.compile(r"[,;:/+\s]+")


class Variant(NamedTuple):
    """One measured sequence: upper case, U for T."""

    name: str
    """As the table has it."""
    sequence: str
    effect: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Assay:
    """One wild type and the effects measured on its variants."""

    name: str
    wild_type: str
    variants: tuple[Variant, ...]
    num_unmeasured: int = 0
    """Rows of the table that were left out: they have no effect."""


def read_assays(path: Path) -> list[Assay]:
    """Every assay of a table, in its order.

    A variant is `A12G` (1-based), several of them (`A12G,C15U`), `WT`, or the whole sequence, which
    alone may insert or delete. T and U are one letter, case does not matter. An empty wild type is
    the one of the assay's row before. Rows whose effect is empty, NA or NaN are counted alone.
    """
    if not path.exists():
        raise FileNotFoundError(f"no table of variants {path}")
    wild_types: dict[str, str] = {}
    variants: dict[str, list[Variant]] = {}
    num_unmeasured: Counter[str] = Counter()
    with open_text(path) as lines:
        header = lines.readline().rstrip("\r\n")
        mark = "\t" if "\t" in header else ","
        named = next(iter_values([header], separator=mark, place=f"{path}:"), (1, []))
        columns = [name.strip() for name in named[1]]
        if missing := [name for name in REQUIRED if name not in columns]:
            raise ValueError(
                f"{path} lacks the column {', '.join(missing)}: the header must have "
                f"{', '.join(REQUIRED)}, and may have assay; got {header[:80]!r}"
            )
        rows = iter_values(lines, separator=mark, first_line=2, place=f"{path}:")
        for number, values in rows:
            if not values:
                continue
            if len(values) != len(columns):
                raise ValueError(
                    f"{path}:{number} has {len(values)} columns, must be {len(columns)}; a list of "
                    "changes with commas needs quotes in a comma-separated table"
                )
            row = dict(zip(columns, (value.strip() for value in values), strict=True))
            try:
                name, variant = _read_row(row, path, wild_types)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from error
            if variant is None:
                num_unmeasured[name] += 1
            else:
                variants.setdefault(name, []).append(variant)
    if not wild_types:
        raise ValueError(f"{path} has a header but no variant")
    assays = [
        Assay(
            name=name,
            wild_type=wild_type,
            variants=tuple(variants.get(name, ())),
            num_unmeasured=num_unmeasured[name],
        )
        for name, wild_type in wild_types.items()
    ]
    for assay in assays:
        _check_assay(assay, path)
    return assays


def parse_variant(variant: str, wild_type: str) -> str:
    """The whole sequence of a variant of `wild_type`."""
    if variant.upper() == "WT":
        return wild_type
    if not any(letter.isdigit() for letter in variant):
        return _read_sequence(variant, "variant")
    letters = list(wild_type)
    changed: set[int] = set()
    for token in filter(None, _BETWEEN.split(variant)):
        found = _SUBSTITUTION.fullmatch(token)
        if found is None:
            raise ValueError(
                f"{token!r} is no substitution such as A12G; write an insertion or deletion as "
                "the whole sequence"
            )
        before, after = (_to_rna(found[group]) for group in (1, 3))
        position = int(found[2])
        if not 1 <= position <= len(wild_type):
            raise ValueError(f"{token} is outside the wild type of {len(wild_type)} nt")
        if wild_type[position - 1] != before:
            raise ValueError(
                f"{token} expects {before} at position {position}, the wild type has "
                f"{wild_type[position - 1]} (positions count from 1)"
            )
        if after not in "ACGU" or before == after:
            raise ValueError(f"{token} must change a letter to another of A, C, G, U")
        if position in changed:
            raise ValueError(f"{variant!r} changes position {position} twice")
        changed.add(position)
        letters[position - 1] = after
    return "".join(letters)


def _read_row(
    row: Mapping[str, str], path: Path, wild_types: dict[str, str]
) -> tuple[str, Variant | None]:
    """The assay of a row, whose wild type is remembered, and its variant if that was measured."""
    name = row.get("assay") or path.name.partition(".")[0]
    if row["wild_type"]:
        wild_type = _read_sequence(row["wild_type"], "wild_type")
        if wild_types.setdefault(name, wild_type) != wild_type:
            raise ValueError(f"assay {name!r} has another wild type above; name them apart")
    elif name not in wild_types:
        raise ValueError(f"the first row of assay {name!r} needs its wild_type")
    if not row["variant"]:
        raise ValueError("the variant is empty; write WT for the wild type")
    sequence = parse_variant(row["variant"], wild_types[name])
    if row["effect"].lower() in UNMEASURED:
        return name, None
    try:
        effect = float(row["effect"])
    except ValueError as error:
        raise ValueError(f"effect {row['effect']!r} is no number; remove the row") from error
    if not math.isfinite(effect):
        raise ValueError(f"effect {row['effect']!r} is not finite; remove the row")
    return name, Variant(row["variant"], sequence, effect)


def _read_sequence(text: str, column: str) -> str:
    try:
        encode(text, strict=True)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from error
    return _to_rna(text)


def _to_rna(text: str) -> str:
    return text.upper().replace("T", "U")


def _check_assay(assay: Assay, path: Path) -> None:
    effects = {variant.effect for variant in assay.variants}
    if len(assay.variants) < MIN_VARIANTS or len(effects) < 2:
        raise ValueError(
            f"{path}: assay {assay.name!r} has {len(assay.variants)} variants with "
            f"{len(effects)} different effects; a rank correlation takes {MIN_VARIANTS} and two"
        )
