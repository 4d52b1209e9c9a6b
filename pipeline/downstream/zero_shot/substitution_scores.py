"""Log-likelihood scores of variants by a masked language model, under named conventions.

For a variant that differs from the wild type at positions M, a score is a sum of log p:

    convention          sums over   of                      the model sees
    wt-fill             M           mutant less wild        wild type, the position masked
    mask-fill           M           mutant less wild        wild type, all of M masked at once
    mut-fill            M           mutant less wild        variant, the position masked
    match-fill          M           mutant less wild        mutant: as mut-fill; wild: as wt-fill
    wt-marginal         M           mutant less wild        wild type, nothing masked: one pass
    pseudo-likelihood   everything  variant less wild type  each itself, the position masked
    single-pass         everything  variant less wild type  each itself, nothing masked

The first four differ in what fills the other mutated positions while one is masked, so they are
one and the same where a single letter changes. They, and the wild-type marginal and
pseudo-likelihood, are defined by Meier et al. (2021), "Language models enable zero-shot prediction
of the effects of mutations on protein function", whose "masked marginal" is `wt-fill`. Published
tables have mixed them: a score without its convention cannot be compared.

`wt-fill` and `wt-marginal` add up over positions and cannot see that two changes make up for each
other. Only the last two score insertions and deletions; they sum, so a longer variant pays for
every letter. log p is over the whole alphabet, in fp32. T and U are one letter. Token dropout
rescales a sequence by its share of masks, as in pretraining.

Shape suffixes: T packed tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.alphabet import MASK, encode
from ....model.jacobian import Predict

Convention = Literal[
    "wt-fill",
    "mask-fill",
    "mut-fill",
    "match-fill",
    "wt-marginal",
    "pseudo-likelihood",
    "single-pass",
]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
TAKES_INDELS: tuple[Convention, ...] = ("pseudo-likelihood", "single-pass")


class Term(NamedTuple):
    """One log p that is added to a score, or taken from it."""

    context: bytes
    """Ids that the model sees, `<cls>` and `<eos>` included."""
    row: int
    """Which of its tokens is asked."""
    token: int
    """Id of the letter whose log p counts."""
    sign: int


def list_terms(convention: Convention, wild_type: str, variant: str) -> list[Term]:
    """What the score of a variant is made of; nothing for the wild type itself."""
    wild, own = (encode(sequence, strict=True).numpy() for sequence in (wild_type, variant))
    if np.array_equal(wild, own):
        return []
    if convention in TAKES_INDELS:
        is_masked = convention == "pseudo-likelihood"
        return [
            Term(_mask(ids, [row] if is_masked else []), row, int(ids[row]), sign)
            for ids, sign in ((own, 1), (wild, -1))
            for row in range(1, len(ids) - 1)
        ]
    if len(wild) != len(own):
        raise ValueError(
            f"{convention} cannot score a variant of {len(variant)} nt of a wild type of "
            f"{len(wild_type)} nt; {' and '.join(TAKES_INDELS)} can"
        )
    mutated = np.flatnonzero(wild != own).tolist()
    terms: list[Term] = []
    for row in mutated:
        for_mutant, for_wild = {
            "wt-fill": lambda row=row: (_mask(wild, [row]),) * 2,
            "mask-fill": lambda: (_mask(wild, mutated),) * 2,
            "mut-fill": lambda row=row: (_mask(own, [row]),) * 2,
            "match-fill": lambda row=row: (_mask(own, [row]), _mask(wild, [row])),
            "wt-marginal": lambda: (_mask(wild, []),) * 2,
        }[convention]()
        terms.append(Term(for_mutant, row, int(own[row]), 1))
        terms.append(Term(for_wild, row, int(wild[row]), -1))
    return terms


def can_score(convention: Convention, wild_type: str, variant: str) -> bool:
    """Whether the convention has a score for this variant."""
    return convention in TAKES_INDELS or len(wild_type) == len(variant)


def score_variants(
    predict: Predict,
    wild_type: str,
    variants: Sequence[str],
    convention: Convention,
    *,
    max_tokens: int,
) -> NDArray[np.float64]:
    """Score of each variant in nats, higher for likelier; NaN where the convention has none.

    Equal contexts are run once. They fill packs of `max_tokens`; a longer one is a pack of its own.
    """
    terms_of = [
        list_terms(convention, wild_type, variant)
        if can_score(convention, wild_type, variant)
        else None
        for variant in variants
    ]
    rows_of: dict[bytes, dict[int, int]] = {}
    for terms in terms_of:
        for term in terms or ():
            rows_of.setdefault(term.context, {}).setdefault(term.row, 0)
    log_probs: list[NDArray[np.float64]] = []
    num_rows = 0
    for pack in _iter_packs(list(rows_of), max_tokens):
        found_V = _predict_rows(predict, pack, [list(rows_of[context]) for context in pack])
        log_probs.append(found_V)
        for context in pack:
            for row in rows_of[context]:
                rows_of[context][row] = num_rows
                num_rows += 1
    table = np.concatenate(log_probs) if log_probs else np.zeros((0, 0))
    return np.array(
        [
            np.nan
            if terms is None
            # From 0.0, so that no terms make a float; fp32 values add up exactly enough in fp64.
            else sum((t.sign * table[rows_of[t.context][t.row], t.token] for t in terms), 0.0)
            for terms in terms_of
        ]
    )


def _mask(ids: NDArray[np.uint8], rows: Sequence[int]) -> bytes:
    shown = ids.copy()
    shown[list(rows)] = MASK
    return shown.tobytes()


def _iter_packs(contexts: Sequence[bytes], max_tokens: int) -> Iterator[list[bytes]]:
    pack: list[bytes] = []
    size = 0
    for context in contexts:
        if pack and size + len(context) > max_tokens:
            yield pack
            pack, size = [], 0
        pack.append(context)
        size += len(context)
    if pack:
        yield pack


def _predict_rows(
    predict: Predict, pack: Sequence[bytes], rows: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Log-probabilities of the asked rows, context after context."""
    lengths = [len(context) for context in pack]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids_T = torch.from_numpy(np.frombuffer(b"".join(pack), np.uint8).copy())
    logits_TV = predict(ids_T, torch.from_numpy(starts).int(), max(lengths))
    asked = np.concatenate(
        [start + np.array(some) for start, some in zip(starts[:-1], rows, strict=True)]
    )
    chosen = logits_TV[torch.from_numpy(asked).to(logits_TV.device)].float()
    return chosen.log_softmax(-1).double().cpu().numpy()
