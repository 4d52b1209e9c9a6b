"""Categorical Jacobian: how every substitution moves the logits of every letter.

Zhang et al. (2024), "Protein language models learn evolutionary statistics of interacting sequence
motifs". Shape suffixes: T packed tokens, V vocabulary, L letters of one RNA, N mutants, 4
nucleotides in the order of `alphabet.NUCLEOTIDES`. jacobian_L4L4 is (L, 4, L, 4).
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from . import alphabet
from .contacts import find_letters

Predict = Callable[[Tensor, Tensor, int], Tensor]
"""Logits_TV of packed ids_T, cu_seqlens and max_seqlen: any model, sharded or not."""


class _Variant(NamedTuple):
    """An RNA by its index, and one letter of it turned to one of the four nucleotides."""

    rna: int
    letter: int = 0
    nucleotide: int | None = None
    """None for the RNA as it is."""


def compute_jacobians(
    predict: Predict,
    rnas: Sequence[Tensor],
    *,
    max_tokens: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[Tensor]:
    """The jacobian_L4L4 of every RNA, given as ids; fp32.

    Entry [i, a, j, b] is the logit of nucleotide b at letter j after letter i became a, less the
    same logit of the RNA as it is. Nothing is shown as `<mask>`, so token dropout scales every
    variant alike. Variants fill packs of `max_tokens`; one that is longer is a pack of its own.

    With `world_size` > 1 the packs are shared out: the sum over ranks is the whole, to the last
    bit. Every rank calls `predict` equally often; who has no pack left repeats the first.
    """
    if not rnas:
        return []
    nucleotides = torch.tensor(alphabet.NUCLEOTIDES, device=rnas[0].device)
    letters = [find_letters(ids) for ids in rnas]

    def predict_letters(pack: list[_Variant]) -> list[tuple[list[_Variant], Tensor]]:
        """Logits_NL4 of the pack's variants, for each RNA it has variants of."""
        groups = [list(group) for _, group in groupby(pack, key=lambda variant: variant.rna)]
        ids = [_write_ids(rnas[group[0].rna], letters[group[0].rna], group) for group in groups]
        lengths = [len(rnas[variant.rna]) for variant in pack]
        ends = torch.tensor([0, *lengths], device=nucleotides.device).cumsum(0)
        logits_TV = predict(torch.cat([many.flatten() for many in ids]), ends.int(), max(lengths))
        parts = logits_TV.split([many.numel() for many in ids])
        return [
            (group, part.view(*many.shape, -1)[:, letters[group[0].rna]][..., nucleotides].float())
            for group, many, part in zip(groups, ids, parts, strict=True)
        ]

    sizes = [len(ids) for ids in rnas]
    wild_L4: list[Tensor] = []
    for pack in _plan_packs([_Variant(rna) for rna in range(len(rnas))], sizes, max_tokens):
        wild_L4 += [logits_1L4[0] for _, logits_1L4 in predict_letters(pack)]
    jacobians = [logits.new_zeros(len(logits), 4, *logits.shape) for logits in wild_L4]

    packs = _plan_packs(_list_mutants(rnas, letters), sizes, max_tokens)
    for first in range(0, len(packs), world_size):
        number = first + rank
        is_real = number < len(packs)
        for group, logits_NL4 in predict_letters(packs[number if is_real else 0]):
            if is_real:
                rna, where, turned = zip(*group, strict=True)
                jacobians[rna[0]][list(where), list(turned)] = logits_NL4 - wild_L4[rna[0]]
    return jacobians


def _list_mutants(rnas: Sequence[Tensor], letters: Sequence[Tensor]) -> list[_Variant]:
    """Every substitution of every RNA: three a nucleotide, four where an N or the like stands."""
    return [
        _Variant(rna, letter, nucleotide)
        for rna, (ids, where) in enumerate(zip(rnas, letters, strict=True))
        for letter, present in enumerate(ids[where].tolist())
        for nucleotide, token in enumerate(alphabet.NUCLEOTIDES)
        if token != present
    ]


def _write_ids(ids_T: Tensor, letters: Tensor, variants: list[_Variant]) -> Tensor:
    """Ids of variants of one RNA, (N, T)."""
    ids_NT = ids_T.repeat(len(variants), 1)
    for row, (_, letter, nucleotide) in enumerate(variants):
        if nucleotide is not None:
            ids_NT[row, letters[letter]] = alphabet.NUCLEOTIDES[nucleotide]
    return ids_NT


def _plan_packs(
    variants: list[_Variant], sizes: list[int], max_tokens: int
) -> list[list[_Variant]]:
    packs: list[list[_Variant]] = []
    room = 0
    for variant in variants:
        if not packs or sizes[variant.rna] > room:
            packs.append([])
            room = max_tokens
        packs[-1].append(variant)
        room -= sizes[variant.rna]
    return packs
