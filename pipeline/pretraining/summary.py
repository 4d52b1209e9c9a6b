"""What became of a run, from its files: for people, after it ended or while it runs."""

import json
from pathlib import Path
from typing import Any

from ...data_prep.shards import read_manifest
from ...model.weights import EXPORT_NAME
from .tracking import LOG_NAME


def summarise_run(run: Path, data: Path) -> str:
    """Loss against the unigram entropy, overall and per RNA type, and where everything lies."""
    log = run / LOG_NAME
    if not log.exists():
        raise FileNotFoundError(f"{run} holds no {LOG_NAME}: it is no run's folder")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    training = [row for row in rows if row["kind"] == "train"]
    validations = [row for row in rows if row["kind"] == "validation"]
    lines = [f"run {run}"]
    if training:
        first, last = training[0], training[-1]
        speed = sum(row["tokens_per_second"] for row in training) / len(training)
        lines.append(
            f"  training loss    {first['loss']:.3f} at step {first['step']}, "
            f"{last['loss']:.3f} at step {last['step']}; {speed / 1e3:.1f}k tokens/s"
        )
    if validations:
        lines += _describe_validation(validations[-1], read_manifest(data))
    lines += [
        f"  weights          {run / EXPORT_NAME} (published names and widths)",
        f"  checkpoints      {run / 'checkpoints'}",
        f"  log, TensorBoard {log}; tensorboard --logdir {run / 'tensorboard'}",
        f"  data             {data / 'manifest.json'}",
    ]
    return "\n".join(lines) + "\n"


def _describe_validation(row: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    entropy = manifest["splits"]["validation"]["unigram_entropy_nats_per_nt"]
    lines = [
        f"  validation loss  {row['loss']:.3f} nats a masked nucleotide at step {row['step']}; "
        f"knowing only how frequent each letter is: {entropy:.3f}",
        f"  accuracy         {row['accuracy']:.3f} on clusters never trained on",
    ]
    for rna_type, loss in sorted(row["loss_per_rna_type"].items(), key=lambda item: item[1]):
        lines.append(f"    {rna_type:<20} {loss:.3f}")
    return lines
