"""What a watcher asks of a run's folder: its checkpoints, one's weights, whether it is finished."""

import json
from pathlib import Path

from safetensors import SafetensorError

from .checkpoints.checkpoint import REPLACED_SUFFIX, STATE_HASH_NAME, Checkpoint, DamagedError
from .checkpoints.checkpoint_choice import find_checkpoints
from .checkpoints.checkpoint_export import export_checkpoint

CHECKPOINTS, CONFIG = "checkpoints", "config.json"


def list_digests(run: Path) -> dict[int, str]:
    """Hash of the state of every checkpoint by its step; one that is being deleted is left out."""
    digests = {}
    for step, path in find_checkpoints(run / CHECKPOINTS).items():
        try:
            digest = (path / STATE_HASH_NAME).read_text(errors="replace").partition(" ")[0]
        except FileNotFoundError:
            continue
        if digest and path.suffix != REPLACED_SUFFIX:
            digests[step] = digest
    return digests


def export_step(run: Path, step: int, path: Path) -> None:
    """Write a checkpoint's weights as evaluation loads them, every byte verified first."""
    found = find_checkpoints(run / CHECKPOINTS)
    if step not in found:
        raise FileNotFoundError(f"{run} has no checkpoint of step {step} any more")
    checkpoint = Checkpoint(found[step])
    checkpoint.verify()
    try:
        export_checkpoint(checkpoint, path, run.name)
    except SafetensorError as error:
        raise DamagedError(f"{found[step]} cannot be read: {error}") from error


def has_all_steps(run: Path) -> bool:
    """Whether the newest checkpoint is of the last step that the run's settings ask for."""
    path = run / CONFIG
    steps = list_digests(run)
    if not path.exists() or not steps:
        return False
    return max(steps) >= json.loads(path.read_text())["config"]["steps"]
