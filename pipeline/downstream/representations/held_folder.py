"""A scratch folder of one process; what a killed one leaves lasts until the next run."""

import fcntl
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def hold_folder(parent: Path, name: str, *, keep: Collection[str] = ()) -> Iterator[Path]:
    """`parent/name` for this process alone, removed at the end.

    Where the process is killed or fails it stays, for a run that asks for the same name to go on
    with; a run that neither asks for it nor names it in `keep`, as what it will ask for, removes
    it. A folder that a living process holds is never removed, and is waited for: whoever holds
    several asks for them in the order of their names.
    """
    while (descriptor := _take(parent, name, {name, *keep})) is None:
        pass
    try:
        yield parent / name
        shutil.rmtree(parent / name)
    finally:
        os.close(descriptor)
    with suppress(OSError):  # others' folders are beside it
        parent.rmdir()


def _take(parent: Path, name: str, keep: Collection[str]) -> int | None:
    """The lock of the folder, made if need be; None where another process has just removed it."""
    folder = parent / name
    parent.mkdir(parents=True, exist_ok=True)
    try:
        beside = _lock(parent)
        try:
            _remove_left_behind(parent, keep)
            folder.mkdir(exist_ok=True)
        finally:
            os.close(beside)
        descriptor = _lock(folder)
        if os.path.samestat(folder.stat(), os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
    except FileNotFoundError:
        pass
    return None


def _remove_left_behind(parent: Path, keep: Collection[str]) -> None:
    for other in parent.iterdir():
        if other.name not in keep:
            with suppress(BlockingIOError, FileNotFoundError):
                descriptor = _lock(other, waits=False)
                shutil.rmtree(other, ignore_errors=True)
                os.close(descriptor)


def _lock(folder: Path, *, waits: bool = True) -> int:
    """Open and lock a folder; the lock ends when it is closed, or with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not waits:
            os.close(descriptor)
            raise
        logger.info("waiting for the process that holds %s", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
