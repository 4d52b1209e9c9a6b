"""What a run is made of before its first step: process group, checkpoint, engine, streams."""

import logging
from datetime import timedelta

from ...data_prep.shards import Split, hash_manifest, verify_shards
from ..agreement import raise_together
from ..overrides import describe
from ..ranks import Ranks, limit_waits
from .batches import PackStream
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.checkpoint_choice import find_checkpoints, open_newest
from .config import PretrainConfig, refuse_other_run
from .engine import Engine
from .engine_settings import find_engine_settings, read_engine_settings

logger = logging.getLogger(__name__)


def compute_timeout(config: PretrainConfig) -> timedelta:
    """How long a collective waits: longer than the watch, which says more when it ends a run."""
    return timedelta(seconds=2 * config.guards.stall_seconds or 7 * 24 * 3600)


def check_data(config: PretrainConfig, ranks: Ranks) -> None:
    """Refuse shards that are missing or not what the manifest says; a collective call."""
    error = None
    if config.verify_data and ranks.is_rank_zero:
        try:
            verify_shards(config.data, progress=True)
        except (ValueError, OSError) as caught:
            error = caught
    raise_together(error, ranks, "verifying the shards")


def open_checkpoint(
    config: PretrainConfig, ranks: Ranks, *, resume: bool, allow_other_data: bool
) -> Checkpoint | None:
    """The checkpoint to go on from, if any; a collective call. Refuses to become another run."""
    folder = config.out / "checkpoints"
    if not resume:
        if found := find_checkpoints(folder):
            raise ValueError(
                f"{config.out} already holds a run ({found[max(found)].name}): go on with "
                "--resume, or give another out="
            )
        return None
    checkpoint = open_newest(folder, ranks)
    if checkpoint is None:
        logger.info("nothing to resume in %s: starting at step 0", config.out)
        return None
    refuse_other_run(checkpoint.state.config, describe(config), checkpoint.folder)
    known, now = checkpoint.state.manifest_hash, hash_manifest(config.data)
    if known != now and not allow_other_data:
        raise ValueError(
            f"{checkpoint.folder} knew data with manifest {known[:12]}, but {config.data} is "
            f"{now[:12]}: give the same data, another out=, or --allow-other-data if going on "
            "with other data is what you want"
        )
    if known != now:
        logger.warning("going on with other data: its manifest is %s, was %s", now[:12], known[:12])
    return checkpoint


def build_engine(config: PretrainConfig, ranks: Ranks) -> Engine:
    """The engine with the run's first weights; a collective call."""
    engine = Engine(
        config.model,
        config.optim,
        read_engine_settings(find_engine_settings(config.engine, ranks.device)),
        execution=config.execution,
        packs_per_step=config.batches.packs_per_step,
        ranks=ranks,
        seed=config.seed,
    )
    limit_waits(compute_timeout(config))
    return engine


def build_stream(config: PretrainConfig, split: Split, seed: int) -> PackStream:
    """A split's packs."""
    return PackStream(
        split,
        pack_tokens=config.batches.micro_batch_tokens,
        sampling=config.sampling,
        masking=config.masking,
        seed=seed,
    )
