"""The real script under faults: each ends in a clear message, and nothing is lost."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from openrinalmo.pipeline.pretraining.stops import EXIT_STALLED
from support.corpora import make_corpus
from support.launch import ROOT, build_environment, run_pretrain, run_script

SMALL = (
    *("--preset", "tiny", "model.embed_dim=24", "model.num_blocks=1", "model.num_heads=2"),
    *("batches.micro_batch_tokens=200", "batches.global_batch_tokens=400"),
    *("sampling.max_length_nt=90", "optim.peak_lr=0.003", "optim.warmup_steps=5"),
    *("tracking.log_every=1", "probes.every_validations=0", "checkpoint.keep_last=2"),
)
FAULTY = "tests/support/faulty_pretrain.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=80)


def settings_of(corpus: Path, out: Path, *settings: str) -> Sequence[str]:
    return (*SMALL, f"data={corpus}", f"out={out}", *settings)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """The script as a process of its own group, alone on one rank."""
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=ROOT,
        env=build_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_log(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == "train"]


def read_latest(run: Path) -> str:
    """Name of the checkpoint that `latest` means."""
    return (run / "checkpoints" / "latest").read_text().split()[0]


def last_step(run: Path) -> int:
    """The last step the run has logged; 0 before the first."""
    log = run / "log.jsonl"
    whole = [line for line in log.read_text().split("\n")[:-1] if line] if log.exists() else []
    return json.loads(whole[-1])["step"] if whole else 0


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Return once the run has logged `step` or a later one."""
    deadline = time.monotonic() + 120
    while last_step(run) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"not at step {step} within two minutes"
        time.sleep(0.02)


def assert_same_end(run: Path, other: Path, steps: int) -> None:
    """Weights, moments and losses of two runs' last checkpoints are the same bits."""
    name = f"step-{steps:08d}"
    for file in sorted((run / "checkpoints" / name).glob("*.safetensors")):
        a, b = load_file(file), load_file(other / "checkpoints" / name / file.name)
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert torch.equal(value, b[key]), key
    losses = [[(row["step"], row["loss"]) for row in read_log(folder)] for folder in (run, other)]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == list(range(1, steps + 1))


@pytest.fixture(scope="module")
def straight_run(corpus, tmp_path_factory) -> Path:
    """Forty steps without a stop."""
    out = tmp_path_factory.mktemp("straight") / "run"
    done = run_script("pipeline/pretrain.py", *settings_of(corpus, out, "steps=40"))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_killed_ten_times_at_random_moments_a_run_ends_as_if_it_never_was(
    corpus, tmp_path, asynchronous
):
    """A checkpoint every second step, so that many of the moments lie within a save."""
    steps = 400
    settings = ("checkpoint.every_steps=2", f"checkpoint.asynchronous={asynchronous}")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = run_script(
        "pipeline/pretrain.py", *settings_of(corpus, straight, *settings, f"steps={steps}")
    )
    assert done.returncode == 0, done.stderr

    rng = random.Random(asynchronous)
    arguments = settings_of(corpus, killed, *settings, f"steps={steps}", "--resume")
    for kill in range(10):
        with start("pipeline/pretrain.py", *arguments) as process:
            reached = last_step(killed)
            wait_for_step(killed, reached + 1, process)
            time.sleep(rng.uniform(0, 1.0))
            assert process.poll() is None, f"ended before kill {kill}: {process.communicate()[0]}"
            os.killpg(process.pid, signal.SIGKILL)
    assert 10 < last_step(killed) < steps
    done = run_script("pipeline/pretrain.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert_same_end(straight, killed, steps)
    assert not list((killed / "checkpoints").glob("*.partial"))
    assert len(list((killed / "checkpoints").glob("step-*"))) == 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_asked_to_stop_a_run_saves_exits_0_and_goes_on(corpus, straight_run, tmp_path, name):
    out = tmp_path / "run"
    arguments = settings_of(corpus, out, "steps=40", "--resume")
    with start("pipeline/pretrain.py", *arguments) as process:
        wait_for_step(out, 2, process)
        process.send_signal(getattr(signal, name))
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    stopped = last_step(out)
    assert 2 <= stopped < 40
    assert f"asked to stop by {name}: saved step {stopped}, go on with --resume" in output
    assert read_latest(out) == f"step-{stopped:08d}"
    done = run_script("pipeline/pretrain.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert_same_end(straight_run, out, 40)


def test_one_rank_asked_to_stop_stops_both(corpus, tmp_path):
    out = tmp_path / "run"
    done = run_pretrain(
        *settings_of(corpus, out, "steps=400"), "fault=term@3:1", script=FAULTY, ranks=2
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stopped = last_step(out)
    assert stopped == 4
    assert "asked to stop on another rank: saved step 4" in done.stdout + done.stderr
    names = sorted(path.name for path in (out / "checkpoints" / "step-00000004").iterdir())
    assert [name for name in names if name.endswith("safetensors")] == [
        "rank-00000-of-00002.safetensors",
        "rank-00001-of-00002.safetensors",
    ]


@pytest.mark.parametrize("fault", ["nan@3,6", "gradient@3,6"])
def test_an_unusable_step_is_skipped_counted_and_described(corpus, tmp_path, fault):
    out = tmp_path / "run"
    done = run_script(FAULTY, f"fault={fault}", *settings_of(corpus, out, "steps=10"))
    assert done.returncode == 0, done.stderr
    rows = read_log(out)
    assert [row["skipped_steps"] for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    incidents = [json.loads(line) for line in (out / "incidents.jsonl").read_text().splitlines()]
    assert [row["step"] for row in incidents] == [3, 6]
    for row in incidents:
        assert row["kind"] == "unusable"
        packs = [pack["number"] for pack in row["packs"]]
        assert packs == [2 * row["step"], 2 * row["step"] + 1]
        for pack in row["packs"]:
            assert set(pack["predicted_by_rna_type"]) <= {"hairpin", "repeat"}
    assert torch.isfinite(
        torch.cat([value.flatten() for value in load_file(out / "model.safetensors").values()])
    ).all()
    state = json.loads((out / "checkpoints" / "step-00000010" / "state.json").read_text())
    assert (state["step"], state["updates"]) == (10, 8)


def test_too_many_unusable_steps_end_the_run_with_their_packs_named(corpus, tmp_path):
    out = tmp_path / "run"
    arguments = settings_of(corpus, out, "steps=20", "guards.max_unusable_steps=2")
    done = run_script(FAULTY, "fault=nan@2,3,5", *arguments)
    assert done.returncode == 1
    assert "more than guards.max_unusable_steps=2 of the last 128 steps" in done.stderr
    assert "incidents.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_latest(out) == "step-00000006"
    done = run_script("pipeline/pretrain.py", *arguments, "--resume")
    assert done.returncode == 0, done.stderr


def test_a_spike_is_rolled_back_and_its_packs_are_never_shown(corpus, tmp_path):
    """Afterwards the run is the one that was told beforehand to leave those packs out."""
    settings = ("steps=40", "checkpoint.every_steps=10", "guards.window_steps=16")
    spiked, told = tmp_path / "spiked", tmp_path / "told"
    done = run_script(FAULTY, "fault=spike@50-55", *settings_of(corpus, spiked, *settings))
    assert done.returncode == 0, done.stderr
    assert "spiked at steps 25 to 27" in done.stderr
    assert "back to step 20, leaving out packs 50 to 55" in done.stderr
    arguments = settings_of(corpus, told, *settings, "batches.skip_packs=50-55")
    done = run_script("pipeline/pretrain.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert_same_end(told, spiked, 40)
    (incident,) = [
        json.loads(line) for line in (spiked / "incidents.jsonl").read_text().splitlines()
    ]
    assert incident["kind"] == "spike"
    assert [pack["number"] for pack in incident["packs"]] == list(range(50, 56))


def test_a_run_that_keeps_spiking_stops(corpus, tmp_path):
    settings = ("steps=60", "checkpoint.every_steps=10", "guards.window_steps=16")
    done = run_script(
        FAULTY,
        "fault=spike@50-500",
        *settings_of(corpus, tmp_path / "run", *settings, "guards.max_rollbacks=1"),
    )
    assert done.returncode == 1
    assert "spiked again after guards.max_rollbacks=1 roll-backs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hanging_rank_is_named_and_the_run_ends(corpus, tmp_path):
    done = run_pretrain(
        *settings_of(corpus, tmp_path / "run", "steps=50", "guards.stall_seconds=20"),
        "fault=hang@3:1",
        script=FAULTY,
        ranks=2,
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "has not moved for 20 s" in output
    assert "rank 1" in output
    assert "in data of step 3" in output
    assert EXIT_STALLED == 75


def test_a_killed_rank_ends_the_run_and_loses_nothing(corpus, tmp_path):
    out = tmp_path / "run"
    settings = settings_of(corpus, out, "steps=8", "checkpoint.every_steps=2")
    done = run_pretrain(*settings, "fault=kill@5:1", script=FAULTY, ranks=2)
    assert done.returncode != 0
    assert "--resume" in done.stdout + done.stderr
    assert read_latest(out) == "step-00000004"
    done = run_pretrain(*settings, "--resume", ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["step"] for row in read_log(out)] == list(range(1, 9))


def test_two_runs_in_one_folder_are_one_too_many(corpus, tmp_path):
    out = tmp_path / "run"
    arguments = settings_of(corpus, out, "steps=5000", "--resume")
    with start("pipeline/pretrain.py", *arguments) as process:
        wait_for_step(out, 1, process)
        done = run_script("pipeline/pretrain.py", *arguments)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    assert done.returncode == 1
    assert f"another run writes to out={out} (process {process.pid} on" in done.stderr


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_shard_is_named_before_anything_is_trained(tmp_path, damage):
    corpus = make_corpus(tmp_path / "corpus", num_clusters=80)
    shard = sorted((corpus / "shards").glob("train-*"))[-1]
    if damage == "missing":
        shard.unlink()
    else:
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    done = run_script("pipeline/pretrain.py", *settings_of(corpus, tmp_path / "run", "steps=2"))
    assert done.returncode == 1
    assert shard.name in done.stderr
    assert ("is missing" if damage == "missing" else "is damaged") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_folder_that_cannot_be_written_is_named(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    done = run_script("pipeline/pretrain.py", *settings_of(corpus, out, "steps=2"))
    assert done.returncode == 1
    assert f"out={out} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_ends_the_run_and_leaves_the_last_checkpoint(corpus, tmp_path):
    """A limit on the size of files stands in for the full disk; the log is still under it."""
    out = tmp_path / "run"
    arguments = settings_of(corpus, out, "steps=6", "checkpoint.every_steps=2")
    done = run_script("pipeline/pretrain.py", *arguments[:-2], "steps=2")
    assert done.returncode == 0, done.stderr
    size = max(path.stat().st_size for path in (out / "checkpoints").rglob("*.safetensors"))
    done = run_script(
        "pipeline/pretrain.py",
        *arguments,
        "--resume",
        limits={resource.RLIMIT_FSIZE: size // 2},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(out / "checkpoints") in done.stderr
    assert read_latest(out) == "step-00000002"
    done = run_script("pipeline/pretrain.py", *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in read_log(out)] == list(range(1, 7))
