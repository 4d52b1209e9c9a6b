"""Real sequences that made-up corpora are made of, as codes beside their types and weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openrinalmo.data_prep.inputs.archives import open_unpacked
from openrinalmo.data_prep.metadata import MetadataConfig, read_rna_types

LETTERS = b"ACGUIRYKMSWBDHVN"
"""Codes of 4 bits; adding 2 modulo 4 is a transition, U for C and A for G."""
PADDING = 16
"""Codes behind the last sequence, so that a look a little beyond it is safe."""


class Templates(NamedTuple):
    """Real sequences, as codes: what founders are made of."""

    codes: NDArray[np.uint8]
    """Each shifted left by 4, to leave room for the changes."""
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rna_type_ids: NDArray[np.int64]
    rna_types: list[str]
    cumulative_weights: NDArray[np.float64]


def read_templates(
    paths: Sequence[Path], *, weights: Sequence[float] = (), metadata: MetadataConfig | None = None
) -> Templates:
    """Read FASTA files of real sequences; `weights` are shares of the corpus by file.

    Without weights all sequences are equally likely. A type is the metadata's, else the header's,
    else the name of the file.
    """
    if weights and len(weights) != len(paths):
        raise ValueError(f"{len(weights)} weights for {len(paths)} files: give one each, or none")
    types = read_rna_types(metadata) if metadata else {}
    to_code = np.full(256, LETTERS.index(b"N") << 4, np.uint8)
    for letters in (LETTERS, LETTERS.lower(), LETTERS.replace(b"U", b"T")):
        to_code[list(letters)] = np.arange(len(LETTERS)) << 4
    joined, lengths, names, chances = [], [], [], []
    for path, weight in zip(paths, weights or [0.0] * len(paths), strict=True):
        with open_unpacked(path) as file:
            records = file.read().removeprefix(b">").split(b"\n>")
        for record in records:
            header, _, lines = record.partition(b"\n")
            letters = lines.replace(b"\n", b"")
            words = header.decode().split()
            stated = [word.removeprefix("rna_type=") for word in words if "rna_type=" in word]
            name = types.get(words[0]) or (stated or [path.name.partition(".")[0]])[0]
            joined.append(letters)
            lengths.append(len(letters))
            names.append(name.rpartition("; ")[2].replace(" ", "_"))
            chances.append(weight / len(records) if weights else 1.0)
    vocabulary = sorted(set(names))
    place = {name: number for number, name in enumerate(vocabulary)}
    codes = to_code[np.frombuffer(b"".join([*joined, bytes(PADDING)]), np.uint8)]
    cumulative = np.cumsum(chances)
    return Templates(
        codes,
        np.cumsum([0, *lengths[:-1]]),
        np.array(lengths),
        np.array([place[name] for name in names]),
        vocabulary,
        cumulative / cumulative[-1],
    )
