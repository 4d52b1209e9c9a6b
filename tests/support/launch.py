"""Runs of the real entry scripts, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_pretrain(*arguments: str, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    """`deepspeed --num_accelerators RANKS pipeline/pretrain.py ARGUMENTS`, on the CPU."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner"]
    return _run(*launcher, "--num_accelerators", str(ranks), "pipeline/pretrain.py", *arguments)


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python SCRIPT ARGUMENTS` from the project's root."""
    return _run(sys.executable, script, *arguments)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # ninja
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
    )
