"""The ladder as a user runs it, on the smallest model, and what it does with a rung that is off."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bench_step import Measured, _compare_losses, _ratio
from step_rungs import rungs_that_differ

from openrinalmo.model.encoder import ENCODER_SIZES

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    results = BENCHMARKS / "results.csv"
    before = results.read_bytes()
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_step.py", *arguments, "--no-rows"],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        capture_output=True,
        text=True,
    )
    assert results.read_bytes() == before
    return done


def test_quick_ends_with_the_ratio() -> None:
    done = run_bench("--device", "cpu", "--preset", "tiny", "--quick", "--tokens", "600")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["rung", "padded", "packed"]
    assert re.fullmatch(r"packed/padded \d+\.\d\d", lines[-1])


def test_a_rung_that_cannot_run_is_named_and_the_rest_is_measured() -> None:
    arguments = ("--preset", "tiny", "--tokens", "300", "--repeats", "1")
    done = run_bench(*arguments, "--rungs", "own_attention,padded")
    assert done.returncode == 1
    assert re.search(r"own_attention +left out: model.attention=triton .*CUDA", done.stdout)
    assert re.search(r"padded +\d+\.\d+ +\d+ +1\.00\n", done.stdout)


def test_engines_start_from_the_weights_of_the_other_rungs() -> None:
    arguments = ("--preset", "tiny", "--tokens", "300", "--repeats", "2")
    done = run_bench(*arguments, "--rungs", "packed,zero1,zero3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"zero3 +\d+\.\d+ +\d+ +\d+\.\d\d\n", done.stdout)


def test_unknown_rungs_are_refused() -> None:
    done = run_bench("--rungs", "padded,paked")
    assert done.returncode == 2
    assert "got paked" in done.stderr


@pytest.mark.parametrize("loss", [3.001, float("nan")])
def test_a_rung_with_another_loss_is_left_out(loss: float) -> None:
    rungs = {
        "padded": Measured(seconds=[2.0, 2.0], losses=[3.0, 3.1]),
        "packed": Measured(seconds=[1.0, 1.0], losses=[3.0, 3.1]),
        "aligned": Measured(seconds=[1.0, 1.0], losses=[3.0, loss]),
    }
    for name in rungs:
        _compare_losses(rungs, name, torch.device("cpu"))
    assert [name for name, measured in rungs.items() if measured.is_whole] == ["padded", "packed"]
    assert "the first rung's is 3.1" in rungs["aligned"].problem


def test_the_ratio_compares_steps_on_the_same_draws() -> None:
    slow, fast = Measured(seconds=[4.0, 90.0, 8.0]), Measured(seconds=[2.0, 30.0])
    assert _ratio(fast, slow) == pytest.approx(2.5)


@pytest.mark.parametrize(("size", "is_odd"), [("micro", False), ("giga", True)])
def test_alignment_is_a_rung_where_the_published_width_is_odd(size: str, is_odd: bool) -> None:
    names = rungs_that_differ(ENCODER_SIZES[size], torch.device("cpu"))
    assert ("aligned" in names) == is_odd
    assert names[:2] == ["padded_checkpointed", "padded"]
    assert "fused_ops" not in names
