"""How long the sequences of a corpus are, as far as a step's cost depends on it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....data_prep.shards import MANIFEST_NAME, open_split
from ....model import alphabet
from ..epochs import find_sequences_by_type, find_weights
from ..sampling import SamplingConfig


class LengthMix(NamedTuple):
    """Mean length of the samples of an epoch, and the mean that a token sees of its own."""

    source: str
    tokens_per_sequence: float
    context_per_token: float
    """Sum of squared lengths over sum of lengths, in tokens."""
    sequences: int | None
    """Samples of an epoch; None where no corpus says."""

    def fill_rate(self, pack_tokens: int) -> float:
        """Share of a pack's budget that is filled, one sequence after the other.

        What does not fit is half a sequence, of those that are met at a random token.
        """
        return 1 - min(self.context_per_token, pack_tokens) / (2 * pack_tokens)


DEFAULT_MIX = LengthMix("RNAcentral's lengths (benchmarks/length_mixes.csv)", 419.3, 781.3, None)


def read_length_mix(folder: Path, sampling: SamplingConfig) -> LengthMix:
    """The mix of an epoch of prepared data, a cluster's members alike; a default without data."""
    if not (folder / MANIFEST_NAME).is_file():
        return DEFAULT_MIX
    split = open_split(folder, "train")
    if split.num_clusters == 0:
        raise ValueError(f"{folder} has no clusters to train on: prepare more sequences")
    lengths_nt = split.lengths_nt
    is_cut = lengths_nt > sampling.max_length_nt
    special = len((alphabet.CLS, alphabet.EOS))
    tokens = np.where(is_cut, sampling.max_length_nt, lengths_nt + special).astype(np.float64)
    sizes = np.diff(split.cluster_starts)
    showings = np.ones(split.num_clusters)
    by_type = find_sequences_by_type(split, sampling, find_weights(split, sampling))
    if by_type is not None:
        types = split.rna_type_ids[split.cluster_starts[:-1]]
        clusters = np.bincount(types, minlength=len(by_type))
        showings = (by_type / np.maximum(clusters, 1))[types]
    sequences = round(showings.sum())
    weights = np.repeat(showings / sizes, sizes) / sequences
    mean, mean_square = float(weights @ tokens), float(weights @ tokens**2)
    return LengthMix(str(folder), mean, mean_square / mean, sequences)
