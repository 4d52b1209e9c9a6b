"""Two machines, as two groups of processes with their own launcher and a rendezvous between them.

Every launcher starts the same script; each run must give the losses of one launch of two ranks.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from openrinalmo.pipeline.ranks import find_free_port
from support.corpora import make_corpus
from support.launch import ROOT, run_pretrain

SETTINGS = (
    *("--preset", "tiny", "steps=3", "model.embed_dim=24", "model.num_blocks=1"),
    *("model.num_heads=2", "batches.micro_batch_tokens=300", "batches.global_batch_tokens=600"),
    *("sampling.max_length_nt=90", "optim.peak_lr=0.01", "optim.warmup_steps=2"),
    *("tracking.log_every=1",),
)
LAUNCHED_BY = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_SIZE")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=40)


@pytest.fixture(scope="module")
def one_launch(corpus, tmp_path_factory) -> list[float]:
    """Losses of two ranks started by one launcher."""
    out = tmp_path_factory.mktemp("one") / "run"
    port = find_free_port()
    done = run_pretrain(*SETTINGS, f"data={corpus}", f"out={out}", ranks=2, port=port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(Path("/dev/shm").glob(f"deepspeed_*_{port}_*")), "DeepSpeed's buffers are left"
    return read_losses(out)


def read_losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "train"]


def run_on_two_nodes(commands: Sequence[Sequence[str]], environments: Sequence[dict]) -> None:
    """One command a node, at the same time; all must succeed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in (*LAUNCHED_BY, "GROUP_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        and not name.startswith("SLURM_")
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # ninja
        "PYTHONSAFEPATH": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    nodes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=inherited | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        said = [node.communicate(timeout=400)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    for node, text in zip(nodes, said, strict=True):
        assert node.returncode == 0, text


def check(out: Path, one_launch: list[float]) -> None:
    assert read_losses(out) == one_launch
    assert len(one_launch) == 3
    assert (out / "model.safetensors").exists()


def test_torchrun_on_two_nodes(corpus, one_launch, tmp_path):
    port, out = find_free_port(), tmp_path / "run"
    commands = [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={node}"),
            *("--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"),
            *("pipeline/pretrain.py", *SETTINGS, f"data={corpus}", f"out={out}"),
        ]
        for node in range(2)
    ]
    run_on_two_nodes(commands, [{}, {}])
    check(out, one_launch)


def test_deepspeeds_hostfile_on_two_nodes(corpus, one_launch, tmp_path):
    port, out = find_free_port(), tmp_path / "run"
    hostfile = tmp_path / "hostfile"
    hostfile.write_text("node1 slots=1\nnode2 slots=1\n")
    commands = [
        [
            *(sys.executable, "-m", "deepspeed.launcher.runner", f"--hostfile={hostfile}"),
            *("--no_ssh", f"--node_rank={node}", "--master_addr=127.0.0.1"),
            *(f"--master_port={port}", "pipeline/pretrain.py", *SETTINGS),
            *(f"data={corpus}", f"out={out}"),
        ]
        for node in range(2)
    ]
    run_on_two_nodes(commands, [{}, {}])
    check(out, one_launch)


def test_bare_srun_on_two_nodes(corpus, one_launch, tmp_path):
    """The variables of a step with one task on each of two machines, both called localhost."""
    out = tmp_path / "run"
    step = {
        "SLURM_JOB_ID": str(os.getpid()),  # another port for each run of this test
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_STEP_NODELIST": "localhost,other[1-2]",
        "SLURM_LOCALID": "0",
    }
    command = [sys.executable, "pipeline/pretrain.py", *SETTINGS, f"data={corpus}", f"out={out}"]
    tasks = [{"SLURM_PROCID": str(node), "SLURM_NODEID": str(node)} for node in range(2)]
    run_on_two_nodes([command, command], [step | task for task in tasks])
    check(out, one_launch)
