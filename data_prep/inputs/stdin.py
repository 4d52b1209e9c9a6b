"""Standard input as a file: a step's fingerprint needs its hash before the step reads it."""

import shutil
import sys
from pathlib import Path
from typing import BinaryIO

STDIN = Path("-")
"""How the command line names standard input."""


def spool_stdin(folder: Path, stream: BinaryIO | None = None) -> Path:
    """Copy standard input, packed or not, to `folder/stdin` and return that path; whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "stdin.partial"
    with scratch.open("wb") as file:
        shutil.copyfileobj(stream or sys.stdin.buffer, file, 1 << 20)
    if not scratch.stat().st_size:
        scratch.unlink()
        raise ValueError("standard input is empty: pipe sequences into it, or name files")
    return scratch.replace(folder / "stdin")
