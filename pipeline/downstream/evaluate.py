"""Run a leave-one-family-out evaluation: what each system reads, each fold, each in its file."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ...model.weights import build_random_twin
from .baselines import encode_one_hot, find_viennarna
from .embed import Checkpoint, embed_sequences
from .fold_results import FoldResult, build_key, load_fold_result, save_fold_result
from .records import StructureRecord, find_structures, hash_file, read_structures
from .run_fold import FoldJob, run_folds
from .tasks.families import FamiliesConfig, Fold, SystemName, build_folds

logger = logging.getLogger(__name__)

VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: fold results of an earlier one are not reused."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Benchmark:
    """RNAs with known structures, the folds over them, and the file they came from."""

    name: str
    sha256: str
    records: Sequence[StructureRecord]
    folds: Sequence[Fold]
    is_partial: bool = False
    """Whether only some of the families are evaluated."""


def read_benchmark(
    data: Path | None, config: FamiliesConfig, only: Sequence[str] = ()
) -> Benchmark:
    """The sample, ArchiveII of a data folder, or a structure file, with folds for all or `only`."""
    path = find_structures(data)
    records = read_structures(path)
    name = "sample" if data is None else path.name.partition(".")[0].partition("_")[0].lower()
    return Benchmark(
        name=name,
        sha256=hash_file(path),
        records=records,
        folds=build_folds(records, config, only),
        is_partial=bool(only),
    )


def evaluate_families(
    benchmark: Benchmark, checkpoint: Checkpoint, config: FamiliesConfig, *, out: Path
) -> list[FoldResult]:
    """Results of every system on every fold, by system and family.

    Each is written under `out` as soon as it is known; one that is there is not computed again.
    """
    device = choose_device(config)
    results: list[FoldResult] = []
    pending: dict[SystemName, dict[str, Fold]] = {}
    for system in config.systems:
        identity = _identify(system, checkpoint, config)
        for fold in benchmark.folds if identity else ():
            key = _build_fold_key(system, identity, fold, benchmark)
            known = load_fold_result(out / "folds", system, fold.family, key)
            if known is None:
                pending.setdefault(system, {})[key] = fold
            else:
                results.append(known)
    total = sum(map(len, pending.values()))
    if results:
        logger.info("%d of %d folds were done already", len(results), len(results) + total)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".representations-", dir=out) as scratch:
        jobs: list[FoldJob] = []
        for system, folds in pending.items():
            rows = Path(scratch, f"{system}.npy")
            jobs += _build_jobs(system, folds, benchmark, checkpoint, config, device, rows)
        # The longest first, so that no worker is left with it at the end.
        jobs.sort(key=lambda job: -job.num_test_pairs)
        quiet = None if jobs else True
        with tqdm(total=total, desc="folds", unit="fold", disable=quiet) as progress:
            for result in _run_jobs(jobs, _count_workers(config, device, len(jobs))):
                save_fold_result(result, out / "folds")
                results.append(result)
                progress.set_postfix_str(f"{result.system} {result.family}")
                progress.update()
                if progress.disable:
                    logger.info("%s on %s: done", result.system, result.family)
    rank = {system: position for position, system in enumerate(config.systems)}
    return sorted(results, key=lambda result: (rank[result.system], result.family))


def choose_device(config: FamiliesConfig) -> torch.device:
    """The device the config asks for; auto is a GPU where there is one."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda but torch sees no GPU; set device=cpu")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _identify(
    system: SystemName, checkpoint: Checkpoint, config: FamiliesConfig
) -> dict[str, object] | None:
    """What a system's numbers depend on beside the fold; None where it cannot run here."""
    if system == "viennarna":
        module = find_viennarna()
        return None if module is None else {"viennarna": module.__version__}
    fitted: dict[str, object] = {"fit": asdict(config.fit)}
    if system == "pretrained":
        return {**fitted, "weights": checkpoint.sha256, "held_as": config.embed.dtype}
    if system == "random":
        sizes = asdict(checkpoint.encoder.config)
        return {**fitted, "sizes": sizes, "seed": config.seed, "held_as": config.embed.dtype}
    return fitted


def _build_fold_key(
    system: SystemName,
    identity: dict[str, object] | None,
    fold: Fold,
    benchmark: Benchmark,
) -> str:
    return build_key(
        {
            "version": VERSION_OF_NUMBERS,
            "system": system,
            "identity": identity,
            "data": benchmark.sha256,
            "fold": asdict(fold),
        }
    )


def _build_jobs(
    system: SystemName,
    folds: Mapping[str, Fold],
    benchmark: Benchmark,
    checkpoint: Checkpoint,
    config: FamiliesConfig,
    device: torch.device,
    rows: Path,
) -> list[FoldJob]:
    """One job for each distinct fit; what the system reads of their RNAs is written to `rows`."""
    folds_of_fit: dict[tuple[tuple[int, ...], ...], dict[str, Fold]] = {}
    for key, fold in folds.items():
        folds_of_fit.setdefault((fold.train, fold.validation), {})[key] = fold
    needed = {
        index for fold in folds.values() for index in (*fold.test, *fold.train, *fold.validation)
    }
    records = {index: benchmark.records[index] for index in sorted(needed)}
    if system != "viennarna":
        sequences = [record.sequence for record in records.values()]
        np.save(rows, _represent(system, sequences, checkpoint, config, device))
    return [
        FoldJob(
            system=system,
            folds=together,
            fit=config.fit,
            records=records,
            rows=rows,
            device=str(device),
        )
        for together in folds_of_fit.values()
    ]


def _represent(
    system: SystemName,
    sequences: Sequence[str],
    checkpoint: Checkpoint,
    config: FamiliesConfig,
    device: torch.device,
) -> np.ndarray:
    if system == "one-hot":
        return encode_one_hot(sequences)
    encoder = checkpoint.encoder
    if system == "random":
        encoder = build_random_twin(encoder.config, config.seed).encoder
    return embed_sequences(encoder, sequences, config.embed, device=device)


def _count_workers(config: FamiliesConfig, device: torch.device, num_jobs: int) -> int:
    if device.type == "cuda":
        return 1
    return max(1, min(config.workers or torch.get_num_threads(), num_jobs))


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
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        for done in as_completed([pool.submit(run_folds, job) for job in jobs]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)
