"""What went wrong in a run, with the packs it went wrong on: `incidents.jsonl`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .batches import PackStream
from .json_rows import append_row

INCIDENTS_NAME = "incidents.jsonl"


def describe_packs(
    stream: PackStream, rna_types: Sequence[str], numbers: Iterable[int]
) -> list[dict[str, Any]]:
    """Number, epoch, sequences and predicted tokens by RNA type of packs, rebuilt from numbers."""
    described = []
    for number in numbers:
        pack = stream.pack(number)
        types = Counter(rna_types[i] for i in pack.rna_type_ids_M.tolist())
        described.append(
            {
                "number": number,
                "epoch": pack.epoch,
                "sequences": len(pack.cu_seqlens) - 1,
                "tokens": pack.num_tokens,
                "predicted_by_rna_type": dict(types.most_common()),
            }
        )
    return described


def write_incident(folder: Path, **facts: Any) -> None:
    """Append one row to the run's `incidents.jsonl`. For rank 0."""
    append_row(folder / INCIDENTS_NAME, facts)
