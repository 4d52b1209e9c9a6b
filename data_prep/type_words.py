"""Words for RNA types: which tell something, and what those of others are in RNAcentral's.

Every table of words is short: a word that is in none stays as it is.
"""

import re
from collections.abc import Sequence

from .shards import UNKNOWN_RNA_TYPE

NO_TYPE = ("", "-", ".", "NA", UNKNOWN_RNA_TYPE)
"""How inputs of any kind write that a type is not known."""
GENERIC = ("misc_RNA", "ncRNA", "other", "RNA")
"""Types that say nothing: any other one of the same sequence counts instead."""
TELLING_RANK, GENERIC_RANK, NO_TYPE_RANK = range(3)

ENSEMBL_WORDS = {
    "miRNA": "pre_miRNA",  # Ensembl's are the hairpins
    "Mt_rRNA": "rRNA",
    "Mt_tRNA": "tRNA",
    "scaRNA": "snoRNA",
    "vaultRNA": "vault_RNA",
    # Since release 97 Ensembl itself says lncRNA for these.
    **dict.fromkeys(
        (
            *("lincRNA", "antisense", "sense_intronic", "sense_overlapping", "non_coding"),
            *("3prime_overlapping_ncRNA", "bidirectional_promoter_lncRNA", "macro_lncRNA"),
        ),
        "lncRNA",
    ),
}
"""Ensembl's biotypes."""

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
"""Rfam's most special word for a family's type."""
RFAM_NAMES = (
    (re.compile(r"(?:^|_)SRP$"), "SRP_RNA"),
    (re.compile(r"(?:^|[_-])tmRNA$"), "tmRNA"),
    (re.compile(r"(?:^|_)telomerase(?:$|[_-])", re.IGNORECASE), "telomerase_RNA"),
    (re.compile(r"^Y_RNA$"), "Y_RNA"),
    (re.compile(r"^RNase_?P(?:$|[_-])"), "RNase_P_RNA"),
    (re.compile(r"^RNase_MRP$"), "RNase_MRP_RNA"),
    (re.compile(r"^Vault$"), "vault_RNA"),
)
"""Families of which Rfam's type says only that they are genes, or ribozymes, by their names."""


def rank_type(rna_type: str | bytes | None) -> int:
    """Return how little a type says: `TELLING_RANK`, `GENERIC_RANK` or `NO_TYPE_RANK`."""
    name = rna_type.decode(errors="replace") if isinstance(rna_type, bytes) else rna_type
    if name is None or name in NO_TYPE:
        return NO_TYPE_RANK
    return GENERIC_RANK if name in GENERIC else TELLING_RANK


def choose_types(
    first: Sequence[str | bytes | None], second: Sequence[str | bytes | None]
) -> list[str | bytes | None]:
    """Return of each pair of types the first, or the second where that says more."""
    ranks = {rna_type: rank_type(rna_type) for rna_type in {*first, *second}}
    pairs = zip(first, second, strict=True)
    return [one if ranks[one] <= ranks[other] else other for one, other in pairs]


def translate_rfam(family: str, words: Sequence[str]) -> str:
    """Return the RNA type of a family of Rfam, by its name, else by the last word of its type."""
    named = (word for pattern, word in RFAM_NAMES if pattern.search(family))
    return next(named, RFAM_WORDS.get(words[-1], words[-1]))
