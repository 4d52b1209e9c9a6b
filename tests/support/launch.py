"""Runs of the real entry scripts, as a user starts them."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from openrinalmo.pipeline.ranks import find_free_port

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS_WORDS = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
)


def run_pretrain(
    *arguments: str,
    ranks: int = 2,
    script: str = "pipeline/pretrain.py",
    port: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """`deepspeed --num_accelerators RANKS SCRIPT ARGUMENTS`, on the CPU."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner"]
    where = ("--num_accelerators", str(ranks), "--master_port", str(port or find_free_port()))
    return _run(*launcher, *where, script, *arguments)


def run_script(
    script: str, *arguments: str, limits: Mapping[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python SCRIPT ARGUMENTS` from the project's root, under resource limits if given."""
    return _run(sys.executable, script, *arguments, limits=limits)


def build_environment() -> dict[str, str]:
    """An environment without a launcher's traces, on the CPU, one thread a process."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # ninja
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    for name in LAUNCHERS_WORDS:
        environment.pop(name, None)
    return environment


def _run(
    *command: str, limits: Mapping[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        for kind, value in (limits or {}).items():
            resource.setrlimit(kind, (value, value))

    return subprocess.run(
        command,
        cwd=ROOT,
        env=build_environment(),
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
        preexec_fn=limit if limits else None,
    )
