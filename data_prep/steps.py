"""Steps of a preparation: each is done when its folder exists with the fingerprint it would have.

A step's folder holds its product and `step.json`: the fingerprint (the parameters that matter to
it and the hashes of what it reads) and the report (counts and hashes of what it made).
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .peak_memory import measure_peak_memory
from .seals import find_broken_seal, hash_files, write_sealed

logger = logging.getLogger(__name__)

STEP_FILE = "step.json"
VERSION = 7
"""Part of every fingerprint: raised when the code of a step changes what it makes."""


def run_step(
    folder: Path, fingerprint: dict[str, Any], build: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Return the step's report: read if the step is done, else made by `build(scratch folder)`."""
    old = _read_step(folder)
    fingerprint = {"version": VERSION, **fingerprint}
    if old is not None and old["fingerprint"] == fingerprint:
        logger.info("%s: done before, nothing to do", folder.name)
        return old["report"]
    logger.info("%s: %s", folder.name, _explain(old, fingerprint))
    start, start_cpu = time.monotonic(), _cpu_seconds()
    with finished_folder(folder) as scratch, explained_disk(folder):
        with measure_peak_memory() as peak:
            report = build(scratch)
        seconds = round(time.monotonic() - start, 2)
        step = {
            "fingerprint": fingerprint,
            "report": report,
            "seconds": seconds,
            "cpu_seconds": round(_cpu_seconds() - start_cpu, 2),
            "peak_memory": asdict(peak),
            "files": hash_files(scratch),
        }
        write_sealed(scratch / STEP_FILE, step)
    logger.info("%s: took %.1f s", folder.name, seconds)
    return report


@contextmanager
def finished_folder(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder that replaces `folder` only if the body succeeds."""
    scratch = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    # A process of a killed run may write one more file while its folder is removed.
    scratch.mkdir(parents=True, exist_ok=True)
    yield scratch
    if folder.exists():
        (folder / STEP_FILE).unlink(missing_ok=True)  # killed meanwhile, half a folder is no step
        shutil.rmtree(folder)
    scratch.rename(folder)


@contextmanager
def explained_disk(folder: Path) -> Iterator[None]:
    """Say which step found no room, and where: Arrow's and NumPy's own words name no file."""
    try:
        yield
    except OSError as error:
        # NumPy gives no number: "3497 requested and 416 written".
        if error.errno not in (None, errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        free = shutil.disk_usage(folder.parent).free / 1e9
        raise OSError(
            f"{folder.name}: could not write in {folder.parent}, which has {free:.1f} GB free "
            f"now ({error}); free some space or move the folder, then run again to go on from here"
        ) from error


def unwind_on_signals(words: str) -> None:
    """Have SIGTERM and SIGHUP end this process as an error does: with its programs and scratch.

    A signal that is ignored already, as under nohup, stays so.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: sys.exit(words))


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; refuse if another does. The lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(
                f"another run is preparing {folder}: wait for it, or give another --out"
            ) from error
        yield


def _cpu_seconds() -> float:
    """Return the processor time of this process and of the programs it ran to their end."""
    return sum(os.times()[:4])


def _read_step(folder: Path) -> dict[str, Any] | None:
    path = folder / STEP_FILE
    if not path.is_file():
        return None
    if fault := find_broken_seal(path):
        logger.warning("%s %s: the step runs again", path, fault)
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _explain(old: dict[str, Any] | None, fingerprint: dict[str, Any]) -> str:
    if old is None:
        return "not done yet, running"
    before = old["fingerprint"]
    changed = [key for key in fingerprint if fingerprint[key] != before.get(key)]
    return f"running again, changed: {', '.join(changed) or 'the step itself'}"
