"""Seconds of each step of `make data`, and sequences a second of what the first two are made of.

`python benchmarks/bench_data_prep.py core core.fasta.xz` names the case and its FASTA files, which
are else the sample. `--records` leaves MMseqs2 and what follows it out.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.config import DataConfig
from openrinalmo.data_prep.dedup import hash_sequences
from openrinalmo.data_prep.filters import find_reject_reasons, normalise, select_records
from openrinalmo.data_prep.inputs.fasta import iter_fasta_blocks
from openrinalmo.data_prep.prepare import prepare_data
from openrinalmo.data_prep.records import build_records
from openrinalmo.data_prep.unique import build_unique
from rows import append_rows

STEPS = ("records", "unique", "clusters", "split", "shards")
PARTS = ("read", "normalise", "filter", "hash", "records", "unique")
REPEATS = 5


def main() -> None:
    """Append the rows of one case."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--records"]
    case, *inputs = arguments or ["sample"]
    with tempfile.TemporaryDirectory() as folder:
        config = parse_arguments([*inputs, "--out", folder])
        _measure_parts(case, config)
        if "--records" not in sys.argv:
            _measure_steps(case, config)
    peak_kib = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    append_rows("data_prep", case, "peak_memory", "GB", {"openrinalmo": [peak_kib / 1e6]})


def _measure_steps(case: str, config: DataConfig) -> None:
    manifest = prepare_data(config)
    seconds = {
        step: json.loads((config.out / "steps" / step / "step.json").read_text())["seconds"]
        for step in STEPS
    }
    records = sum(manifest["splits"][split]["records"] for split in ("train", "validation"))
    for step, value in [*seconds.items(), ("total", sum(seconds.values()))]:
        append_rows("data_prep", f"{case}-{step}", "seconds", "s", {"openrinalmo": [value]})
    append_rows("data_prep", case, "unique_records", "1", {"openrinalmo": [records]})


def _measure_parts(case: str, config: DataConfig) -> None:
    """Time each part in seconds of one core; other processes of the machine do not count."""
    samples: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(REPEATS):
        seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        num_records = _run_by_parts(config, seconds)
        with tempfile.TemporaryDirectory() as folder:
            steps = Path(folder)
            for step in ("records", "unique"):
                (steps / step).mkdir()
            report = _time(seconds, "records", build_records, steps / "records", config)
            find_unique = partial(build_unique, rna_types=report["rna_types"])
            _time(seconds, "unique", find_unique, steps / "unique", steps)
        for part, value in seconds.items():
            samples[part].append(num_records / value)
    for part, speeds in samples.items():
        append_rows("data_prep", f"{case}-{part}", "speed", "sequences/s", {"openrinalmo": speeds})


def _run_by_parts(config: DataConfig, seconds: dict[str, float]) -> int:
    num_records = 0
    for path in config.inputs:
        blocks = iter_fasta_blocks(path)
        while (block := _time(seconds, "read", next, blocks, None)) is not None:
            num_records += len(block.ids)
            letters, ends = _time(seconds, "normalise", normalise, block.letters, block.ends)
            letters, ends = _time(seconds, "filter", _filter, letters, ends, config)
            _time(seconds, "hash", hash_sequences, letters, ends)
    return num_records


def _filter(
    letters: np.ndarray, ends: np.ndarray, config: DataConfig
) -> tuple[np.ndarray, np.ndarray]:
    return select_records(letters, ends, find_reject_reasons(letters, ends, config.filter) == 0)


def _time(seconds: dict[str, float], part: str, run: Callable[..., Any], *arguments: Any) -> Any:
    start = time.process_time()
    result = run(*arguments)
    seconds[part] += time.process_time() - start
    return result


if __name__ == "__main__":
    main()
