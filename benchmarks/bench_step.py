"""Whole optimizer steps, rung by rung: from padded rows with a checkpoint in every block to ours.

Every rung trains the same weights on the same sequences, with lengths of real ncRNAs: forward,
backward, clipping, AdamW. Only real tokens count. Dropout is 0: not every attention has it. On a
GPU in bf16 with fp32 masters, on a CPU in fp32. Rungs take turns in one process, so that noise
hits all alike; every turn has other sequences and builds the rung anew, so that its peak memory is
its own. A rung whose loss is not that of the first is left out.

`python benchmarks/bench_step.py --device cpu --preset micro --quick` compares what is shipped with
padded rows and ends with their ratio.
"""

import argparse
import gc
import math
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from step_data import StepData, draw_step
from step_rungs import ENGINES, LADDER, WEIGHTS_SEED, Step, open_rung, rungs_that_differ

from openrinalmo.model.encoder import ENCODER_SIZES, EncoderConfig, build_encoder_config
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.pipeline.pretraining.planning.flops import flops_per_pack
from openrinalmo.pipeline.pretraining.planning.hardware import identify_gpu
from rows import append_rows

SHIPPED = ("zero3", "fused_ops", "aligned", "packed")
"""What `packed` means in the ratio: the first of these that was measured and differs here."""
TURNS = 3
GPU_STEPS, GPU_WARM_UP = 4, 2
CPU_WARM_UP_TOKENS = 512
QUICK_SECONDS = 180
COMMON_GPU_GB = 80
LARGEST_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""Of losses, relative: finds a wrong rung; tests compare gradients."""


@dataclass(kw_only=True, slots=True)
class Measured:
    """What is known of a rung; `problem` says why it was left out."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    utilisation: list[float] = field(default_factory=list)
    peak_gb: float = 0.0
    reserved_gb: float = 0.0
    problem: str = ""

    def add(self, model: MaskedLM, data: StepData, seconds: float, loss: float) -> None:
        """One more step."""
        self.seconds.append(seconds)
        self.losses.append(loss)
        if data.ids_T.is_cuda and (gpu := identify_gpu(torch.cuda.get_device_name())):
            pairs, predicted = data.sum_squared_lengths, len(data.labels_M)
            flop = flops_per_pack(model.config, data.num_tokens, pairs, predicted)
            self.utilisation.append(flop / seconds / gpu.peak_flops)

    @property
    def is_whole(self) -> bool:
        """Whether it ran and was right."""
        return bool(self.seconds) and not self.problem

    def note_memory(self) -> None:
        """The most that this rung took, now that its turn is over."""
        self.peak_gb = max(self.peak_gb, torch.cuda.max_memory_allocated() / 1e9)
        self.reserved_gb = max(self.reserved_gb, torch.cuda.max_memory_reserved() / 1e9)


def main() -> None:
    """Measure the rungs asked for, print the table, append rows."""
    options = _parse()
    config = build_encoder_config(options.preset, dropout=0.0)
    torch.manual_seed(WEIGHTS_SEED)
    model = MaskedLM(config)
    rungs = {name: Measured() for name in options.rungs}
    try:
        _take_turns(rungs, model, options)
    finally:  # what was measured before an interrupt is kept
        whole = {name: measured for name, measured in rungs.items() if measured.is_whole}
        _print_table(rungs, options.tokens)
        if options.rows:
            case = f"{options.preset}-{options.tokens // 1024}k-{options.mix}"
            _append(whole, case, options.tokens)
    _print_verdict(whole, config, options)
    if len(whole) < len(rungs):
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if has_gpu else "cpu")
    parser.add_argument("--preset", choices=tuple(ENCODER_SIZES))
    parser.add_argument("--tokens", type=int, help="real tokens of a step, which is one pack")
    parser.add_argument("--mix", choices=("rnacentral", "short"), default="rnacentral")
    parser.add_argument("--rungs", help=f"of {','.join(LADDER)}; those of the device by default")
    parser.add_argument("--repeats", type=int, default=TURNS, help="turns of every rung")
    parser.add_argument("--seconds", type=float, default=math.inf, help="turns begin if they fit")
    parser.add_argument("--quick", action="store_true", help="padded and the last rung alone")
    parser.add_argument("--rows", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    if on_cpu and has_gpu:
        parser.error("rows are named after the GPU: set CUDA_VISIBLE_DEVICES= to measure the CPU")
    options.preset = options.preset or ("micro" if on_cpu else "giga")
    options.tokens = options.tokens or (8192 if on_cpu else 32_768)
    if options.rungs:
        options.rungs = options.rungs.split(",")
    else:
        config = build_encoder_config(options.preset)
        ladder = rungs_that_differ(config, torch.device(options.device))
        options.rungs = ["padded", ladder[-1]] if options.quick else ladder
    if options.quick:
        options.seconds = min(options.seconds, QUICK_SECONDS)
    if unknown := [name for name in options.rungs if name not in LADDER]:
        parser.error(f"--rungs must be out of {', '.join(LADDER)}; got {', '.join(unknown)}")
    return options


def _take_turns(rungs: dict[str, Measured], model: MaskedLM, options: argparse.Namespace) -> None:
    """All rungs one after the other, then again, as often as asked for and as time allows."""
    device = torch.device(options.device)
    steps = GPU_STEPS if device.type == "cuda" else 1
    started = time.perf_counter()
    for turn in range(options.repeats):
        taken = time.perf_counter() - started
        if turn and taken * (turn + 1) / turn > options.seconds:
            sys.stdout.write(f"{turn} of {options.repeats} turns fit {options.seconds} s\n")
            break
        draws = [
            draw_step(options.mix, options.tokens, device, seed=turn * steps + i)
            for i in range(steps)
        ]
        for name, measured in rungs.items():
            if not measured.problem:
                _take_turn(name, model, draws, measured)
                _compare_losses(rungs, name, device)


def _take_turn(name: str, model: MaskedLM, draws: list[StepData], measured: Measured) -> None:
    """Build a rung, warm it up and time one step on each draw."""
    device = draws[0].ids_T.device
    on_gpu = device.type == "cuda"
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    warm_up = [draws[0]] * GPU_WARM_UP if on_gpu else [_draw_warm_up(device)]
    try:
        with open_rung(name, model, device, torch.bfloat16 if on_gpu else torch.float32) as step:
            for data in warm_up:
                step(data)
            for data in draws:
                measured.add(model, data, *_time(step, data))
            if on_gpu:
                measured.note_memory()
    except (RuntimeError, ValueError, ImportError, FloatingPointError) as problem:
        measured.problem = str(problem).splitlines()[0]


def _draw_warm_up(device: torch.device) -> StepData:
    """Enough to start threads and choose products; a CPU's clock and memory need no more."""
    return draw_step("short", CPU_WARM_UP_TOKENS, device)


def _time(step: Step, data: StepData) -> tuple[float, float]:
    """Seconds and loss of one step."""
    start = time.perf_counter()
    loss = step(data)
    if data.ids_T.is_cuda:
        torch.cuda.synchronize()  # the loss is there before the update is
    return time.perf_counter() - start, loss


def _compare_losses(rungs: dict[str, Measured], name: str, device: torch.device) -> None:
    """Leave a rung out whose loss is not that of the first whole rung on the same draws."""
    measured = rungs[name]
    first = next((other for other in rungs.values() if not other.problem), measured)
    is_bf16 = device.type == "cuda" or name in ENGINES
    allowed = LARGEST_DIFFERENCE[torch.bfloat16 if is_bf16 else torch.float32]
    for loss, expected in zip(measured.losses, first.losses, strict=False):
        if not abs(loss - expected) <= allowed * abs(expected):
            measured.problem = f"loss {loss:.6f} where the first rung's is {expected:.6f}"


def _print_table(rungs: dict[str, Measured], num_tokens: int) -> None:
    heads = f"{'s/step':>9} {'useful tokens/s':>16} {'MFU':>6} {'peak GB':>8} {'ratio':>6}"
    sys.stdout.write(f"{'rung':20} {heads}\n")
    first = next((measured for measured in rungs.values() if measured.is_whole), None)
    for name, measured in rungs.items():
        if first is None or not measured.is_whole:
            sys.stdout.write(f"{name:20} left out: {measured.problem or 'not reached'}\n")
            continue
        seconds = np.median(measured.seconds)
        utilisation = f"{np.median(measured.utilisation):.3f}" if measured.utilisation else ""
        peak = f"{measured.peak_gb:.1f}" if measured.peak_gb else ""
        sys.stdout.write(
            f"{name:20} {seconds:9.3f} {num_tokens / seconds:16.0f} {utilisation:>6} {peak:>8} "
            f"{_ratio(measured, first):6.2f}\n"
        )


def _ratio(ours: Measured, theirs: Measured) -> float:
    """How many times as fast, the median over steps on the same draws in the same turns."""
    pairs = zip(theirs.seconds, ours.seconds, strict=False)  # an interrupt may leave one more
    return float(np.median([slow / fast for slow, fast in pairs]))


def _append(rungs: dict[str, Measured], case: str, num_tokens: int) -> None:
    speeds = {name: [num_tokens / s for s in m.seconds] for name, m in rungs.items()}
    append_rows("step", case, "useful_tokens_per_second", "1/s", speeds)
    utilisation = {name: m.utilisation for name, m in rungs.items() if m.utilisation}
    append_rows("step", case, "mfu", "1", utilisation)
    peaks = {name: [m.peak_gb] for name, m in rungs.items() if m.peak_gb}
    append_rows("step", case, "peak_memory", "GB", peaks)


def _print_verdict(
    rungs: dict[str, Measured], config: EncoderConfig, options: argparse.Namespace
) -> None:
    """Whether training fits a common GPU, and how packed compares with padded."""
    for name, measured in rungs.items():
        if measured.reserved_gb and "checkpointed" not in name:
            fits = "fits" if measured.reserved_gb <= COMMON_GPU_GB else "does not fit"
            sys.stdout.write(
                f"{options.preset} without checkpoints at {options.tokens} tokens, {name}: "
                f"{measured.reserved_gb:.1f} GB reserved, {fits} {COMMON_GPU_GB} GB\n"
            )
    on_device = rungs_that_differ(config, torch.device(options.device))
    shipped = next((name for name in SHIPPED if name in rungs and name in on_device), None)
    if shipped is None or "padded" not in rungs:
        sys.stdout.write("no packed/padded: it takes padded and one of ours without checkpoints\n")
        return
    sys.stdout.write(f"packed is {shipped}\n")
    sys.stdout.write(f"packed/padded {_ratio(rungs[shipped], rungs['padded']):.2f}\n")


if __name__ == "__main__":
    main()
