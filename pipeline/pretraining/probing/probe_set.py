"""The RNAs of the structure probes: a few families to fit on, others to score, always the same.

Shape suffix: L letters of one RNA.
"""

import lzma
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ....data_prep.sample import SAMPLE_STRUCTURES
from ....model.alphabet import encode

FIT_FAMILIES = ("5S_rRNA", "Cobalamin", "U2")
"""What the logistic probe learns from which attention map means a pair."""
HELD_OUT_FAMILIES = ("tRNA", "U1", "Vault")
"""What every probe is scored on."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeRna:
    """One RNA with its known pairs."""

    id: str
    family: str
    sequence: str
    ids_T: Tensor
    """Its tokens, `<cls>` and `<eos>` among them."""
    is_paired_LL: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSet:
    """Two lists that share no family."""

    fit: list[ProbeRna]
    held_out: list[ProbeRna]


def read_probe_set(
    *, rnas_per_family: int, max_length_nt: int, path: Path = SAMPLE_STRUCTURES
) -> ProbeSet:
    """RNAs of the embedded sample, at even steps through each family's, in the file's order.

    An RNA is eligible that is short enough and holds nothing but A, C, G and U.
    """
    eligible: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    with lzma.open(path, "rt", encoding="ascii") as lines:
        next(lines)
        for line in lines:
            fields = tuple(line.rstrip("\n").split("\t"))
            _, family, sequence, _ = fields
            if len(sequence) <= max_length_nt and set(sequence) <= set("ACGU"):
                eligible[family].append(fields)

    def choose(families: tuple[str, ...]) -> list[ProbeRna]:
        chosen = []
        for family in families:
            rnas = eligible[family]
            count = min(rnas_per_family, len(rnas))
            chosen += [rnas[place * len(rnas) // count] for place in range(count)]
        return [
            ProbeRna(
                id=name,
                family=family,
                sequence=sequence,
                ids_T=encode(sequence),
                is_paired_LL=read_is_paired(structure),
            )
            for name, family, sequence, structure in chosen
        ]

    return ProbeSet(fit=choose(FIT_FAMILIES), held_out=choose(HELD_OUT_FAMILIES))


def read_is_paired(dot_bracket: str) -> Tensor:
    """Symmetric bool map of a balanced dot-bracket of `()`, `[]` and `{}`."""
    is_paired_LL = torch.zeros(len(dot_bracket), len(dot_bracket), dtype=torch.bool)
    open_at: dict[str, list[int]] = {")": [], "]": [], "}": []}
    closing_of = dict(zip("([{", ")]}", strict=True))
    for j, mark in enumerate(dot_bracket):
        if mark in closing_of:
            open_at[closing_of[mark]].append(j)
        elif mark in open_at:
            i = open_at[mark].pop()
            is_paired_LL[i, j] = is_paired_LL[j, i] = True
    return is_paired_LL
