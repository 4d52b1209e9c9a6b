"""The pretraining loop, top to bottom."""

import json
import logging
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...data_prep.shards import Split, hash_manifest, open_split, read_manifest
from ...model.masked_lm import MaskedLM, masked_lm_loss_sum
from ...model.weights import EXPORT_NAME
from ..overrides import describe
from ..ranks import Ranks, share_cores, sum_over_ranks
from .batches import PackedBatch, PackStream
from .checkpoint import (
    Checkpoint,
    RunState,
    export_checkpoint,
    find_latest,
    prune_checkpoints,
    save_checkpoint,
)
from .config import PretrainConfig, refuse_other_run
from .engine import Engine, Partition, find_engine_settings, read_engine_settings
from .optim import compute_lr
from .tracking import Tracker
from .validation import validate

logger = logging.getLogger(__name__)

_VALIDATION_SEED = 20_240_301
"""Validation packs and masks are the same in every run: losses can be compared."""


def pretrain(config: PretrainConfig, ranks: Ranks, *, resume: bool) -> None:
    """Run to `config.steps` updates; a collective call. Ends with a checkpoint and an export."""
    manifest = read_manifest(config.data)
    manifest_hash = hash_manifest(config.data)
    checkpoint = _open_checkpoint(config, manifest_hash, resume)
    first_step = checkpoint.state.step if checkpoint else 0
    if ranks.device.type == "cpu":
        share_cores(ranks.world_size)

    torch.manual_seed(config.seed)
    model = MaskedLM(config.model)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if checkpoint:
        if ranks.is_rank_zero:  # reading every byte once is enough; a failure ends the launch
            checkpoint.verify()
        checkpoint.load_weights(model)
    settings = read_engine_settings(find_engine_settings(config.engine, ranks.device))
    engine = Engine(
        model,
        config.optim,
        settings,
        packs_per_step=config.batches.packs_per_step,
        ranks=ranks,
    )
    if checkpoint:
        whole = ((name, Partition(*values)) for name, values in checkpoint.iter_full())
        engine.restore(whole, updates=first_step)
    train_split, validation_split = (open_split(config.data, s) for s in ("train", "validation"))
    stream = _build_stream(config, train_split, config.seed)
    validation_stream = _build_stream(config, validation_split, _VALIDATION_SEED)
    logger.info(
        "%s: %.2f M parameters, %d ranks on %s, %d clusters in %d packs an epoch",
        config.out.name,
        num_parameters / 1e6,
        ranks.world_size,
        ranks.device.type,
        train_split.num_clusters,
        stream.num_packs(0),
    )
    logger.info("%s", engine.backend)

    run_state = RunState(
        step=first_step,
        config=describe(config),
        manifest_hash=manifest_hash,
        versions={name: version(name) for name in ("openrinalmo", "torch", "deepspeed", "numpy")},
    )
    tracker = Tracker(
        config.out, first_step=first_step, steps=config.steps, is_rank_zero=ranks.is_rank_zero
    )
    if ranks.is_rank_zero:
        _write_json(config.out / "config.json", run_state._asdict())

    engine.train()
    for step in range(first_step, config.steps):
        numbers = _packs_of_rank(step, config.batches.packs_per_step, ranks, engine.micro_steps)
        packs = [stream.pack(number).to(ranks.device) for number, _ in numbers]
        weights = [weight for _, weight in numbers]
        loss, masked, tokens = _update(engine, packs, weights, compute_lr(step, config.optim), step)
        tracker.count_tokens(tokens)
        done = step + 1

        is_last = done == config.steps
        if done % config.tracking.log_every == 0 or is_last:
            capacity = config.batches.global_batch_tokens
            tracker.log(
                "train",
                done,
                {
                    "loss": loss,
                    "lr": compute_lr(step, config.optim),
                    "grad_norm": engine.grad_norm,
                    "tokens_per_second": tracker.take_tokens_per_second(),
                    "masked_tokens": masked,
                    "fill_rate": tokens / capacity,
                    "epoch": packs[0].epoch,
                },
            )
        if _is_due(done, config.tracking.validate_every, is_last):
            result = validate(
                engine,
                validation_stream,
                validation_split.rna_types,
                max_packs=config.tracking.validation_packs,
                ranks=ranks,
            )
            tracker.log("validation", done, result)
            _log_validation(done, result, manifest)
            tracker.restart_clock()
        if _is_due(done, config.checkpoint.every_steps, is_last):
            state = run_state._replace(step=done)
            _save(config, engine, shapes, state, ranks)
            tracker.restart_clock()
    tracker.close()


def _update(
    engine: Engine, packs: list[PackedBatch], weights: list[float], lr: float, step: int
) -> tuple[float, int, int]:
    """One optimizer update on the global batch: its loss, masked tokens and real tokens.

    The loss is the mean over the masked tokens of all ranks' packs, so how the packs are shared
    out among ranks and micro-steps changes nothing but rounding.
    """
    device = engine.ranks.device
    pairs = list(zip(packs, weights, strict=True))
    counts = [(len(pack.labels_M) * w, len(pack.ids_T) * w) for pack, w in pairs]
    masked, tokens = sum_over_ranks(torch.tensor(counts, device=device).double().sum(0)).tolist()
    engine.set_lr(lr)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    for i, (pack, weight) in enumerate(pairs):
        torch.manual_seed(pack.dropout_seed)
        pack_loss = masked_lm_loss_sum(engine.predict(pack), pack.labels_M) * weight
        engine.backward(pack_loss / masked)
        loss_sum += pack_loss.detach()
        if i < len(pairs) - 1:
            engine.finish_micro_step()
    loss = float(sum_over_ranks(loss_sum)) / masked
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"loss is {loss} at step {step}; nothing was updated. Resume from the last checkpoint "
            "with a lower optim.peak_lr in a new run, or look at the packs of this step"
        )
    engine.finish_micro_step()
    return loss, int(masked), int(tokens)


def _packs_of_rank(
    step: int, packs_per_step: int, ranks: Ranks, micro_steps: int
) -> list[tuple[int, float]]:
    """This rank's packs of a step, by number, with weight 1, or 0 for one that only fills in.

    Every rank makes the same number of micro-steps, because under ZeRO-3 each is a collective.
    """
    first = step * packs_per_step
    shares = []
    for micro_step in range(micro_steps):
        offset = micro_step * ranks.world_size + ranks.rank
        is_real = offset < packs_per_step
        shares.append((first + offset, 1.0) if is_real else (first, 0.0))
    return shares


def _build_stream(config: PretrainConfig, split: Split, seed: int) -> PackStream:
    return PackStream(
        split,
        pack_tokens=config.batches.micro_batch_tokens,
        sampling=config.sampling,
        masking=config.masking,
        seed=seed,
    )


def _open_checkpoint(config: PretrainConfig, manifest_hash: str, resume: bool) -> Checkpoint | None:
    latest = find_latest(config.out / "checkpoints")
    if latest is None:
        if resume:
            logger.info("nothing to resume in %s: starting at step 0", config.out)
        return None
    if not resume:
        raise ValueError(
            f"{config.out} already holds a run ({latest.name}): go on with --resume, or give "
            "another out="
        )
    checkpoint = Checkpoint(latest)
    refuse_other_run(checkpoint.state.config, describe(config), latest)
    if checkpoint.state.manifest_hash != manifest_hash:
        raise ValueError(
            f"{latest} knew data with manifest {checkpoint.state.manifest_hash[:12]}, but "
            f"{config.data} is {manifest_hash[:12]}: give the same data, or another out="
        )
    if checkpoint.state.step >= config.steps:
        logger.info("%s is at step %d already; raise steps=", latest, checkpoint.state.step)
    return checkpoint


def _save(
    config: PretrainConfig,
    engine: Engine,
    shapes: dict[str, tuple[int, ...]],
    state: RunState,
    ranks: Ranks,
) -> None:
    folder = config.out / "checkpoints"
    saved = save_checkpoint(folder, engine.iter_partitions(), shapes, state, ranks)
    if ranks.is_rank_zero:
        prune_checkpoints(folder, config.checkpoint.keep_last)
        unsharded = MaskedLM(config.model)
        export_checkpoint(saved, unsharded, config.out / EXPORT_NAME)
        logger.info("saved %s and %s", saved, config.out / EXPORT_NAME)


def _log_validation(step: int, result: dict[str, Any], manifest: dict[str, Any]) -> None:
    entropy = manifest["splits"]["validation"]["unigram_entropy_nats_per_nt"]
    logger.info(
        "step %d validation loss %.4f (unigram entropy %.4f) accuracy %.3f",
        step,
        result["loss"],
        entropy,
        result["accuracy"],
    )


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return is_last or (every > 0 and step % every == 0)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
