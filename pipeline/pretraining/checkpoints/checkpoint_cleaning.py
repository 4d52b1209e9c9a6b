"""Which checkpoints are deleted, and what a killed run left; for rank 0."""

import shutil
from pathlib import Path

from .checkpoint import PARTIAL_SUFFIX, REPLACED_SUFFIX
from .checkpoint_choice import find_checkpoints


def prune(folder: Path, step: int, *, keep_last: int, keep_every: int) -> None:
    """Delete all but the newest `keep_last` and the multiples of `keep_every`; 0 keeps all, none.

    What lies past `step` was abandoned, and stays until the run comes to replace it.
    """
    found = {s: path for s, path in find_checkpoints(folder).items() if s <= step}
    for old in list(found)[:-keep_last] if keep_last else []:
        if keep_every == 0 or old % keep_every:
            _delete(found[old])


def clean_up(folder: Path) -> None:
    """Delete what a killed run or a failed save left, or put it back where it belongs."""
    for path in folder.glob(f"step-*{REPLACED_SUFFIX}"):
        final = path.with_suffix("")
        if final.exists():
            _delete(path)
        else:
            path.rename(final)
    for path in folder.glob(f"step-*{PARTIAL_SUFFIX}"):
        _remove(path)


def _delete(checkpoint: Path) -> None:
    """Rename, then remove: no checkpoint is ever seen without some of its files."""
    doomed = checkpoint.with_name(checkpoint.name + PARTIAL_SUFFIX)
    _remove(doomed)
    checkpoint.rename(doomed)
    _remove(doomed)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
