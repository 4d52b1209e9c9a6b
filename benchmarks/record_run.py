"""Append a finished run's own numbers: `python benchmarks/record_run.py CASE RUN DATA`.

Run it in the checkout that trained, so that the row's commit is the one that was measured.
"""

import json
import sys
from pathlib import Path

from openrinalmo.data_prep.shards import read_manifest
from rows import append_rows


def main() -> None:
    """Read the log and the manifest, append the rows."""
    case, run, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    loss = [row["loss"] for row in rows if row["kind"] == "validation"][-1]
    speeds = [row["tokens_per_second"] for row in rows if row["kind"] == "train"]
    entropy = read_manifest(data)["splits"]["validation"]["unigram_entropy_nats_per_nt"]
    append_rows("pretrain", case, "validation_loss", "nats", {"openrinalmo": [loss]})
    append_rows("pretrain", case, "validation_unigram_entropy", "nats", {"openrinalmo": [entropy]})
    append_rows("pretrain", case, "real_tokens_per_s", "1/s", {"openrinalmo": speeds})


if __name__ == "__main__":
    main()
