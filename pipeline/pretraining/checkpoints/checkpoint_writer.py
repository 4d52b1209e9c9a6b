"""Writing checkpoints: slices copied at once, files written in the background, names moved last.

Ranks meet in collectives only in `save` and `finish`, in their main threads. In the background
each writes its file and then a note with its hash; rank 0 waits for the notes, writes the state,
renames the folder, moves `latest`, deletes what need not be kept, and exports the weights.
A process killed at any moment leaves the old checkpoint or the new one as the newest whole one.
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from ....model.tensor_file import FileDigest, write_tensors
from ...agreement import raise_together
from ...ranks import Ranks, sum_over_ranks
from .checkpoint import (
    PARTIAL_SUFFIX,
    REPLACED_SUFFIX,
    Checkpoint,
    ParameterEntry,
    RunState,
    rank_file_name,
    step_name,
    sync_folder,
    write_durably,
    write_state,
)
from .checkpoint_choice import write_latest
from .checkpoint_cleaning import clean_up, prune
from .checkpoint_export import export_checkpoint

logger = logging.getLogger(__name__)

Partitions = Iterable[tuple[str, Mapping[str, Tensor]]]
"""By parameter name and kind (`weight`, a moment), this rank's flat slice; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    every_steps: int = 1_000
    """A checkpoint every so many steps, and one at the end; 0 for the end only."""
    keep_last: int = 3
    """Older ones are deleted; 0 keeps all."""
    keep_every: int = 0
    """One whose step is a multiple of this is never deleted; 0 for none."""
    asynchronous: bool = True
    """Train on while files are written; costs host memory for a copy of every rank's slices."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "keep_last", "keep_every"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"checkpoint.{name} must not be negative, got {getattr(self, name)}"
                )


class CheckpointWriter:
    """Writes a run's checkpoints into `folder`, and the newest weights to `export`."""

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        ranks: Ranks,
        *,
        export: Path | None = None,
        wait_limit_seconds: float = 1800,
    ) -> None:
        self._folder = folder
        self._config = config
        self._ranks = ranks
        self._export = export
        self._wait_limit_seconds = wait_limit_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._buffer = torch.empty(0)

    def save(
        self, partitions: Partitions, shapes: Mapping[str, tuple[int, ...]], state: RunState
    ) -> None:
        """Write a checkpoint; a collective call. Raises what the one before ran into.

        On return the slices are copied and may change; the files are there after `finish` or the
        next `save`, or now if `checkpoint.asynchronous` is off.
        """
        self.finish()
        state = RunState(**json.loads(json.dumps(state._asdict())))  # the caller's may change
        parts = [(name, dict(slices)) for name, slices in partitions]
        entries = {name: ParameterEntry(shapes[name], tuple(slices)) for name, slices in parts}
        slices = {
            f"{kind}.{name}": values for name, group in parts for kind, values in group.items()
        }
        needed_bytes = self._count_bytes(slices)
        scratch = self._folder / (step_name(state.step) + PARTIAL_SUFFIX)
        doing = f"saving the checkpoint of step {state.step}"
        raise_together(self._prepare(scratch, needed_bytes), self._ranks, doing)
        raise_together(self._find_unshared(scratch), self._ranks, doing)
        own = self._copy_to_host(slices)
        self._pending = self._thread.submit(self._write, scratch, own, entries, state, needed_bytes)
        if not self._config.asynchronous:
            self.finish()

    def finish(self) -> None:
        """Wait until the last checkpoint is written; a collective call. Raises what went wrong."""
        if self._pending is None:
            return
        error = self._pending.exception()
        self._pending = None
        if error is not None and not isinstance(error, Exception):
            raise error
        try:
            raise_together(error, self._ranks, "writing the last checkpoint")
        finally:
            if self._ranks.is_rank_zero:
                clean_up(self._folder)

    def _prepare(self, scratch: Path, needed_bytes: int) -> OSError | None:
        """On rank 0, make the folder to write into, where there is space."""
        if not self._ranks.is_rank_zero:
            return None
        try:
            clean_up(self._folder)
            scratch.mkdir(parents=True)
            if shutil.disk_usage(self._folder).free < needed_bytes:
                scratch.rmdir()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return self._explain(error, scratch, needed_bytes)
        return None

    def _find_unshared(self, scratch: Path) -> FileNotFoundError | None:
        if scratch.is_dir():
            return None
        return FileNotFoundError(
            f"{scratch}, which rank 0 made, is not seen by rank {self._ranks.rank}: out= must be a "
            "folder that all machines share"
        )

    def _count_bytes(self, slices: Mapping[str, Tensor]) -> int:
        """What all ranks' files will take together, and the export."""
        sizes = [
            len(values) * (2 if self._export and key.startswith("weight.") else 1)
            for key, values in slices.items()
        ]
        mine = torch.tensor(4 * sum(sizes), dtype=torch.int64, device=self._ranks.device)
        return int(sum_over_ranks(mine))

    def _copy_to_host(self, slices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies in one buffer that is kept between saves: pinning memory is slow."""
        size = sum(map(len, slices.values()))
        if len(self._buffer) < size:
            on_gpu = self._ranks.device.type == "cuda"
            self._buffer = torch.empty(size, dtype=torch.float32, pin_memory=on_gpu)
        copies, first = {}, 0
        for key, values in slices.items():
            copies[key] = self._buffer[first : first + len(values)]
            copies[key].copy_(values.detach(), non_blocking=True)
            first += len(values)
        if self._ranks.device.type == "cuda":
            torch.cuda.current_stream().synchronize()
        return copies

    # What follows runs in the background, without collectives.

    def _write(
        self,
        scratch: Path,
        own: dict[str, Tensor],
        entries: dict[str, ParameterEntry],
        state: RunState,
        needed_bytes: int,
    ) -> None:
        started = time.monotonic()
        try:
            self._write_own(scratch, own)
            if not self._ranks.is_rank_zero:
                return
            final = self._complete(scratch, entries, state)
        except OSError as error:
            raise self._explain(error, scratch, needed_bytes) from error
        saved = Checkpoint(final)
        seconds = time.monotonic() - started
        logger.info("saved %s, %.0f MB in %.1f s", final, saved.num_bytes / 1e6, seconds)
        prune(
            self._folder,
            state.step,
            keep_last=self._config.keep_last,
            keep_every=self._config.keep_every,
        )
        if self._export is not None:
            try:
                export_checkpoint(saved, self._export, self._export.parent.name)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"{final} is saved, but not its export {self._export}: {error.strerror}. Free "
                    "space, then export it with pipeline/checkpoint.py",
                ) from error

    def _write_own(self, scratch: Path, own: dict[str, Tensor]) -> None:
        name = rank_file_name(self._ranks.rank, self._ranks.world_size)
        note = {"failed": True}
        try:
            shapes = {key: tuple(values.shape) for key, values in own.items()}
            digest = write_tensors(scratch / name, shapes, own.items())
            note = {"name": name, **digest._asdict()}
        finally:  # whatever went wrong, rank 0 need not wait for it
            write_durably(_note_path(scratch, self._ranks.rank), json.dumps(note))

    def _complete(self, scratch: Path, entries: dict[str, ParameterEntry], state: RunState) -> Path:
        files = self._collect_notes(scratch)
        saved_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_state(scratch, state, entries, files, saved_at)
        final = self._folder / step_name(state.step)
        if final.exists():
            final.rename(final.with_name(final.name + REPLACED_SUFFIX))
        scratch.rename(final)
        sync_folder(self._folder)
        write_latest(self._folder, state.step)
        return final

    def _collect_notes(self, scratch: Path) -> dict[str, FileDigest]:
        """Every rank's file, once all are there; then the notes are gone."""
        paths = [_note_path(scratch, rank) for rank in range(self._ranks.world_size)]
        give_up = time.monotonic() + self._wait_limit_seconds
        while missing := [rank for rank, path in enumerate(paths) if not path.exists()]:
            if time.monotonic() > give_up:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"nothing from rank {', '.join(map(str, missing))} in "
                    f"{self._wait_limit_seconds:.0f} s",
                )
            time.sleep(0.05)
        notes = [json.loads(path.read_text()) for path in paths]
        if failed := [str(rank) for rank, note in enumerate(notes) if "failed" in note]:
            raise OSError(errno.EIO, f"rank {', '.join(failed)} could not write its file")
        for path in paths:
            path.unlink()
        return {note.pop("name"): FileDigest(**note) for note in notes}

    def _explain(self, error: OSError, scratch: Path, needed_bytes: int) -> OSError:
        free = "unknown"
        if self._folder.exists():
            free = f"{shutil.disk_usage(self._folder).free / 1e6:.0f} MB"
        return OSError(
            error.errno,
            f"{scratch.stem} was not saved: {error.strerror or error}, in {self._folder} ({free} "
            f"free, {needed_bytes / 1e6:.0f} MB needed). Checkpoints before it are untouched: make "
            "the folder writable with space to spare, then go on with --resume",
        )


def _note_path(scratch: Path, rank: int) -> Path:
    return scratch / f"rank-{rank:05d}.json"
