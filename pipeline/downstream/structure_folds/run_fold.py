"""One system on some parts: fit, tune, predict, score; all a worker process does."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.encoder import Encoder
from ..baselines import FOLDER_SYSTEMS, find_folder
from ..decoders.thresholds import DecodingRule, ValidationCase, tune_decoder
from ..fitting.regime_config import RegimeConfig, describe_regime
from ..fitting.task_model import TaskModel
from ..representations.embed import Representations, open_representations
from ..scores.pair_curves import PairHistogram
from ..scoring import count_pairs
from ..structure import DecoderConfig, Pairs, decode
from ..structures.dot_bracket import write_structure
from ..structures.records import StructureRecord
from .fold_results import FoldResult, SequenceResult
from .folds import Fold
from .saved_heads import FitFacts, HeadFacts, SavedHead, load_head, save_head
from .structure_config import SystemName
from .structure_fit import (
    PairHead,
    build_pair_model,
    fit_pair_model,
    list_trained,
    predict_model,
    restore_trained,
)

FITS = "fits"
"""Folder of fits under way, beside that of the heads."""
PredictMap = Callable[[int], NDArray[np.floating]]
"""Pair probabilities (L, L) of the RNA with this index."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoldJob:
    """What a worker process is sent: one fit, and the folds that share it.

    Folds share a fit where they have the same training RNAs, as test sets of one fit do, and
    held-out families of RNAs longer than `fit.max_fit_length_nt`.
    """

    system: SystemName
    folds: Mapping[str, Fold]
    """By the key of the result; all have the same training and validation RNAs."""
    decoder: DecoderConfig
    records: Mapping[int, StructureRecord]
    """Every RNA of the folds, by its index in the benchmark."""
    rows: Path | None
    """File with what the system reads of `records`, in their order, if it reads any rows."""
    device: str
    facts: HeadFacts
    head: Path
    """Where the fitted head is kept; one that is there is not fitted again."""
    regime: RegimeConfig
    encoder: Encoder | None = None
    """What trains beside the head; None where rows are all there is to read."""

    @property
    def num_test_pairs(self) -> int:
        """Entries of all contact maps of the test, which its cost grows with."""
        return sum(
            len(self.records[index].sequence) ** 2
            for fold in self.folds.values()
            for index in fold.test
        )


def run_folds(job: FoldJob) -> Iterator[FoldResult]:
    """Score each part as it is done; a learnt system is fitted and tuned first."""
    return _iter_folded(job) if job.system in FOLDER_SYSTEMS else _iter_fitted(job)


def list_fold_results(job: FoldJob) -> list[FoldResult]:
    """The same for a process, which can hand over no iterator."""
    return list(run_folds(job))


def _iter_folded(job: FoldJob) -> Iterator[FoldResult]:
    folder = find_folder(job.system)
    assert folder is not None, f"a job for {job.system} where it is not installed"
    for key, fold in job.folds.items():
        start = time.monotonic()
        sequences = _test(fold, job.records, lambda index: folder.fold(job.records[index].sequence))
        yield FoldResult(
            key=key,
            system=job.system,
            part=fold.part,
            sequences=sequences,
            test_seconds=time.monotonic() - start,
        )


def _iter_fitted(job: FoldJob) -> Iterator[FoldResult]:
    device = torch.device(job.device)
    representations = None
    if job.rows is not None:
        lengths = {index: len(record.sequence) for index, record in job.records.items()}
        representations = open_representations(job.rows, lengths)
    shared = next(iter(job.folds.values()))
    predict_map, fit = _prepare(job, shared, representations, device)
    for key, fold in job.folds.items():
        start = time.monotonic()
        histogram = PairHistogram()

        def predict(index: int, histogram: PairHistogram = histogram) -> Pairs:
            record, probabilities_LL = job.records[index], predict_map(index)
            histogram.add(probabilities_LL, record.pairs_P2)
            return decode(probabilities_LL, record.sequence, fit.rule.decoder)

        yield FoldResult(
            key=key,
            system=job.system,
            part=fold.part,
            regime=job.facts.regime,
            settings=fit.settings,
            sequences=_test(fold, job.records, predict),
            rule=fit.rule,
            histogram=histogram,
            num_train=len(fold.train),
            num_validation=len(fold.validation),
            first_loss=fit.first_loss,
            last_loss=fit.last_loss,
            fit_seconds=fit.fit_seconds / len(job.folds),
            tune_seconds=fit.tune_seconds / len(job.folds),
            test_seconds=time.monotonic() - start,
        )


class _Prepared(NamedTuple):
    predict: PredictMap
    fit: FitFacts


def _prepare(
    job: FoldJob, shared: Fold, representations: Representations | None, device: torch.device
) -> _Prepared:
    """The head that is kept, with what was fitted beside it; where there is none, it is fitted."""
    if not job.head.exists():
        _fit_and_save(job, shared, representations, device)
    saved = load_head(job.head)
    # What the encoder computes in is this run's matter, all else the head's own.
    regime = replace(saved.fit.regime, precision=job.regime.precision)
    model = build_pair_model(
        saved.head, representations, job.records, regime, encoder=job.encoder, device=device
    )
    if model.encoder is not None:
        restore_trained(model.encoder, saved.encoder)
    predict = _predict_by(model.eval(), job)
    if replace(saved.fit.rule.decoder, threshold=job.decoder.threshold) == job.decoder:
        return _Prepared(predict, saved.fit)
    # It was kept with the threshold of another decoder.
    start = time.monotonic()
    rule = _tune(predict, job, shared)
    seconds = time.monotonic() - start
    return _Prepared(predict, replace(saved.fit, rule=rule, tune_seconds=seconds))


def _fit_and_save(
    job: FoldJob, shared: Fold, representations: Representations | None, device: torch.device
) -> None:
    """Fit and tune; the state of the fit goes when the head is there."""
    folder = job.head.parent.parent / FITS
    model, log = fit_pair_model(
        representations,
        job.records,
        shared.train,
        job.regime,
        encoder=job.encoder,
        folder=folder,
        key=job.head.stem,
        device=device,
        validate=lambda model: _tune(_predict_by(model, job), job, shared).value,
    )
    start = time.monotonic()
    rule = _tune(_predict_by(model, job), job, shared)
    fit = FitFacts(
        settings=json.dumps(describe_regime(job.regime)),
        num_train=len(shared.train),
        first_loss=log.first_loss,
        last_loss=log.last_loss,
        fit_seconds=log.seconds,
        tune_seconds=time.monotonic() - start,
        rule=rule,
    )
    head = model.head
    assert isinstance(head, PairHead)
    save_head(job.head, SavedHead(head, job.facts, fit, list_trained(model)))
    shutil.rmtree(folder / job.head.stem)


def _predict_by(model: TaskModel, job: FoldJob) -> PredictMap:
    return lambda index: predict_model(model, index, len(job.records[index].sequence))


def _tune(predict: PredictMap, job: FoldJob, shared: Fold) -> DecodingRule:
    """The threshold with the best mean relaxed F1 on the validation RNAs."""
    cases = (
        ValidationCase(
            id=job.records[index].id,
            family=job.records[index].family,
            sequence=job.records[index].sequence,
            target_P2=job.records[index].pairs_P2,
            probabilities_LL=predict(index),
        )
        for index in shared.validation
    )
    return tune_decoder(cases, job.decoder)


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
                predicted=write_structure(pairs, len(record.sequence)),
                strict=count_pairs(record.pairs_P2, pairs, relaxed=False),
                relaxed=count_pairs(record.pairs_P2, pairs, relaxed=True),
            )
        )
    return tuple(results)
