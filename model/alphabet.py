"""The published 22-letter alphabet: sequence to ids and back, and which ids may be masked."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOKENS = (
    *("<cls>", "<pad>", "<eos>", "<unk>", "<mask>"),
    *("A", "C", "G", "T", "I", "R", "Y", "K", "M", "S", "W", "B", "D", "H", "V", "N", "-"),
)
"""Token of each id, in the order of the released weights. T stands for U too."""

VOCAB_SIZE = len(TOKENS)
CLS, PAD, EOS, UNK, MASK = range(5)
NUCLEOTIDES = tuple(TOKENS.index(letter) for letter in "ACGT")
"""Ids a random replacement is drawn from."""

_NUM_SPECIALS = 5
_FIRST_LETTER, _GAP = TOKENS.index("A"), TOKENS.index("-")
MASKABLE = tuple(range(_FIRST_LETTER, _GAP))
"""Ids that masked-LM may select: every letter; no special token, no gap."""


def _build_id_of_byte() -> NDArray[np.uint8]:
    table = np.full(256, UNK, np.uint8)
    for index, token in enumerate(TOKENS[_NUM_SPECIALS:], start=_NUM_SPECIALS):
        table[ord(token)] = table[ord(token.lower())] = index
    table[ord("U")] = table[ord("u")] = TOKENS.index("T")
    table.flags.writeable = False
    return table


ID_OF_BYTE = _build_id_of_byte()
"""Id of every ASCII byte, either case; U becomes T, what is no letter of ours becomes `<unk>`."""


def encode(sequence: str, *, strict: bool = False) -> Tensor:
    """Ids of `sequence` between `<cls>` and `<eos>`: uint8, (number of letters + 2).

    Case does not matter, U and T are one letter. Another character becomes `<unk>`, as in the
    published tokeniser, or a `ValueError` with its position where `strict`.
    """
    letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
    inner = ID_OF_BYTE[letters]
    if strict and (unknown := np.flatnonzero(inner == UNK)).size:
        position = int(unknown[0])
        raise ValueError(
            f"letter {sequence[position]!r} at position {position + 1} of {len(sequence)} is no "
            "nucleotide or IUPAC code; remove it or write N"
        )
    return torch.from_numpy(np.concatenate([[CLS], inner, [EOS]]).astype(np.uint8))


def decode(ids: Tensor) -> str:
    """Letters of `ids` as RNA (U, not T), without `<cls>`, `<eos>` and `<pad>`."""
    hidden = {CLS, EOS, PAD}
    return "".join("U" if TOKENS[i] == "T" else TOKENS[i] for i in ids.tolist() if i not in hidden)
