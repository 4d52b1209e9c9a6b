"""Timing on a GPU: events around interleaved runs, the L2 cache emptied before each; ceilings."""

import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch

from rows import append_rows, measure_interleaved

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SECONDS_PER_PROVIDER = 0.1
FEWEST_REPEATS, MOST_REPEATS = 5, 50
L2_FLUSH_BYTES = 256 * 2**20

Providers = Mapping[str, Callable[[], object]]


def measure(providers: Providers) -> dict[str, list[float]]:
    """Seconds of each repeat of each provider, in turns; repeats fill a tenth of a second each."""
    if DEVICE.type != "cuda":
        return measure_interleaved(providers, repeats=FEWEST_REPEATS)
    flush = torch.empty(L2_FLUSH_BYTES, dtype=torch.int8, device=DEVICE)
    slowest = 0.0
    for run in providers.values():
        for _ in range(3):  # compiles, and lets the clocks rise
            run()
        slowest = max(slowest, _time(run, flush)[0])
    repeats = int(np.clip(SECONDS_PER_PROVIDER / slowest, FEWEST_REPEATS, MOST_REPEATS))
    seconds: dict[str, list[float]] = {name: [] for name in providers}
    for _ in range(repeats):
        for name, run in providers.items():
            seconds[name] += _time(run, flush)
    return seconds


def _time(run: Callable[[], object], flush: torch.Tensor) -> list[float]:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush.zero_()  # besides, the host gets ahead of the device while this runs
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1e3]


def report(
    bench: str,
    case: str,
    metric: str,
    providers: Providers,
    *,
    flop: float = 0.0,
    moved_bytes: float = 0.0,
) -> None:
    """Measure, append rows of milliseconds and of TFLOP/s or GB/s, and print the medians."""
    seconds = measure(providers)
    milliseconds = {name: [1e3 * s for s in values] for name, values in seconds.items()}
    append_rows(bench, case, f"{metric}_ms", "ms", milliseconds)
    amount, unit, suffix = (flop / 1e12, "TFLOP/s", "tflops")
    if moved_bytes:
        amount, unit, suffix = (moved_bytes / 1e9, "GB/s", "gb_per_s")
    rates = {name: [amount / s for s in values] for name, values in seconds.items()}
    if DEVICE.type == "cuda":
        rate_metric = suffix if metric == "fwd" else f"{metric}_{suffix}"
        append_rows(bench, case, rate_metric, unit, rates)
    for name, values in milliseconds.items():
        measured = f"{np.median(values):9.4f} ms {np.median(rates[name]):9.2f} {unit}"
        sys.stdout.write(f"{bench:10} {case:20} {metric:8} {name:14} {measured}\n")


def report_ceilings() -> None:
    """What this GPU reaches at best: a large product, and a copy, on random data."""
    a, b = torch.randn(2, 8192, 8192, device=DEVICE).bfloat16()
    report("ceiling", "8192^3", "gemm", {"torch": lambda: a @ b}, flop=2 * 8192**3)
    copy = {"torch": lambda: b.copy_(a)}
    report("ceiling", "copy", "copy", copy, moved_bytes=2 * a.nbytes)


def needs_gpu(bench: str) -> bool:
    """Say so where there is none: an element-wise kernel's time means nothing on a CPU."""
    if DEVICE.type != "cuda":
        sys.stdout.write(f"{bench}: needs a GPU, nothing measured\n")
    return DEVICE.type != "cuda"


def error_of(actual: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest error, relative to the largest value."""
    return ((actual.double() - exact.double()).abs().max() / exact.double().abs().max()).item()


def keep_correct(
    providers: Mapping[str, Callable[[], torch.Tensor]], exact: torch.Tensor, *, at_most: float
) -> dict[str, Callable[[], torch.Tensor]]:
    """The providers whose value is right and that run at all; the others are named with why."""
    kept = {}
    for name, run in providers.items():
        try:
            error = error_of(run(), exact)
        except (RuntimeError, ValueError, NotImplementedError) as problem:
            sys.stdout.write(f"{name} left out: {str(problem).splitlines()[0]}\n")
            continue
        if error <= at_most:
            kept[name] = run
        else:
            sys.stdout.write(f"{name} left out: error {error:.2e}, at most {at_most:.2e}\n")
    return kept
