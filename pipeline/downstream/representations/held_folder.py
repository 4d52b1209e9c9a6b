"""A scratch folder of one process; what a killed one leaves lasts until the next run."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def hold_folder(parent: Path, name: str) -> Iterator[Path]:
    """`parent/name` for this process alone, removed at the end.

    Where the process is killed or fails it stays, for a run that asks for the same name to go on
    with; a run that asks for another one removes it. A folder that a living process holds is never
    removed, and is waited for.
    """
    folder = parent / name
    while True:
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), _lock(parent):  # another process may remove it, empty
            _remove_left_behind(parent, name)
            folder.mkdir(exist_ok=True)
        if not folder.exists():
            continue
        with _lock(folder) as descriptor:
            if not _is_at(folder, descriptor):  # its last holder removed it while we waited
                continue
            yield folder
            shutil.rmtree(folder)
        with suppress(OSError):  # others' folders are beside it
            parent.rmdir()
        return


def _remove_left_behind(parent: Path, name: str) -> None:
    for other in parent.iterdir():
        if other.name != name:
            with suppress(BlockingIOError, FileNotFoundError), _lock(other, fcntl.LOCK_NB):
                shutil.rmtree(other)


@contextmanager
def _lock(folder: Path, flags: int = 0) -> Iterator[int]:
    """A lock that ends with the process, whatever ends it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_at(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
