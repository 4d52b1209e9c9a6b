"""One run, one writer: a lock on the run's folder that dies with its process."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..ranks import Ranks

logger = logging.getLogger(__name__)

LOCK_NAME = "run.lock"


@contextmanager
def claim_folder(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Create the run's folder and hold its lock on rank 0; raises `ValueError` if another has it.

    The kernel frees the lock when its holder dies, however it dies.
    """
    if not ranks.is_rank_zero:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a+")
    except OSError as error:
        raise ValueError(
            f"out={folder} cannot be written ({error.strerror}): give a folder that can, out="
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"another run writes to out={folder} ({file.read().strip() or 'unknown'}): wait "
                "for it, stop it, or give another out="
            ) from None
        except OSError as error:
            logger.warning("%s cannot be locked (%s): start no second run in it", folder, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
