"""What stands beside a pretrained encoder in the table: one-hot input and ViennaRNA.

The third, the same encoder with random weights, is `model.weights.build_random_twin`.
"""

import logging
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from .dot_bracket import parse_dot_bracket
from .structure import Pairs

logger = logging.getLogger(__name__)

ONE_HOT_LETTERS = "ACGU"


def encode_one_hot(sequences: Sequence[str]) -> NDArray[np.float32]:
    """Rows (T, 4) of `sequences` one after the other; an ambiguous letter is a row of zeros."""
    letters = np.frombuffer("".join(sequences).replace("T", "U").encode("ascii"), np.uint8)
    columns = np.frombuffer(ONE_HOT_LETTERS.encode("ascii"), np.uint8)
    return (letters[:, None] == columns).astype(np.float32)


def find_viennarna() -> ModuleType | None:
    """ViennaRNA's module, or None with a logged reason where it is not installed."""
    try:
        import RNA
    except ImportError:
        logger.warning(
            "no row for ViennaRNA: the module RNA is not installed; add the extra `baselines` "
            '(pip install "openrinalmo[baselines]")'
        )
        return None
    return RNA


def fold_mfe(viennarna: ModuleType, sequence: str) -> Pairs:
    """Pairs of the minimum-free-energy structure at 37 degrees, default parameters, no tuning."""
    return parse_dot_bracket(viennarna.fold(sequence)[0])
