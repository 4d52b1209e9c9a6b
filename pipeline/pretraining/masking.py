"""Masked-LM corruption of packed tokens: a pure function of each sequence's key.

Shape suffixes: B sequences, T packed tokens, M selected tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...model import alphabet
from ...model.masked_lm import IGNORE_INDEX
from .counter_rng import draw_words, mix

_NUCLEOTIDES = np.asarray(alphabet.NUCLEOTIDES, np.uint8)
_FIRST_MASKABLE, _NUM_MASKABLE = np.uint8(alphabet.MASKABLE[0]), np.uint8(len(alphabet.MASKABLE))
assert tuple(range(_FIRST_MASKABLE, _FIRST_MASKABLE + _NUM_MASKABLE)) == alphabet.MASKABLE
_MASK = np.uint8(alphabet.MASK)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskingConfig:
    """Which tokens are predicted, and what stands in their place meanwhile."""

    mask_ratio: float = 0.15
    """Share of letters that are selected; special tokens never are."""
    mask_token_share: float = 0.8
    """Of the selected, the share shown as `<mask>`."""
    random_share: float = 0.1
    """Of the selected, the share shown as a random nucleotide; the rest stays as it is."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"masking.mask_ratio must be in (0, 1), got {self.mask_ratio}")
        shares = (self.mask_token_share, self.random_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                "masking.mask_token_share and masking.random_share must be positive and sum to at "
                f"most 1, got {shares[0]} and {shares[1]}"
            )


def corrupt_tokens(
    ids_T: NDArray[np.uint8],
    cu_seqlens: NDArray[np.int32],
    sequence_keys_B: NDArray[np.uint64],
    config: MaskingConfig,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Corrupted ids, and the rows of T that were selected, ascending; their labels are their ids.

    A sequence's mask depends on its key only, not on its pack. A sequence in which no letter is
    drawn gets its lowest draw selected, so that none is idle.
    """
    words_T = draw_words(sequence_keys_B, cu_seqlens)
    is_maskable_T = ids_T - _FIRST_MASKABLE < _NUM_MASKABLE  # below the first wraps round to above
    rows_M = np.flatnonzero((words_T < _to_threshold(config.mask_ratio)) & is_maskable_T)
    selected_B = np.diff(np.searchsorted(rows_M, cu_seqlens))
    if idle := _find_lowest(words_T, is_maskable_T, cu_seqlens, np.flatnonzero(selected_B == 0)):
        rows_M = np.insert(rows_M, np.searchsorted(rows_M, idle), idle)

    # Only the selected are hashed again: the word says what is shown, its last two bits which
    # letter.
    words_M = mix(words_T[rows_M])
    letters_M = _NUCLEOTIDES[(words_M & np.uint64(3)).view(np.int64)]
    shown_M = np.where(words_M < _to_threshold(config.mask_token_share), _MASK, letters_M)
    is_shown_M = words_M >= _to_threshold(config.mask_token_share + config.random_share)
    corrupted_T = ids_T.copy()
    corrupted_T[rows_M] = np.where(is_shown_M, ids_T[rows_M], shown_M)
    return corrupted_T, rows_M


def mask_tokens(
    ids_T: NDArray[np.uint8],
    cu_seqlens: NDArray[np.int32],
    sequence_keys_B: NDArray[np.uint64],
    config: MaskingConfig,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The same with a label for every token: `IGNORE_INDEX` where none was selected."""
    corrupted_T, rows_M = corrupt_tokens(ids_T, cu_seqlens, sequence_keys_B, config)
    labels_T = np.full(len(ids_T), IGNORE_INDEX, np.int64)
    labels_T[rows_M] = ids_T[rows_M]
    return corrupted_T, labels_T


def _find_lowest(
    words_T: NDArray[np.uint64],
    is_maskable_T: NDArray[np.bool_],
    cu_seqlens: NDArray[np.int32],
    sequences: NDArray[np.int64],
) -> list[int]:
    """Row of the lowest draw among the letters of each of these sequences, if it has letters."""
    rows = []
    for start, end in zip(cu_seqlens[sequences], cu_seqlens[sequences + 1], strict=True):
        letters = np.flatnonzero(is_maskable_T[start:end])
        if len(letters):
            rows.append(int(start + letters[words_T[start + letters].argmin()]))
    return rows


def _to_threshold(share: float) -> np.uint64:
    """What a share of all words is below; of all but one for the whole."""
    return np.uint64(min(int(share * 2**64), 2**64 - 1))
