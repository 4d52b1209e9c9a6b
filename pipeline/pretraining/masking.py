"""Masked-LM corruption of packed tokens: a pure function of each sequence's key.

Shape suffixes: B sequences, T packed tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...model import alphabet
from ...model.masked_lm import IGNORE_INDEX
from .counter_rng import derive_key, uniform

_SELECT, _KIND, _REPLACE = 1, 2, 3
_IS_MASKABLE = np.isin(np.arange(256), alphabet.MASKABLE)
_NUCLEOTIDES = np.asarray(alphabet.NUCLEOTIDES, np.uint8)


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


def mask_tokens(
    ids_T: NDArray[np.uint8],
    cu_seqlens: NDArray[np.int32],
    sequence_keys_B: NDArray[np.uint64],
    config: MaskingConfig,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Corrupted ids and labels; a sequence's mask depends on its key only, not on its pack.

    A sequence in which no letter is drawn gets its lowest draw selected, so that none is idle.
    """
    lengths_B = np.diff(cu_seqlens)
    keys_T = np.repeat(sequence_keys_B, lengths_B)
    position_T = np.arange(len(ids_T)) - np.repeat(cu_seqlens[:-1], lengths_B)

    draw_T = uniform(derive_key(keys_T, _SELECT), position_T)
    draw_T[~_IS_MASKABLE[ids_T]] = 2.0
    lowest_T = np.repeat(np.minimum.reduceat(draw_T, cu_seqlens[:-1]), lengths_B)
    is_masked_T = ((draw_T < config.mask_ratio) | (draw_T == lowest_T)) & (draw_T < 1.0)

    kind_T = uniform(derive_key(keys_T, _KIND), position_T)
    becomes_mask_T = is_masked_T & (kind_T < config.mask_token_share)
    becomes_random_T = (
        is_masked_T & ~becomes_mask_T & (kind_T < config.mask_token_share + config.random_share)
    )
    replacement_T = (uniform(derive_key(keys_T, _REPLACE), position_T) * 4).astype(np.intp)

    corrupted_T = np.where(becomes_mask_T, np.uint8(alphabet.MASK), ids_T)
    corrupted_T = np.where(becomes_random_T, _NUCLEOTIDES[replacement_T], corrupted_T)
    labels_T = np.where(is_masked_T, ids_T.astype(np.int64), IGNORE_INDEX)
    return corrupted_T, labels_T
