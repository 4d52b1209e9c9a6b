"""Children that save a checkpoint and are hindered: killed, out of space, not allowed to write.

They are forked from a process that has imported everything and nothing else: a few milliseconds
each.
"""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import open_newest
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_writer import (
    CheckpointConfig,
    CheckpointWriter,
)
from openrinalmo.pipeline.ranks import Ranks
from support.checkpoints import SHAPES, Values, cut, make_state, make_values, save

_FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
_NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
NOBODY = 65_534


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["openrinalmo.pipeline.pretraining.checkpoints.checkpoint_writer"]
    )
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def join(process: BaseProcess) -> int:
    process.join(timeout=60)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def save_until_event(folder: Path, step: int, fatal_event: int) -> None:
    """Save, and be killed before this process's `fatal_event`-th touch of the file system."""
    count = 0

    def count_down(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _FILE_EVENTS and str(folder) in str(arguments[0]):
            count += 1
            if count == fatal_event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count_down)
    config = CheckpointConfig(keep_last=1)
    save(folder, step, sizes=(4, 9), config=config, values=make_values(1000 + step))


def save_for_ever(folder: Path, first_step: int) -> None:
    for step in range(first_step, 1_000_000):
        save(folder, step, config=CheckpointConfig(keep_last=2))


def save_with_little_space(folder: Path, step: int, max_file_bytes: int) -> None:
    """Save where no file may be larger; the error goes to a file beside the folder."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    _save_and_report(folder, step)


def save_as_nobody(folder: Path, step: int) -> None:
    """Save as a user whom the folder does not let write, also where the tests run as root."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    _save_and_report(folder, step)


def _save_and_report(folder: Path, step: int) -> None:
    try:
        save(folder, step)
    except OSError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, _NO_LIMIT)
        # In /tmp, where nobody may write too.
        descriptor, _ = tempfile.mkstemp(dir="/tmp", prefix=report_prefix(folder))
        os.write(descriptor, f"{error.errno} {error}".encode())
        sys.exit(7)


def report_prefix(folder: Path) -> str:
    return f"report-{folder.name}-"


def run_rank(
    folder: Path, meeting: Path, rank: int, world_size: int, scene: Callable[..., str]
) -> None:
    """Play a scene as one of several real ranks; what it returns goes to `meeting`."""
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}/store", rank=rank, world_size=world_size
    )
    ranks = Ranks(rank=rank, local_rank=rank, world_size=world_size, device=torch.device("cpu"))
    (meeting / f"{rank}.txt").write_text(scene(folder, ranks))
    dist.destroy_process_group()


def play(scene: Callable[..., str], folder: Path, meeting: Path, world_size: int) -> list[str]:
    """What every rank's scene returned."""
    processes = [
        start(run_rank, folder, meeting, rank, world_size, scene) for rank in range(world_size)
    ]
    assert [join(process) for process in processes] == [0] * world_size
    return [(meeting / f"{rank}.txt").read_text() for rank in range(world_size)]


def save_twice(folder: Path, ranks: Ranks) -> str:
    writer = CheckpointWriter(folder, CheckpointConfig(), ranks)
    for step in (10, 20):
        mine = cut(make_values(step), ranks.rank, (4, 9))
        writer.save(mine.items(), SHAPES, make_state(step))
        _spoil(mine)  # an update, while the files are being written
    writer.finish()
    return "saved"


def fail_on_rank_one(folder: Path, ranks: Ranks) -> str:
    """Rank 1 cannot write the second checkpoint; the third succeeds."""
    writer = CheckpointWriter(folder, CheckpointConfig(), ranks)
    said = "nothing"
    for step in (10, 20, 30):
        if step == 20 and ranks.rank == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, resource.RLIM_INFINITY))
        writer.save(cut(make_values(step), ranks.rank, (4, 9)).items(), SHAPES, make_state(step))
        try:
            writer.finish()
        except (ValueError, OSError) as error:
            said = f"{step}: {error}"
        resource.setrlimit(resource.RLIMIT_FSIZE, _NO_LIMIT)
    return said


def open_on_all(folder: Path, ranks: Ranks) -> str:
    try:
        opened = open_newest(folder, ranks)
    except ValueError as error:
        return str(error)
    return f"step {opened.state.step if opened else None}"


def _spoil(values: Values) -> None:
    for kinds in values.values():
        for value in kinds.values():
            value.fill_(-1)
