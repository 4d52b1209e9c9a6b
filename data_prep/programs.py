"""Other programs run to their end. The only file here that starts any.

A program ends with this process, however that ends: kill -9 too leaves nothing running.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

logger = logging.getLogger(__name__)

SCRATCH_PREFIX = "program-scratch-"
LAST_LINES = 20
LEAST_FREE_BYTES = 64 << 20
"""With less a program that failed is taken to have failed for it: few say so themselves."""
_FULL = re.compile(rb"No space left|Disk quota exceeded|File too large|File size limit exceeded")
_GUARD = "read -r line; kill -KILL 0"
_POLL_SECONDS = 0.5
_MODULE = re.compile(rb"([a-z][a-z0-9]+) /.* --")
"""A line by which MMseqs2 says that a module begins."""


def run_program(
    command: Sequence[str], name: str, *, log: Path, said: str, environment: Mapping[str, str]
) -> None:
    """Run a program, its words going to the log after `said`; its last ones are in the error."""
    logger.info("running %s; its words go to %s", name, log)
    with log.open("ab") as file:
        start = file.tell()
        file.write(f"$ {said}\n".encode())
        file.flush()
        with _guarded_group() as group:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=group,
                env=environment,
            )
            _follow(process, log, start, name)
    if process.returncode:
        raise _explain(f"`{name}` exited with {process.returncode}", log, start)


def read_output(*command: str | Path) -> str:
    """Return what a short program prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = " ".join(map(str, command))
        raise RuntimeError(f"`{said}` exited with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder for a program's files, which goes with the body's end, failed or not.

    What a killed run left of its own goes first: the caller holds `folder` for itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _guarded_group() -> Iterator[int]:
    """Yield a process group that is killed at the end of the body, or of this process.

    Its leader waits for the end of a pipe that this process alone holds open: the system closes
    that even after kill -9. A death signal would reach the program and not its children, and
    those of an MMseqs2 workflow do the work.
    """
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        ["/bin/sh", "-c", _GUARD],
        stdin=read_end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as leader:
        os.close(read_end)
        try:
            yield leader.pid
        finally:
            os.close(write_end)


def _explain(failure: str, log: Path, start: int) -> Exception:
    """Return the error of a program that failed, of its own kind where the disk is full."""
    words = log.read_bytes()[start:]
    free = shutil.disk_usage(log.parent).free
    if free < LEAST_FREE_BYTES or _FULL.search(words):
        return OSError(
            errno.ENOSPC, f"no space: {failure} with {free / 1e9:.2f} GB free; its words: {log}"
        )
    last = "\n".join(words.decode(errors="replace").splitlines()[-LAST_LINES:])
    return RuntimeError(f"{failure}; its last words (all of them: {log}):\n{last}")


def _follow(process: subprocess.Popen[bytes], log: Path, start: int, name: str) -> None:
    """Wait for a program; on a terminal, show which of its modules runs and how many have."""
    with tqdm(desc=name, unit="module", disable=None, leave=False) as bar:
        if bar.disable:
            process.wait()
            return
        with log.open("rb") as words:
            words.seek(start)
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_POLL_SECONDS)
                for line in words.read().splitlines():
                    if module := _MODULE.match(line):
                        bar.set_postfix_str(module[1].decode())
                        bar.update()
                bar.refresh()
                if process.returncode is not None:
                    return
