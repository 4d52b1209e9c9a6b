"""Packs with the lengths of real ncRNAs: length_mixes.csv, made by make_length_mixes.py."""

import csv

import numpy as np
import torch
from make_length_mixes import MIXES
from torch import Tensor


def draw_mix(mix: str, num_tokens: int, *, seed: int = 0) -> list[int]:
    """Lengths drawn from a mix in random order; the last is cut so that `num_tokens` are full."""
    with MIXES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mix"] == mix]
    lengths = np.array([int(row["num_tokens"]) for row in rows])
    counts = np.array([int(row["sequences"]) for row in rows], np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(lengths, size=num_tokens // lengths.min(), p=counts / counts.sum())
    whole = drawn[: np.searchsorted(drawn.cumsum(), num_tokens, side="right")].tolist()
    rest = num_tokens - sum(whole)
    return [*whole, rest] if rest else whole


def build_cu_seqlens(lengths: list[int], device: torch.device | str = "cpu") -> Tensor:
    """First token of each sequence and, last, their number: int32."""
    return torch.tensor([0, *lengths]).cumsum(0).int().to(device)
