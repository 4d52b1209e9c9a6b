"""Representations of more RNAs than memory holds: written part by part, resumable.

Shape suffixes: T rows of all RNAs, D embed_dim.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ....model.encoder import Encoder
from .embed import EmbedConfig, Reads, embed_pack, find_starts, iter_packs, track_packs

FLUSH_SECONDS = 30.0
"""How often the parts of a file are put on disk: at most so much is computed again."""


def write_representations(
    folder: Path,
    key: str,
    encoder: Encoder,
    sequences: Sequence[str],
    config: EmbedConfig,
    *,
    device: torch.device,
    reads: Reads = "tokens",
) -> Path:
    """Write what `embed_sequences` gives to `folder/<key>.npy`, for more rows than memory holds.

    The file appears whole or not at all, and one that is there is returned as it is: `key` must
    change with weights, sequences and settings. Parts that were done when a process ended are
    kept. `open_representations` reads it, with `count_rows` of each sequence.
    """
    if not sequences:
        raise ValueError("no sequence to embed: give at least one")
    path = folder / f"{key}.npy"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    starts = find_starts(sequences, reads)
    shape = (int(starts[-1]), encoder.config.embed_dim)
    packs = list(iter_packs(sequences, config.max_tokens_per_pack))
    part = _PartialFile(path, [shape, config.dtype, config.max_tokens_per_pack, reads])
    rows_TD, num_done = part.open(shape, config.dtype)
    saved = time.monotonic()
    for number, pack in enumerate(track_packs(packs, sequences, num_done), start=num_done + 1):
        embed_pack(encoder, sequences, pack, reads, device, rows_TD, starts)
        if time.monotonic() - saved >= FLUSH_SECONDS:
            part.note(rows_TD, number)
            saved = time.monotonic()
    part.finish(rows_TD)
    return path


class _PartialFile:
    """An array on its way to `path`, beside a note of how many of its packs are done."""

    def __init__(self, path: Path, facts: Sequence[object]) -> None:
        self.path = path
        self.facts = json.loads(json.dumps(facts))
        self.array = path.with_name(path.name + ".partial")
        self.progress = path.with_name(path.name + ".progress")

    def open(self, shape: tuple[int, int], dtype: str) -> tuple[np.memmap, int]:
        """The array, and how many packs it holds; others' settings begin anew."""
        if self.array.exists() and self.progress.exists():
            noted = json.loads(self.progress.read_text(encoding="utf-8"))
            if noted["facts"] == self.facts:
                return np.lib.format.open_memmap(self.array, mode="r+"), noted["packs"]
        self.progress.unlink(missing_ok=True)
        return np.lib.format.open_memmap(self.array, mode="w+", dtype=dtype, shape=shape), 0

    def note(self, rows_TD: np.memmap, num_done: int) -> None:
        """Rows first, then the note: it never promises more than there is."""
        rows_TD.flush()
        scratch = self.progress.with_name(self.progress.name + ".partial")
        scratch.write_text(json.dumps({"facts": self.facts, "packs": num_done}), encoding="utf-8")
        scratch.replace(self.progress)

    def finish(self, rows_TD: np.memmap) -> None:
        """Give the array its name."""
        rows_TD.flush()
        self.array.replace(self.path)
        self.progress.unlink(missing_ok=True)
