"""Seconds of each step of `make data`: on the sample, or on the FASTA files given.

`python benchmarks/bench_data_prep.py core core.fasta.xz` names the case and its files.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

from openrinalmo.data_prep.config import parse_arguments
from openrinalmo.data_prep.prepare import prepare_data
from rows import append_rows

STEPS = ("records", "unique", "clusters", "split", "shards")


def main() -> None:
    """Prepare once into a scratch folder and append a row a step."""
    case, *inputs = sys.argv[1:] or ["sample"]
    with tempfile.TemporaryDirectory() as folder:
        manifest = prepare_data(parse_arguments([*inputs, "--out", folder]))
        seconds = {
            step: json.loads(Path(folder, "steps", step, "step.json").read_text())["seconds"]
            for step in STEPS
        }
    records = sum(manifest["splits"][split]["records"] for split in ("train", "validation"))
    for step, value in [*seconds.items(), ("total", sum(seconds.values()))]:
        append_rows("data_prep", f"{case}-{step}", "seconds", "s", {"openrinalmo": [value]})
    append_rows("data_prep", case, "unique_records", "1", {"openrinalmo": [records]})
    peak_kib = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    append_rows("data_prep", case, "peak_memory", "GB", {"openrinalmo": [peak_kib / 1e6]})


if __name__ == "__main__":
    main()
