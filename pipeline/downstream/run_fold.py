"""One system on held-out families: fit, tune, predict, score; all a worker process does."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .baselines import find_viennarna, fold_mfe
from .dot_bracket import build_dot_bracket
from .embed import open_representations
from .finetune import FitConfig, fit_head, predict_pairs, tune_threshold
from .fold_results import FoldResult, SequenceResult
from .records import StructureRecord
from .scoring import count_pairs
from .structure import THRESHOLD_GRID, Pairs, RankedPairs
from .tasks.families import Fold, SystemName


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoldJob:
    """What a worker process is sent: one fit, and the folds that share it.

    Folds share a fit where the held-out families have no RNA that would have been fitted on, as
    families of long RNAs under `fit.max_fit_length_nt`.
    """

    system: SystemName
    folds: Mapping[str, Fold]
    """By the key of the result; all have the same training and validation RNAs."""
    fit: FitConfig
    records: Mapping[int, StructureRecord]
    """Every RNA of the folds, by its index in the benchmark."""
    rows: Path
    """File with what the system reads of `records`, in their order; ViennaRNA has none."""
    device: str

    @property
    def num_test_pairs(self) -> int:
        """Entries of all contact maps of the test, which its cost grows with."""
        return sum(
            len(self.records[index].sequence) ** 2
            for fold in self.folds.values()
            for index in fold.test
        )


def run_folds(job: FoldJob) -> list[FoldResult]:
    """Score the held-out families; a learnt system is fitted and tuned on the others first."""
    return list(_iter_viennarna(job) if job.system == "viennarna" else _iter_fitted(job))


def _iter_viennarna(job: FoldJob) -> Iterator[FoldResult]:
    viennarna = find_viennarna()
    assert viennarna is not None, "a job for ViennaRNA where it is not installed"
    for key, fold in job.folds.items():
        start = time.monotonic()
        yield FoldResult(
            key=key,
            system=job.system,
            family=fold.family,
            sequences=_test(
                fold,
                job.records,
                lambda index: fold_mfe(viennarna, job.records[index].sequence),
            ),
            test_seconds=time.monotonic() - start,
        )


def _iter_fitted(job: FoldJob) -> Iterator[FoldResult]:
    device = torch.device(job.device)
    lengths = {index: len(record.sequence) for index, record in job.records.items()}
    representations = open_representations(job.rows, lengths)
    shared = next(iter(job.folds.values()))
    fitted = fit_head(representations, job.records, shared.train, job.fit, device=device)

    def predict(index: int, threshold: float) -> RankedPairs:
        representation_LD = representations.load(index, device)
        return predict_pairs(fitted.head, representation_LD, job.records[index].sequence, threshold)

    tuned = tune_threshold(
        [predict(index, THRESHOLD_GRID[0]) for index in shared.validation],
        [job.records[index] for index in shared.validation],
    )
    tenth = max(len(fitted.losses) // 10, 1)
    for key, fold in job.folds.items():
        start = time.monotonic()
        yield FoldResult(
            key=key,
            system=job.system,
            family=fold.family,
            sequences=_test(fold, job.records, lambda index: predict(index, tuned.value).pairs_P2),
            threshold=tuned.value,
            validation_f1=tuned.f1,
            num_train=len(fold.train),
            num_validation=len(fold.validation),
            first_loss=float(np.mean(fitted.losses[:tenth])),
            last_loss=float(np.mean(fitted.losses[-tenth:])),
            fit_seconds=fitted.seconds / len(job.folds),
            test_seconds=time.monotonic() - start,
        )


def _test(
    fold: Fold,
    records: Mapping[int, StructureRecord],
    predict: Callable[[int], Pairs],
) -> tuple[SequenceResult, ...]:
    results = []
    for index in fold.test:
        record, pairs = records[index], predict(index)
        results.append(
            SequenceResult(
                id=record.id,
                length_nt=len(record.sequence),
                predicted=build_dot_bracket(pairs, len(record.sequence)),
                strict=count_pairs(record.pairs_P2, pairs, relaxed=False),
                relaxed=count_pairs(record.pairs_P2, pairs, relaxed=True),
            )
        )
    return tuple(results)
