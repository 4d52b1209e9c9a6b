"""Which checkpoint a run goes on from: the one `latest` names, or the newest that is whole."""

import logging
import re
from pathlib import Path

import torch.distributed as dist

from ...agreement import raise_together, take_from_rank_zero
from ...ranks import Ranks
from .checkpoint import (
    REPLACED_SUFFIX,
    STATE_HASH_NAME,
    Checkpoint,
    DamagedError,
    step_name,
    write_durably,
)

LATEST_NAME = "latest"
_STEP_FOLDER = re.compile(r"step-(\d{8,})")
_NONE = -1

logger = logging.getLogger(__name__)


def open_newest(folder: Path, ranks: Ranks, *, at_most: int | None = None) -> Checkpoint | None:
    """Open the checkpoint to go on from, None where there is none; a collective call.

    That is the one `latest` names, or the newest before it that is whole, or the newest at all;
    every byte is compared with its hash. `at_most` leaves out steps past it. Rank 0 reads and
    chooses for all; where torch.distributed is not up, every rank does so for itself.
    """
    error, step = None, _NONE
    if ranks.is_rank_zero or not dist.is_initialized():
        try:
            chosen = _choose(folder, at_most)
            step = chosen.state.step if chosen else _NONE
        except (ValueError, OSError) as caught:
            error = caught
    raise_together(error, ranks, "opening the newest checkpoint")
    if dist.is_initialized():
        step = take_from_rank_zero(step, ranks)
    return None if step == _NONE else Checkpoint(find_checkpoints(folder)[step])


def find_checkpoints(folder: Path) -> dict[int, Path]:
    """Every checkpoint's folder by step, the oldest first, whole or damaged."""
    found = {}
    for path in folder.glob("step-*"):
        match = _STEP_FOLDER.fullmatch(path.name.removesuffix(REPLACED_SUFFIX))
        # A replaced one counts only while its successor is not in its place yet.
        is_stale = path.suffix == REPLACED_SUFFIX and path.with_suffix("").exists()
        if match and not is_stale:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def write_latest(folder: Path, step: int) -> None:
    """Let `latest` name a checkpoint, with the hash of its state."""
    digest = _read_digest(find_checkpoints(folder)[step])
    write_durably(folder / LATEST_NAME, f"{step_name(step)} {digest}\n")


def read_latest(folder: Path) -> tuple[int | None, str | None]:
    """Step that `latest` means, if that can be told, and what is wrong with it, if anything is.

    Name and hash each find the checkpoint without the other; a bare name is what people write.
    """
    path = folder / LATEST_NAME
    if not path.exists():
        return None, f"{path} is missing"
    text = path.read_bytes().decode(errors="replace")
    digests = {step: _read_digest(path) for step, path in find_checkpoints(folder).items()}
    by_hash = [step for step, digest in digests.items() if digest and digest in text]
    step = next(iter(by_hash or [s for s in digests if text.startswith(step_name(s))]), None)
    if step is None:
        return None, f"{path} is damaged: it says {text[:40]!r}, which is no checkpoint here"
    if text.strip() != step_name(step) and text != f"{step_name(step)} {digests[step]}\n":
        return step, f"{path} is damaged: name and hash do not match; it means step {step}"
    return step, None


def _read_digest(checkpoint: Path) -> str:
    path = checkpoint / STATE_HASH_NAME
    return path.read_text(errors="replace").partition(" ")[0] if path.exists() else ""


def _choose(folder: Path, at_most: int | None) -> Checkpoint | None:
    every = find_checkpoints(folder)
    if not every and not (folder / LATEST_NAME).exists():
        return None
    named, fault = read_latest(folder)
    if not every:
        raise ValueError(f"{fault}. Put the step- folders back, or give another out=")
    if fault:
        logger.warning("%s", fault)
    steps = [step for step in reversed(every) if at_most is None or step <= at_most]
    if named is not None:  # what lies past it was abandoned, by a roll-back or by hand
        steps.sort(key=lambda step: step > named)
    faults = []
    for step in steps:
        try:
            checkpoint = Checkpoint(every[step])
            checkpoint.verify()
        except DamagedError as error:
            logger.warning("passing over the checkpoint of step %d: %s", step, error)
            faults.append(str(error))
            continue
        if fault or faults:
            logger.warning("going on from the checkpoint of step %d", step)
        return checkpoint
    if not steps:
        return None
    raise ValueError(
        f"no checkpoint in {folder} is whole: {'; '.join(faults)}. Put back a copy of one of these "
        "folders, or start again with another out="
    )
