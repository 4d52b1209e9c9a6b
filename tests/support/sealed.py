"""Prepared folders for tests of what reads them: planted records with every kind of product."""

import json
from pathlib import Path

from openrinalmo.data_prep.seals import hash_files, write_sealed
from openrinalmo.data_prep.steps import STEP_FILE


def seal_steps(folder: Path) -> None:
    """Seal the steps and the cache of input hashes as a run does that seals them itself."""
    steps = folder / "steps"
    write_sealed(steps / "inputs.json", json.loads((steps / "inputs.json").read_text()))
    for path in sorted(steps.glob(f"*/{STEP_FILE}")):
        step = json.loads(path.read_text())
        path.unlink()
        write_sealed(path, {**step, "files": hash_files(path.parent)})
