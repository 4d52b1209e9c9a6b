"""Run a base-pair task: what each system reads, each fit, each part, each in its file."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ....model.encoder import Encoder
from ....model.weights import build_random_twin
from ..baselines import FOLDER_SYSTEMS, encode_one_hot
from ..devices import choose_device
from ..kmers import encode_kmer_windows
from ..representations.embed import Checkpoint
from ..representations.held_folder import hold_folder
from ..representations.representation_files import write_representations
from ..structures.records import StructureRecord
from .fold_results import FoldResult, build_key, load_fold_result, save_fold_result
from .folds import Benchmark, hash_records
from .plans import VERSION_OF_NUMBERS, Plan, Planner
from .run_fold import FITS, FoldJob, list_fold_results, run_folds
from .structure_config import StructureConfig, SystemName

TRAINED_BYTES, BYTES_PER_TRAINED = 1 << 33, 16
"""Memory for encoders that are fitted side by side unless `workers` says how many; weights,
gradients and Adam's two moments of a parameter."""

logger = logging.getLogger(__name__)


def evaluate_benchmark(
    benchmark: Benchmark,
    checkpoint: Checkpoint,
    config: StructureConfig,
    *,
    out: Path,
    heads: Path | None = None,
) -> list[FoldResult]:
    """Results of every system on every part, by system and in the order of the folds.

    Each is written under `out` as soon as it is known; one that is there is not computed again.
    Fitted heads are kept in `out/heads`, with adapters or weights that were fitted beside them.
    `heads`, a file or a folder of them, serve the pretrained encoder instead of new fits; one of
    another fold is refused.
    """
    device = choose_device(config.device)
    out.mkdir(parents=True, exist_ok=True)
    planner = Planner(benchmark=benchmark, checkpoint=checkpoint, config=config, out=out)
    plans = [plan for system in config.systems for plan in planner.plan(system, heads)]
    known = {plan: _load(plan, out) for plan in plans}
    results = [result for result in known.values() if result is not None]
    pending = [plan for plan, result in known.items() if result is None]
    plan_of = {plan.key: plan for plan in pending}
    if results:
        logger.info("%d of %d folds were done already", len(results), len(plans))
    with ExitStack() as held:
        reads = [
            _Read.plan(system, [plan for plan in plans if plan.system == system], planner, device)
            for system in config.systems
            if any(plan.system == system for plan in pending)
        ]
        rows = _hold_rows(reads, config, out, held, device)
        jobs: list[FoldJob] = []
        for read in reads:
            left = [plan for plan in pending if plan.system == read.system]
            jobs += _build_jobs(left, read, rows.get(read.system), config, device)
        # The longest first, so that no worker is left with it at the end.
        jobs.sort(key=lambda job: -job.num_test_pairs)
        quiet = None if jobs else True
        with tqdm(total=len(pending), desc="folds", unit="fold", disable=quiet) as progress:
            for scored in _run_jobs(jobs, _count_workers(config, device, jobs)):
                plan = plan_of[scored.key]
                result = replace(scored, head=plan.given_head, program=plan.program)
                save_fold_result(result, out / "folds")
                results.append(result)
                progress.set_postfix_str(f"{result.system} {result.part}")
                progress.update()
                if progress.disable:
                    logger.info("%s on %s: done", result.system, result.part)
    with suppress(OSError):  # absent, or with fits of others
        (out / FITS).rmdir()
    rank = {system: position for position, system in enumerate(config.systems)}
    place = {part: position for position, part in enumerate(benchmark.parts)}
    return sorted(results, key=lambda result: (rank[result.system], place[result.part]))


def _load(plan: Plan, out: Path) -> FoldResult | None:
    return load_fold_result(out / "folds", plan.system, plan.fold.part, plan.key)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Read:
    """What a system reads: the RNAs of all its folds, and the file of their rows in this order.

    Of all folds, not only of those to be done: a run that goes on finds the same file.
    """

    system: SystemName
    records: dict[int, StructureRecord]
    encoder: Encoder | None
    """What makes the rows, or trains; None of other rows and of programs."""
    folder: str
    """Name of the rows' folder; empty of a program, and of an encoder that trains at once."""

    @classmethod
    def plan(
        cls, system: SystemName, plans: Sequence[Plan], planner: Planner, device: torch.device
    ) -> "_Read":
        """Name what is read, before any of it is made."""
        folds = [plan.fold for plan in plans]
        needed = {i for fold in folds for i in (*fold.test, *fold.train, *fold.validation)}
        records = {index: planner.benchmark.records[index] for index in sorted(needed)}
        config = planner.config
        encoder = _build_encoder(system, planner.checkpoint, config)
        trains_at_once = encoder is not None and not config.regime.reads_frozen
        folder = ""
        if system not in FOLDER_SYSTEMS and not trains_at_once:
            facts = {
                "version": VERSION_OF_NUMBERS,
                "identity": plans[0].facts.encoder,
                "rnas": hash_records(list(records.values())),
                "embed": repr(config.embed),
                "device": device.type,
            }
            folder = f"{system}.{build_key(facts)}"
        return cls(system=system, records=records, encoder=encoder, folder=folder)

    def write(self, folder: Path, config: StructureConfig, device: torch.device) -> Path:
        """Make the rows, or go on with them."""
        sequences = [record.sequence for record in self.records.values()]
        if self.encoder is not None:
            return write_representations(
                folder, "rows", self.encoder, sequences, config.embed, device=device
            )
        rows = folder / "rows.npy"
        encode = encode_one_hot if self.system == "one-hot" else encode_kmer_windows
        np.save(rows, encode(sequences))
        return rows


def _hold_rows(
    reads: Sequence[_Read],
    config: StructureConfig,
    out: Path,
    held: ExitStack,
    device: torch.device,
) -> dict[SystemName, Path]:
    """Rows of each system that reads any, in folders that go with `held`, unless that fails."""
    names = {read.folder for read in reads if read.folder}
    rows = {}
    for read in sorted(reads, key=lambda read: read.folder):
        if read.folder:
            folder = hold_folder(out / ".representations", read.folder, keep=names)
            rows[read.system] = read.write(held.enter_context(folder), config, device)
    return rows


def _build_jobs(
    plans: Sequence[Plan],
    read: _Read,
    rows: Path | None,
    config: StructureConfig,
    device: torch.device,
) -> list[FoldJob]:
    """One job for each distinct fit."""
    by_fit: dict[Path, list[Plan]] = {}
    for plan in plans:
        by_fit.setdefault(plan.head, []).append(plan)
    return [
        FoldJob(
            system=together[0].system,
            folds={plan.key: plan.fold for plan in together},
            decoder=config.decoder,
            records=read.records,
            rows=rows,
            device=str(device),
            facts=together[0].facts,
            head=head,
            regime=config.regime,
            encoder=read.encoder if config.regime.trains_encoder else None,
        )
        for head, together in by_fit.items()
    ]


def _build_encoder(
    system: SystemName, checkpoint: Checkpoint, config: StructureConfig
) -> Encoder | None:
    if system == "random":
        return build_random_twin(checkpoint.encoder.config, config.seed).encoder
    return checkpoint.encoder if system == "pretrained" else None


def _count_workers(config: StructureConfig, device: torch.device, jobs: Sequence[FoldJob]) -> int:
    if device.type == "cuda":
        return 1
    workers = config.workers or torch.get_num_threads()
    encoders = [job.encoder for job in jobs if job.encoder is not None]
    if encoders and not config.workers:
        parameters = sum(one.numel() for one in encoders[0].parameters())
        workers = min(workers, TRAINED_BYTES // (BYTES_PER_TRAINED * parameters))
    return max(1, min(workers, len(jobs)))


def begin_worker() -> None:
    """One thread for the numbers, and one that ends the process with the one that started it.

    Of a killed parent a worker would else finish its job and then wait for ever.
    """
    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None, "a worker is started by another process"

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _run_jobs(jobs: Sequence[FoldJob], workers: int) -> Iterator[FoldResult]:
    """Results as they come. A fold runs on one thread, so cores do not change its numbers."""
    if workers == 1:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for job in jobs:
                yield from run_folds(job)
        finally:
            torch.set_num_threads(num_threads)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=begin_worker)
    try:
        for done in as_completed([pool.submit(list_fold_results, job) for job in jobs]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)
