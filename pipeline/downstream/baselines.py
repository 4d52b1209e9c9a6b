"""What stands beside a pretrained encoder in the table: one-hot input and programs that fold.

Another, the same encoder with random weights, is `model.weights.build_random_twin`; k-mer rows are
in `kmers.py`. No program is imported before it is asked for; all run in this process.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from .structure import Pairs
from .structures.dot_bracket import parse_dot_bracket

logger = logging.getLogger(__name__)

ONE_HOT_LETTERS = "ACGU"
FOLDER_SYSTEMS = (
    *("viennarna", "linearpartition", "eternafold", "contrafold"),
    *("squarna", "squarna-fast"),
)
"""What `find_folder` can be asked for, by the name users write."""
SQUARNA_CONFIGS = ((1000, "1000.conf"), (500, "500.conf"), (0, "def.conf"))
"""SQUARNA's own choice of settings: the first whose length in nt an RNA reaches."""
SQUARNA_FAST_CONFIGS = ((0, "fastest.conf"),)
"""What it recommends for very large inputs, with one structure followed at a time: 300 nt take
0.3 s, not 50 s."""
SQUARNA_POOL = 1000
"""Structures its greedy algorithm follows side by side before it stops branching: its default."""
SQUARNA_PREFERRED = frozenset(("bppN", "bppH1", "bppH2"))
"""Parameter sets whose structures its own entry ranks first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A program that folds one RNA, deterministic and without anything tuned by us."""

    name: str
    """As the table names it."""
    version: str
    """Distribution, version and settings: everything that decides its structures."""
    fold_to_dot_bracket: Callable[[str], str]
    """From upper-case A, C, G, U and N, at least one of them."""

    def fold(self, sequence: str) -> Pairs:
        """Pairs (P, 2), 0-based with i < j, ordered by i; pseudoknots where the program has them.

        T reads as U and lower case as upper; every other letter, a gap too, is a base that pairs
        with none.
        """
        if not sequence:
            return np.empty((0, 2), np.int64)
        dot_bracket = self.fold_to_dot_bracket(_keep_four_letters(sequence))
        if len(dot_bracket) != len(sequence):
            raise ValueError(
                f"{self.name} gave {len(dot_bracket)} marks for {len(sequence)} nt ({self.version})"
            )
        return parse_dot_bracket(dot_bracket)


def encode_one_hot(sequences: Sequence[str]) -> NDArray[np.float32]:
    """Rows (T, 4) of `sequences` one after the other; an ambiguous letter is a row of zeros."""
    letters = np.frombuffer("".join(sequences).replace("T", "U").encode("ascii"), np.uint8)
    columns = np.frombuffer(ONE_HOT_LETTERS.encode("ascii"), np.uint8)
    return (letters[:, None] == columns).astype(np.float32)


def find_folder(system: str) -> Folder | None:
    """The program `system`, or None with a logged reason and the cure where it cannot run."""
    if system == "viennarna":
        return _find_viennarna_folder()
    if system in ("linearpartition", "eternafold"):
        return _find_linearpartition(system)
    if system == "contrafold":
        logger.warning(
            "no row for CONTRAfold: no library with its parameters is on PyPI "
            "(linearpartition-unofficial holds ViennaRNA's and EternaFold's); eternafold is "
            "the same kind of model, refitted"
        )
        return None
    if system in ("squarna", "squarna-fast"):
        return _find_squarna(fast=system == "squarna-fast")
    raise ValueError(f"no folding program {system!r}; there are {', '.join(FOLDER_SYSTEMS)}")


def find_viennarna() -> ModuleType | None:
    """ViennaRNA's module, or None with a logged reason where it is not installed."""
    return _import_or_warn("RNA", "ViennaRNA", "viennarna")


def _find_viennarna_folder() -> Folder | None:
    """ViennaRNA's minimum-free-energy structure; nested."""
    viennarna = find_viennarna()
    if viennarna is None:
        return None
    return Folder(
        name="ViennaRNA",
        version=f"viennarna {viennarna.__version__} mfe 37C",
        fold_to_dot_bracket=lambda sequence: viennarna.fold(sequence)[0],
    )


def _find_linearpartition(system: str) -> Folder | None:
    """LinearPartition's maximum-expected-accuracy structure, with its defaults; nested."""
    name, mode = {
        "linearpartition": ("LinearPartition", "vienna"),
        "eternafold": ("EternaFold (LinearPartition)", "eterna"),
    }[system]
    library = _import_or_warn("linearpartition", name, "linearpartition-unofficial")
    if library is None:
        return None
    installed = version("linearpartition-unofficial")
    return Folder(
        name=name,
        version=f"linearpartition-unofficial {installed} {mode} mea beam100 dangles2",
        fold_to_dot_bracket=lambda sequence: library.partition(
            sequence, mode=mode, beamsize=100, dangles=2
        )["structure"],
    )


def _find_squarna(*, fast: bool) -> Folder | None:
    """SQUARNA's first structure with the settings its own entry chooses; pseudoknots."""
    package = _import_or_warn("SQUARNA", "SQUARNA", "squarna")
    if package is None:
        return None
    # Its entry starts a pool of processes for each RNA; the function below it need not.
    predict = import_module("SQUARNA.SQRNdbnseq").SQRNdbnseq
    read_config = import_module("SQUARNA.SQUARNA").ParseConfig
    folder = Path(str(package.__file__)).parent
    filenames = SQUARNA_FAST_CONFIGS if fast else SQUARNA_CONFIGS
    configs = [(nt, *read_config(folder / filename)) for nt, filename in filenames]
    pool = 1 if fast else SQUARNA_POOL

    def fold_to_dot_bracket(sequence: str) -> str:
        names, parameter_sets = next(
            (names, sets) for nt, names, sets in configs if len(sequence) >= nt
        )
        preferred = {index for index, name in enumerate(names) if name in SQUARNA_PREFERRED}
        return predict(
            sequence, paramsets=parameter_sets, priority=preferred, poollim=pool, mp=False
        )[0]

    return Folder(
        name="SQUARNA (fast)" if fast else "SQUARNA",
        version=f"squarna {version('squarna')} {'fastest pool1' if fast else 'default'}",
        fold_to_dot_bracket=fold_to_dot_bracket,
    )


def _keep_four_letters(sequence: str) -> str:
    """`sequence` in A, C, G and U, all else N: what every program here reads alike."""
    letters = sequence.upper().replace("T", "U")
    return "".join(letter if letter in ONE_HOT_LETTERS else "N" for letter in letters)


def _import_or_warn(module: str, name: str, distribution: str) -> ModuleType | None:
    """A program's module, or None and a line in the log with what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        logger.warning(
            "no row for %s: the module %s cannot be imported (%s); pip install %s",
            *(name, module, error, distribution),
        )
        return None
