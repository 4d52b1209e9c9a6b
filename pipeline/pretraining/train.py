"""The pretraining loop, top to bottom."""

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...data_prep.shards import hash_manifest, open_split, read_manifest
from ...model.weights import EXPORT_NAME
from ..overrides import describe
from ..ranks import Ranks, is_lost_peer, share_cores, start_process_group
from .batches import PackedBatch
from .checkpoints.checkpoint import RunState
from .checkpoints.checkpoint_writer import CheckpointWriter
from .claim import claim_folder
from .config import PretrainConfig
from .excluded import keep_common, read_excluded
from .goodput import Clock, Meter, read_peak_memory_gib
from .loader import PackLoader
from .optim import compute_lr
from .planning.hardware import Gpu, identify_gpu
from .probing.probes import StructureProbes
from .recovery import Recovery
from .sharing import share_packs
from .start import build_engine, build_stream, check_data, compute_timeout, open_checkpoint
from .step import StepResult, run_step
from .stops import StallWatch, StopRequest, stop_on_signals
from .tally import Tally
from .tracking import Tracker
from .validation import validate

logger = logging.getLogger(__name__)

_VALIDATION_SEED = 20_240_301
"""Validation packs and masks are the same in every run: losses can be compared."""


def pretrain(
    config: PretrainConfig, ranks: Ranks, *, resume: bool, allow_other_data: bool = False
) -> None:
    """Run to `config.steps`; a collective call. Ends with a checkpoint and an export.

    Asked to stop by a signal, it saves and returns.
    """
    read_manifest(config.data)  # refuses a missing folder before anything is written
    with (
        claim_folder(config.out, ranks),
        StallWatch(config.out, ranks, seconds=config.guards.stall_seconds) as watch,
        stop_on_signals() as stop,
    ):
        try:
            start_process_group(ranks, timeout=compute_timeout(config))
            run = _Run(config, ranks, watch, resume=resume, allow_other_data=allow_other_data)
            try:
                is_asked_to_stop = False
                while run.step < config.steps and not is_asked_to_stop:
                    is_asked_to_stop = run.advance(stop).is_asked_to_stop
                if run.step < config.steps:
                    run.save()
                run.finish()
            finally:
                run.close()
        except RuntimeError as error:
            if not is_lost_peer(error):
                raise
            raise ConnectionError(
                f"another rank is gone ({str(error).splitlines()[0]}); what it said stands above. "
                "The newest checkpoint is whole: go on with --resume"
            ) from error
        if run.step < config.steps:
            cause = f"by {stop.name}" if stop else "on another rank"
            logger.info("asked to stop %s: saved step %d, go on with --resume", cause, run.step)


class _Run:
    """A run in progress: everything a step needs, and what is due after it."""

    def __init__(
        self,
        config: PretrainConfig,
        ranks: Ranks,
        watch: StallWatch,
        *,
        resume: bool,
        allow_other_data: bool,
    ) -> None:
        self._config = config
        self._ranks = ranks
        self._watch = watch
        self._clock = Clock()
        if ranks.device.type == "cpu":
            share_cores(ranks.local_world_size)
        check_data(config, ranks)
        self._manifest = read_manifest(config.data)
        checkpoint = open_checkpoint(
            config, ranks, resume=resume, allow_other_data=allow_other_data
        )
        self._state = _build_state(config, checkpoint.state if checkpoint else None)
        self.step, self._updates = self._state.step, self._state.updates
        self._engine = build_engine(config, ranks)
        if checkpoint:
            self._engine.restore(checkpoint.iter_full(), updates=self._updates)

        train, self._validation_split = (
            open_split(config.data, split) for split in ("train", "validation")
        )
        stream = build_stream(config, train, config.seed)
        self._validation_stream = build_stream(config, self._validation_split, _VALIDATION_SEED)
        self._recovery = Recovery(config, ranks, stream, train.rna_types, self._state)
        self._loader = PackLoader(
            stream, workers=config.batches.workers, pin_memory=ranks.device.type == "cuda"
        )
        self._probes = StructureProbes(config.probes) if config.probes.every_validations else None
        self._writer = CheckpointWriter(
            config.out / "checkpoints",
            config.checkpoint,
            ranks,
            export=config.out / EXPORT_NAME,
            # Rank 0 names the rank whose file lacks before the watch ends the run.
            wait_limit_seconds=0.4 * compute_timeout(config).total_seconds(),
        )
        self._tally = Tally(train.rna_types, ranks.device)
        self._meter = Meter(
            config.model,
            _identify_gpu(ranks.device),
            world_size=ranks.world_size,
            recompute_every_blocks=config.execution.recompute_every_blocks,
        )
        self._tracker = Tracker(
            config.out, first_step=self.step, steps=config.steps, is_rank_zero=ranks.is_rank_zero
        )
        if ranks.is_rank_zero:
            _write_json(config.out / "config.json", self._state._asdict())
        logger.info(
            "%s: %.2f M parameters, %d ranks on %s, %d clusters in %d packs an epoch",
            config.out.name,
            self._engine.num_parameters / 1e6,
            ranks.world_size,
            ranks.device.type,
            train.num_clusters,
            stream.num_packs(0),
        )
        logger.info("%s", self._engine.backend)
        if self.step >= config.steps:
            logger.info("step %d is reached already; raise steps=", self.step)
        self._engine.train()

    def advance(self, stop: StopRequest) -> StepResult:
        """One step and what is due after it; `step` moves on by one or, after a spike, back."""
        step = self.step
        shares = self._share(step)
        self._watch.beat(step, "data")
        with self._clock.phase("data"):
            packs = self._load(shares, self._share(step + 1))
        self._watch.beat(step, "step")
        with self._clock.phase("step"):
            result = run_step(
                self._engine,
                packs,
                shares,
                packs_per_step=self._config.batches.packs_per_step,
                lr=compute_lr(step, self._config.optim),
                tally=self._tally,
                stop=bool(stop),
            )
        self.step += 1
        self._updates += result.applied
        self._meter.add(tokens=result.tokens, squares=result.squares, predicted=result.masked)
        self._tracker.advance()

        verdict = self._recovery.judge(step, result, self._engine.grad_norm)
        if verdict == "spike":
            self._roll_back(step)
        else:
            self._do_what_is_due(result, epoch=packs[0].epoch)
        if verdict != "fine" and (reason := self._recovery.explain_end()):
            self.save()
            self.finish()
            raise FloatingPointError(reason)
        return result

    def save(self) -> None:
        """Write a checkpoint of the present step; a collective call."""
        self._watch.beat(self.step, "checkpoint")
        with self._clock.phase("checkpoint"):
            self._state = self._state._replace(
                step=self.step, updates=self._updates, **self._recovery.state()
            )
            self._writer.save(self._engine.iter_partitions(), self._engine.shapes, self._state)
        self._clock.mark(self.step)

    def finish(self) -> None:
        """Wait for the last checkpoint to be on disk; a collective call."""
        self._watch.beat(self.step, "checkpoint")
        self._writer.finish()

    def close(self) -> None:
        """End threads and close files; waits for no other rank."""
        self._loader.close()
        self._tracker.close()

    def _share(self, step: int) -> list[tuple[int, float]]:
        return share_packs(
            step,
            self._config.batches.packs_per_step,
            rank=self._ranks.rank,
            world_size=self._ranks.world_size,
        )

    def _load(
        self, shares: list[tuple[int, float]], upcoming: list[tuple[int, float]]
    ) -> list[PackedBatch]:
        now, later = (
            [self._recovery.number(place) for place, _ in part] for part in (shares, upcoming)
        )
        return [pack.to(self._ranks.device) for pack in self._loader.load(now, later)]

    def _do_what_is_due(self, result: StepResult, *, epoch: int) -> None:
        tracking, is_last = self._config.tracking, self.step == self._config.steps
        if self.step % tracking.log_every == 0 or is_last:
            self._report(result, epoch)
        if _is_due(self.step, tracking.validate_every, is_last):
            self._validate()
            validations = self.step // max(tracking.validate_every, 1)
            every = self._config.probes.every_validations
            if self._probes and (is_last or validations % every == 0):
                self._probe(self._probes)
        if _is_due(self.step, self._config.checkpoint.every_steps, is_last):
            self.save()

    def _report(self, result: StepResult, epoch: int) -> None:
        means = self._tally.take()
        seconds = self._clock.take_recent()
        self._tracker.log(
            "train",
            self.step,
            {
                **means,
                "loss": result.loss,
                "lr": compute_lr(self.step - 1, self._config.optim),
                "grad_norm": self._engine.grad_norm,
                **self._meter.take_speed(seconds["step"] + seconds["data"]),
                "masked_tokens": result.masked,
                "fill_rate": result.tokens / self._config.batches.global_batch_tokens,
                "epoch": epoch,
                "skipped_steps": self.step - self._updates,
                "time_share": self._clock.shares(),
                "memory_gib": read_peak_memory_gib(self._ranks.device),
            },
        )

    def _validate(self) -> None:
        self._watch.beat(self.step, "validation")
        with self._clock.phase("validation"):
            result = validate(
                self._engine,
                self._validation_stream,
                self._validation_split.rna_types,
                max_packs=self._config.tracking.validation_packs,
                ranks=self._ranks,
            )
        self._tracker.log("validation", self.step, result)
        logger.info(
            "step %d validation loss %.4f (unigram entropy %.4f) accuracy %.3f",
            self.step,
            result["loss"],
            self._manifest["splits"]["validation"]["unigram_entropy_nats_per_nt"],
            result["accuracy"],
        )

    def _probe(self, probes: StructureProbes) -> None:
        self._watch.beat(self.step, "probes")
        with self._clock.phase("probes"):
            found = probes.run(self._engine, self._ranks)
        self._tracker.log("probes", self.step, {**found.scalars, **found.by_family})
        self._tracker.log_images("probes", self.step, found.images)
        if found.scalars:
            logger.info(
                "step %d base-pair precision: %s (without a model: %s)",
                self.step,
                _list_precisions(found.scalars),
                _list_precisions(probes.compute_baselines()),
            )

    def _roll_back(self, step: int) -> None:
        """After a spike: weights, place in the data and log as of the checkpoint before it."""
        self._watch.beat(self.step, "roll-back")
        with self._clock.phase("roll-back"):
            self._writer.finish()
            checkpoint = self._recovery.roll_back(step)
            if checkpoint is None:
                return
            self.step, self._updates = checkpoint.state.step, checkpoint.state.updates
            self._engine.restore(checkpoint.iter_full(), updates=self._updates)
        self._clock.undo_since(self.step)
        self._tracker.go_back(self.step)
        self._tally.take()
        self.save()  # at once, so that no restart can lead into the spike again


def _build_state(config: PretrainConfig, found: RunState | None) -> RunState:
    """Where a run begins or goes on, with what it is made of now."""
    start = found or RunState(
        step=0,
        updates=0,
        skipped_packs=[],
        guards={},
        config={},
        manifest_hash="",
        versions={},
    )
    names = ("openrinalmo", "torch", "deepspeed", "numpy")
    excluded = read_excluded(read_manifest(config.data))
    return start._replace(
        config=describe(config),
        manifest_hash=hash_manifest(config.data),
        versions={name: version(name) for name in names},
        excluded=keep_common(found.excluded, excluded) if found else excluded,
    )


def _identify_gpu(device: torch.device) -> Gpu | None:
    return identify_gpu(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def _list_precisions(scalars: dict[str, float]) -> str:
    names = (
        *("attention_precision", "jacobian_precision"),
        *("random_precision", "letters_precision"),
    )
    found = [(name, scalars[name]) for name in names if name in scalars]
    return ", ".join(f"{name.removesuffix('_precision')} {value:.3f}" for name, value in found)


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return is_last or (every > 0 and step % every == 0)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
