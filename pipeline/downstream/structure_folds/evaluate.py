"""Run a base-pair task: what each system reads, each fit, each part, each in its file."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ....model.encoder import Encoder
from ....model.weights import build_random_twin
from ..baselines import FOLDER_SYSTEMS, encode_one_hot, find_folder, find_viennarna
from ..kmers import encode_kmer_windows
from ..representations.embed import Checkpoint, embed_sequences
from ..structures.records import hash_file
from .fold_results import FoldResult, build_key, load_fold_result, save_fold_result
from .folds import Benchmark, Fold, hash_records
from .run_fold import FoldJob, list_fold_results, run_folds
from .saved_heads import HeadFacts, find_head
from .structure_config import StructureConfig, SystemName

logger = logging.getLogger(__name__)

VERSION_OF_NUMBERS = 3
"""Raised when a change of code changes scores, or what fold results hold: those of an earlier one
are not reused."""


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
    Fitted heads are kept in `out/heads`. `heads`, a file or a folder of them, serve the pretrained
    encoder instead of new fits; one of another fold is refused.
    """
    if heads and config.regime.regime != "frozen":
        raise ValueError(f"heads= goes with regime frozen, got {config.regime.regime}")
    device = choose_device(config)
    out.mkdir(parents=True, exist_ok=True)
    planner = _Planner(benchmark=benchmark, checkpoint=checkpoint, config=config, out=out)
    plans = [plan for system in config.systems for plan in planner.plan(system, heads)]
    known = {plan: _load(plan, out) for plan in plans}
    results = [result for result in known.values() if result is not None]
    pending = [plan for plan, result in known.items() if result is None]
    plan_of = {plan.key: plan for plan in pending}
    if results:
        logger.info("%d of %d folds were done already", len(results), len(plans))
    with tempfile.TemporaryDirectory(prefix=".representations-", dir=out) as scratch:
        jobs: list[FoldJob] = []
        for system in config.systems:
            mine = [plan for plan in pending if plan.system == system]
            jobs += planner.build_jobs(mine, Path(scratch, f"{system}.npy"), device)
        # The longest first, so that no worker is left with it at the end.
        jobs.sort(key=lambda job: -job.num_test_pairs)
        quiet = None if jobs else True
        with tqdm(total=len(pending), desc="folds", unit="fold", disable=quiet) as progress:
            for scored in _run_jobs(jobs, _count_workers(config, device, len(jobs))):
                plan = plan_of[scored.key]
                result = replace(scored, head=plan.given_head, program=plan.program)
                save_fold_result(result, out / "folds")
                results.append(result)
                progress.set_postfix_str(f"{result.system} {result.part}")
                progress.update()
                if progress.disable:
                    logger.info("%s on %s: done", result.system, result.part)
    rank = {system: position for position, system in enumerate(config.systems)}
    place = {part: position for position, part in enumerate(benchmark.parts)}
    return sorted(results, key=lambda result: (rank[result.system], place[result.part]))


def choose_device(config: StructureConfig) -> torch.device:
    """The device the config asks for; auto is a GPU where there is one."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda but torch sees no GPU; set device=cpu")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def choose_precision(config: StructureConfig) -> str:
    """What the encoder computes in, with `auto` resolved; one that does not train is in fp32."""
    if not config.regime.trains_encoder:
        return "fp32"
    dtype = config.regime.choose_dtype(choose_device(config))
    return "bf16" if dtype == torch.bfloat16 else "fp32"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Plan:
    """One system on one fold, before it is known whether it has been done."""

    system: SystemName
    fold: Fold
    key: str
    """Of the result."""
    facts: HeadFacts
    head: Path
    """Of the fit; folds that share it share this path."""
    given_head: str
    """sha256 of a head that is not fitted here; empty for others."""
    program: str
    """Version of the program that folds, or whose energies the decoder weighs; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Planner:
    benchmark: Benchmark
    checkpoint: Checkpoint
    config: StructureConfig
    out: Path

    def plan(self, system: SystemName, heads: Path | None) -> Iterator[_Plan]:
        """A plan for each fold; none where a program is not installed."""
        identity = self._identify(system)
        if identity is None:
            return
        identity_of_fit: dict[str, object] = {
            "version": VERSION_OF_NUMBERS,
            "system": system,
            "identity": identity,
        }
        program = identity
        if system not in FOLDER_SYSTEMS:
            identity_of_fit["precision"] = choose_precision(self.config)
            program = self._identify_energy()
        for fold in self.benchmark.folds:
            facts = self._build_facts(system, identity, fold)
            fit = {**identity_of_fit, "fit": self._identify_fit(), "rnas": facts.fit_sha256}
            head = self.out / "heads" / f"{system}.{build_key(fit)}.safetensors"
            given_head = ""
            if heads and system == "pretrained":
                head = find_head(heads, facts)
                given_head = hash_file(head)
                fit = {**identity_of_fit, "head": given_head}
            tested = hash_records([self.benchmark.records[index] for index in fold.test])
            of_result = {"test": tested, "part": fold.part}
            if system in FOLDER_SYSTEMS:
                of_result |= identity_of_fit
            else:
                # The threshold is an outcome.
                of_result |= fit | {"decoder": asdict(replace(self.config.decoder, threshold=0.0))}
                of_result |= {"energy": program}
            yield _Plan(
                system=system,
                fold=fold,
                key=build_key(of_result),
                facts=facts,
                head=head,
                given_head=given_head,
                program=program,
            )

    def build_jobs(self, plans: Sequence[_Plan], rows: Path, device: torch.device) -> list[FoldJob]:
        """One job for each distinct fit; what the system reads of their RNAs goes to `rows`."""
        if not plans:
            return []
        system = plans[0].system
        by_fit: dict[Path, list[_Plan]] = {}
        for plan in plans:
            by_fit.setdefault(plan.head, []).append(plan)
        needed = {
            index
            for plan in plans
            for index in (*plan.fold.test, *plan.fold.train, *plan.fold.validation)
        }
        records = {index: self.benchmark.records[index] for index in sorted(needed)}
        if system not in FOLDER_SYSTEMS:
            sequences = [record.sequence for record in records.values()]
            np.save(rows, _represent(system, sequences, self.checkpoint, self.config, device))
        encoder = None
        if self.config.regime.trains_encoder:
            encoder = _build_encoder(system, self.checkpoint, self.config)
        return [
            FoldJob(
                system=system,
                folds={plan.key: plan.fold for plan in together},
                fit=self.config.fit,
                decoder=self.config.decoder,
                records=records,
                rows=rows,
                device=str(device),
                facts=together[0].facts,
                head=head,
                regime=self.config.regime,
                encoder=encoder,
            )
            for head, together in by_fit.items()
        ]

    def _identify(self, system: SystemName) -> str | None:
        """What a system's rows or structures depend on; None where it cannot run here."""
        if system in FOLDER_SYSTEMS:
            folder = find_folder(system)
            return None if folder is None else folder.version
        if system == "pretrained":
            return self.checkpoint.sha256
        if system == "random":
            sizes = asdict(self.checkpoint.encoder.config)
            return build_key({"sizes": sizes, "seed": self.config.seed})
        return system

    def _identify_energy(self) -> str:
        """Version of the program whose energies the decoder weighs; empty where it weighs none."""
        viennarna = find_viennarna() if self.config.decoder.use_energy else None
        return f"viennarna {viennarna.__version__}" if viennarna else ""

    def _identify_fit(self) -> dict[str, object]:
        settings = self.config.fit if self.config.regime.regime == "frozen" else self.config.regime
        return {"fit": asdict(settings), "held_as": self.config.embed.dtype}

    def _build_facts(self, system: SystemName, identity: str, fold: Fold) -> HeadFacts:
        records = self.benchmark.records
        fitted = [records[index] for index in (*fold.train, *fold.validation)]
        together = {
            other.held_out_family
            for other in self.benchmark.folds
            if (other.train, other.validation) == (fold.train, fold.validation)
        }
        return HeadFacts(
            system=system,
            encoder=identity,
            held_out=tuple(sorted(together - {""})),
            fitted_families=tuple(sorted({record.family for record in fitted})),
            fit_sha256=hash_records(fitted),
            data=f"{self.benchmark.name} {self.benchmark.sha256[:12]}",
        )


def _load(plan: _Plan, out: Path) -> FoldResult | None:
    return load_fold_result(out / "folds", plan.system, plan.fold.part, plan.key)


def _represent(
    system: SystemName,
    sequences: Sequence[str],
    checkpoint: Checkpoint,
    config: StructureConfig,
    device: torch.device,
) -> np.ndarray:
    if system == "one-hot":
        return encode_one_hot(sequences)
    if system == "k-mer":
        return encode_kmer_windows(sequences)
    encoder = _build_encoder(system, checkpoint, config)
    assert encoder is not None, system
    return embed_sequences(encoder, sequences, config.embed, device=device)


def _build_encoder(
    system: SystemName, checkpoint: Checkpoint, config: StructureConfig
) -> Encoder | None:
    if system == "random":
        return build_random_twin(checkpoint.encoder.config, config.seed).encoder
    return checkpoint.encoder if system == "pretrained" else None


def _count_workers(config: StructureConfig, device: torch.device, num_jobs: int) -> int:
    # A trained encoder is not sent to other processes.
    if device.type == "cuda" or config.regime.trains_encoder:
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
        for done in as_completed([pool.submit(list_fold_results, job) for job in jobs]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)
