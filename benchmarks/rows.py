"""Rows of benchmarks/results.csv: what was measured, where, with which versions and commit."""

import csv
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results.csv"
COLUMNS = (
    *("date", "commit", "device", "torch", "triton", "bench", "case", "provider"),
    *("metric", "value", "unit", "p20", "p80"),
)


def measure_interleaved(
    providers: Mapping[str, Callable[[], object]], *, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each repeat of each provider, taken in turns so that noise hits all alike."""
    for run in providers.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in providers}
    for _ in range(repeats):
        for name, run in providers.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def append_rows(
    bench: str, case: str, metric: str, unit: str, samples: Mapping[str, list[float]]
) -> None:
    """Append the median and the 20th and 80th percentile of each provider's samples."""
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for provider, values in samples.items():
            p20, median, p80 = (f"{x:.6g}" for x in np.percentile(values, [20, 50, 80]))
            where = [date.today().isoformat(), _commit(), _device(), torch.__version__, _triton()]
            writer.writerow([*where, bench, case, provider, metric, median, unit, p20, p80])


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _triton() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return ""


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
