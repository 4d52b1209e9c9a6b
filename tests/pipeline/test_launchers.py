"""The launcher templates: valid shell, no variable out of nowhere, and the job's whole course."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.launch import ROOT

LAUNCHERS = ROOT / "pipeline" / "launchers"
SBATCH = LAUNCHERS / "pretrain.sbatch"
FROM_SLURM = {"SLURM_CPUS_PER_TASK", "SLURM_JOB_ID"}
FROM_USER = {"CORPUS", "RUN", "PRESET", "SETTINGS", "VENV"}


@pytest.mark.parametrize("script", sorted(LAUNCHERS.glob("*.sbatch")), ids=lambda path: path.name)
def test_templates_are_valid_shell_with_known_variables(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = script.read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    used = set(re.findall(r"\$\{?([A-Za-z_]+)", code))
    assigned = set(re.findall(r"(?:^|\s)([A-Za-z_]+)\+?=\(?\"?", code))
    assert used <= assigned | FROM_SLURM | FROM_USER | {"settings"}
    options = re.findall(r"^#SBATCH --([a-z-]+)", text, flags=re.MULTILINE)
    assert {"signal", "requeue", "ntasks-per-node", "gpus-per-node"} <= set(options)
    assert all("$" not in line for line in text.splitlines() if line.startswith("#SBATCH"))


def test_the_hostfile_is_what_deepspeed_reads():
    lines = [line for line in (LAUNCHERS / "hostfile").read_text().splitlines() if line[0] != "#"]
    assert lines
    assert all(re.fullmatch(r"\S+ slots=\d+", line) for line in lines)


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def cluster(tmp_path) -> Path:
    """A folder with stand-ins for srun, scontrol and the project's python; `told` is their log."""
    programs = tmp_path / "bin"
    programs.mkdir()
    write_program(programs / "srun", f'echo "srun $*" >> {tmp_path}/told; eval "$TASK"')
    write_program(programs / "scontrol", f'echo "scontrol $*" >> {tmp_path}/told')
    write_program(programs / "python", 'printf \'{\\n "steps": 100,\\n "seed": 0\\n}\\n\'')
    return tmp_path


def submit(cluster: Path, *, task: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{cluster / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "SLURM_CPUS_PER_TASK": "8",
        "TASK": task,
        "VENV": str(cluster),
        "CORPUS": "runs/corpus",
        "RUN": str(cluster / "run"),
        **more,
    }
    (cluster / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        ["bash", SBATCH], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def told(cluster: Path) -> str:
    return (cluster / "told").read_text()


def saving(step: int) -> str:
    return f'echo step-{step:08d} > "$RUN/checkpoints/latest"'.replace("$RUN", "${RUN}")


def test_a_job_whose_time_was_up_is_queued_again(cluster):
    done = submit(cluster, task="export RUN; " + saving(40), SETTINGS="steps=100 engine=zero1")
    assert done.returncode == 0, done.stderr
    assert "at step-00000040 of 100 steps: queued again" in done.stdout
    first, second = told(cluster).splitlines()
    assert first.endswith(
        f"pretrain.py --preset giga data=runs/corpus out={cluster / 'run'} steps=100 engine=zero1 "
        "--resume"
    )
    assert second == "scontrol requeue 4711"


def test_a_whole_run_is_not_queued_again(cluster):
    done = submit(cluster, task=saving(100))
    assert done.returncode == 0, done.stderr
    assert "is whole: step-00000100" in done.stdout
    assert "requeue" not in told(cluster)


@pytest.mark.parametrize("task", ["exit 3", "true"])
def test_a_job_that_failed_or_saved_nothing_is_not_queued_again(cluster, task):
    done = submit(cluster, task=task)
    assert done.returncode in (3, 1)
    assert "requeue" not in told(cluster)


def test_a_missing_corpus_is_named(cluster):
    done = submit(cluster, task="true", CORPUS="")
    assert done.returncode != 0
    assert "give CORPUS=folder of the prepared data" in done.stderr
