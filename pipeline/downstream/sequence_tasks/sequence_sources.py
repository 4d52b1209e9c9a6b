"""What each system reads of the sequences, computed once for all its fits: rows, or features.

Shape suffixes: T rows of all sequences, N sequences, D width of a row, F features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.encoder import Encoder
from ....model.weights import build_random_twin
from ..baselines import encode_one_hot
from ..fitting.regime_config import Regime
from ..kmers import encode_kmer_counts
from ..representations.embed import Checkpoint, Reads, Representations
from ..tasks.task import Split, TaskData
from .sequence_config import SequenceConfig, SequenceSystem, choose_fit
from .sequence_fit import (
    PROBED,
    EvaluatedTask,
    Fitted,
    choose_reads,
    fit_head,
    fit_probe,
    list_indices,
)
from .sequence_rows import write_rows

ENCODERS = ("pretrained", "random encoder")


class Job(NamedTuple):
    """One fit: a system in a regime on a split."""

    system: SequenceSystem
    regime: Regime
    split: Split
    key: str


class Source:
    """Fits of one system, from inputs that are computed when they are first needed."""

    def __init__(
        self,
        task: EvaluatedTask,
        data: TaskData,
        checkpoint: Checkpoint,
        config: SequenceConfig,
        *,
        jobs: Sequence[Job],
        folder: Path,
        device: torch.device,
    ) -> None:
        """`jobs` are of one system; rows of their sequences are held in `folder`."""
        self.task, self.data, self.config = task, data, config
        self.jobs, self.folder, self.device = jobs, folder, device
        (self.system,) = {job.system for job in jobs}
        self.encoder = self._build_encoder(checkpoint)
        self._rows: dict[Reads, Representations] | None = None

    def fit(self, job: Job, folder: Path) -> Fitted:
        """Fit and test; an unfinished fit's state is kept in `folder`."""
        if job.regime == "linear":
            return fit_probe(self.task, self.data, job.split, self._build_features(job.split))
        is_frozen = job.regime == "frozen"
        return fit_head(
            self.task,
            self.data,
            job.split,
            choose_fit(self.config, job.regime),
            encoder=self.encoder,
            representations=self._read_rows()[choose_reads(self.task)] if is_frozen else None,
            seed=self.config.seed,
            folder=folder,
            key=job.key,
            device=self.device,
        )

    def _build_encoder(self, checkpoint: Checkpoint) -> Encoder | None:
        if self.system == "pretrained":
            return checkpoint.encoder
        if self.system == "random encoder":
            return build_random_twin(checkpoint.encoder.config, self.config.seed).encoder
        return None

    def _read_rows(self) -> dict[Reads, Representations]:
        """Rows of every sequence that some fit on fixed rows needs, from one pass."""
        if self._rows is None:
            fixed = [job for job in self.jobs if job.regime in ("linear", "frozen")]
            indices = sorted({index for job in fixed for index in list_indices(job.split)})
            sequences = {index: self.data.examples[index].sequence for index in indices}
            if self.encoder is None:
                self._rows = {choose_reads(self.task): _write_letters(sequences)}
            else:
                own = choose_reads(self.task)
                kinds: dict[Reads, None] = {
                    PROBED if job.regime == "linear" else own: None for job in fixed
                }
                self._rows = write_rows(
                    self.encoder,
                    sequences,
                    list(kinds),
                    self.config.embed,
                    folder=self.folder,
                    device=self.device,
                )
        return self._rows

    def _build_features(self, split: Split) -> dict[int, NDArray[np.floating]]:
        """Features of each sequence of a split, for a linear map."""
        indices = list_indices(split)
        if self.encoder is not None:
            rows = self._read_rows()[PROBED]
            return {index: rows.rows_TD[rows.spans[index]][0] for index in indices}
        sequences = [self.data.examples[index].sequence for index in indices]
        if self.system == "k-mer":
            features_NF = count_kmers(sequences, self.config.kmer_nt)
        else:
            assert self.task.encode_one_hot is not None, "the head of this task reads the letters"
            features_NF = self.task.encode_one_hot(sequences)
        return dict(zip(indices, features_NF, strict=True))


def count_kmers(sequences: Sequence[str], max_nt: int) -> NDArray[np.float32]:
    """Features_NF: the share of each k-mer of 1 to `max_nt` nucleotides, and the log length."""
    lengths_N1 = np.log([max(len(one), 1) for one in sequences], dtype=np.float32)[:, None]
    return np.concatenate([encode_kmer_counts(sequences, max_nt), lengths_N1], axis=1)


def _write_letters(sequences: dict[int, str]) -> Representations:
    """Rows of the letters of each sequence, one a nucleotide, four wide."""
    rows_TD = encode_one_hot(list(sequences.values()))
    spans, end = {}, 0
    for index, sequence in sequences.items():
        spans[index] = slice(end, end + len(sequence))
        end += len(sequence)
    return Representations(rows_TD=rows_TD, spans=spans)
