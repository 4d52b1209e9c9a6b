"""One system on one held-out family: fit, tune, predict, score; all a worker process does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    """What a worker process is sent."""

    system: SystemName
    key: str
    fold: Fold
    fit: FitConfig
    records: Mapping[int, StructureRecord]
    """The fold's RNAs."""
    device: str
    rows: Path | None = None
    """File with the representations the system reads; None where it reads the sequence itself."""
    lengths: Mapping[int, int] = field(default_factory=dict)
    """RNAs in that file, in its order, with their nucleotides."""

    @property
    def num_test_pairs(self) -> int:
        """Entries of all contact maps of the test, which the cost of a fold grows with."""
        return sum(len(self.records[index].sequence) ** 2 for index in self.fold.test)


def run_fold(job: FoldJob) -> FoldResult:
    """Score the held-out family; a learnt system is fitted and tuned on the others first."""
    if job.system == "viennarna":
        viennarna = find_viennarna()
        assert viennarna is not None, "a job for ViennaRNA where it is not installed"
        start = time.monotonic()
        sequences = _test(job, lambda index: fold_mfe(viennarna, job.records[index].sequence))
        return FoldResult(
            key=job.key,
            system=job.system,
            family=job.fold.family,
            sequences=sequences,
            test_seconds=time.monotonic() - start,
        )
    return _run_fitted(job)


def _run_fitted(job: FoldJob) -> FoldResult:
    device = torch.device(job.device)
    assert job.rows is not None, f"{job.system} has no representations"
    representations = open_representations(job.rows, job.lengths)
    fitted = fit_head(representations, job.records, job.fold.train, job.fit, device=device)

    def predict(index: int, threshold: float) -> RankedPairs:
        representation_LD = representations.load(index, device)
        return predict_pairs(fitted.head, representation_LD, job.records[index].sequence, threshold)

    start = time.monotonic()
    ranked = [predict(index, THRESHOLD_GRID[0]) for index in job.fold.validation]
    tuned = tune_threshold(ranked, [job.records[index] for index in job.fold.validation])
    sequences = _test(job, lambda index: predict(index, tuned.value).pairs_P2)
    tenth = max(len(fitted.losses) // 10, 1)
    return FoldResult(
        key=job.key,
        system=job.system,
        family=job.fold.family,
        sequences=sequences,
        threshold=tuned.value,
        validation_f1=tuned.f1,
        num_train=len(job.fold.train),
        num_validation=len(job.fold.validation),
        first_loss=float(np.mean(fitted.losses[:tenth])),
        last_loss=float(np.mean(fitted.losses[-tenth:])),
        fit_seconds=fitted.seconds,
        test_seconds=time.monotonic() - start,
    )


def _test(job: FoldJob, predict: Callable[[int], Pairs]) -> tuple[SequenceResult, ...]:
    results = []
    for index in job.fold.test:
        record = job.records[index]
        pairs = predict(index)
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
