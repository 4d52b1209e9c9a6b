"""The base-pair head: time and operations per family, peak memory of long RNAs, packs.

`concatenated` builds the published L x L x 2E input; it runs where that fits. Peaks are of a fresh
process, torch and the head's input included: resident memory on a CPU. Times are CPU seconds.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from openrinalmo.model.heads import BasePairHead
from openrinalmo.model.pair_head_cost import count_concatenated_flops, count_head_flops
from openrinalmo.model.pair_head_packing import PairHeadConfig
from rows import append_rows

EMBED_DIM = 480
FAMILIES = {
    **{"5S": 119, "SRP": 117, "tRNA": 76, "tmRNA": 363, "RNase P": 330, "group I": 396},
    **{"16S": 353, "telomerase": 444, "23S": 347},
}
"""Median nt of the ArchiveII families."""
MEMORY_LENGTHS = (500, 1000, 2000)
PACKS = {
    "8x70-84nt": [70, 72, 74, 76, 78, 80, 82, 84],
    "8x76nt": [76] * 8,
    "32x30nt": [30] * 32,
}
CONCATENATED_MAX_NT = 400
REPEATS = 3

Rows = Iterator[tuple[str, str, str, dict[str, list[float]]]]
"""Case, metric, unit, and samples of each provider."""


def main() -> None:
    """Measure, print, append rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("families", "memory", "packs"), action="append")
    parser.add_argument("--no-rows", action="store_true", help="print only")
    parser.add_argument("--peak-of", nargs=2, metavar=("MODE", "NT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak_of:
        mode, length = arguments.peak_of
        sys.stdout.write(f"{_measure_own_peak(mode, int(length))}\n")
        return
    measures = {"families": _measure_families, "memory": _measure_memory, "packs": _measure_packs}
    for what in arguments.what or measures:
        for case, metric, unit, samples in measures[what]():
            for provider, values in samples.items():
                sys.stdout.write(f"{case} {provider} {metric} {np.median(values):.6g} {unit}\n")
            sys.stdout.flush()
            if not arguments.no_rows:
                append_rows("pair_head", case, metric, unit, samples)


def _measure_families() -> Rows:
    head = _build_head(PairHeadConfig())
    for family, length in FAMILIES.items():
        case = f"{family} {length} nt"
        flops = {
            "ours": [count_head_flops(length, EMBED_DIM) / 1e9],
            "concatenated": [count_concatenated_flops(length, EMBED_DIM) / 1e9],
        }
        yield case, "fwd_gflop", "GFLOP", flops
        rows_LD = _make_rows(length)
        runs = {"ours": partial(head, rows_LD)}
        if length <= CONCATENATED_MAX_NT:
            runs["concatenated"] = partial(_run_concatenated, head, rows_LD)
        with torch.no_grad():
            yield case, "fwd_cpu_ms", "ms", _time_interleaved(runs)
        train = {"ours": partial(_train, head, rows_LD)}
        yield case, "fwd_bwd_cpu_ms", "ms", _time_interleaved(train)


def _measure_memory() -> Rows:
    for length in MEMORY_LENGTHS:
        modes = ["forward", "train-recomputed"]
        if length < max(MEMORY_LENGTHS):
            modes.append("train")
        for mode in modes:
            command = [sys.executable, __file__, "--peak-of", mode, str(length)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peak_gib, seconds = map(float, done.stdout.split())
            yield f"{length} nt", "peak_gib", "GiB", {mode: [peak_gib]}
            yield f"{length} nt", "cpu_s", "s", {mode: [seconds]}


def _measure_packs() -> Rows:
    for case, lengths in PACKS.items():
        rows_TD = _make_rows(sum(lengths))
        cu_seqlens = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)
        heads = {
            "grouped": _build_head(PairHeadConfig(group_on_cpu=True)),
            "one-by-one": _build_head(PairHeadConfig()),
        }
        runs = {
            name: partial(_train_packed, head, rows_TD, cu_seqlens) for name, head in heads.items()
        }
        yield case, "fwd_bwd_cpu_ms", "ms", _time_interleaved(runs)


def _measure_own_peak(mode: str, length: int) -> str:
    """Peak resident GiB of this process, and CPU seconds of the pass."""
    recompute = 0 if mode == "train-recomputed" else length**2
    head = _build_head(PairHeadConfig(recompute_above_pairs=recompute))
    rows_LD = _make_rows(length)
    start = time.process_time()
    if mode == "forward":
        with torch.no_grad():
            head(rows_LD)
    else:
        _train(head, rows_LD)
    seconds = time.process_time() - start
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    return f"{peak_kib / 2**20:.4f} {seconds:.3f}"


def _run_concatenated(head: BasePairHead, rows_LD: Tensor) -> Tensor:
    length = len(rows_LD)
    at_i = rows_LD[:, None].expand(length, length, EMBED_DIM)
    pairs = torch.cat([at_i, at_i.transpose(0, 1)], dim=-1)
    pair_NCLL = head.linear_in(pairs).permute(2, 0, 1)[None]
    return head.conv_out(head.resnet(pair_NCLL))


def _train(head: BasePairHead, rows_LD: Tensor) -> None:
    _backward(head, [head(rows_LD)])


def _train_packed(head: BasePairHead, rows_TD: Tensor, cu_seqlens: Tensor) -> None:
    _backward(head, head.forward_packed(rows_TD, cu_seqlens))


def _backward(head: BasePairHead, logits: list[Tensor]) -> None:
    head.zero_grad()
    torch.stack([logits_LL.square().mean() for logits_LL in logits]).sum().backward()


def _build_head(config: PairHeadConfig) -> BasePairHead:
    torch.manual_seed(0)
    return BasePairHead(EMBED_DIM, config=config)


def _make_rows(length: int) -> Tensor:
    return torch.randn(length, EMBED_DIM, generator=torch.Generator().manual_seed(0))


def _time_interleaved(runs: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU milliseconds of each repeat, providers in turns: others may use the machine."""
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(REPEATS):
        for name, run in runs.items():
            start = time.process_time()
            run()
            milliseconds[name].append(1000 * (time.process_time() - start))
    return milliseconds


if __name__ == "__main__":
    main()
