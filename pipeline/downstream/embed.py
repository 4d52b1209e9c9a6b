"""Representations of many RNAs from a frozen encoder, computed once, in packs without padding.

Shape suffixes: T nucleotides of all RNAs, L of one, D embed_dim.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ...model.alphabet import encode
from ...model.encoder import Encoder
from ...model.weights import load_masked_lm

Reads = Literal["tokens", "specials", "cls", "mean"]
"""Rows of a sequence: one a nucleotide; the same between those of `<cls>` and `<eos>`; that of
`<cls>` alone; the mean over nucleotides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig:
    """How representations are computed and held."""

    max_tokens_per_pack: int = 8192
    """Budget of one forward pass; a longer RNA is a pack of its own."""
    dtype: Literal["float16", "float32"] = "float32"
    """What is held: float16 halves memory (650 M parameters, ArchiveII: 2 GB, not 4)."""

    def __post_init__(self) -> None:
        if self.max_tokens_per_pack < 1:
            raise ValueError(
                f"embed.max_tokens_per_pack must be positive, got {self.max_tokens_per_pack}"
            )


class Checkpoint(NamedTuple):
    """A frozen encoder and what identifies it."""

    encoder: Encoder
    metadata: dict[str, str]

    @property
    def sha256(self) -> str:
        """Hash of the weights' file."""
        return self.metadata["sha256"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Representations:
    """One row per nucleotide, RNA after RNA, without `<cls>` and `<eos>`."""

    rows_TD: NDArray[np.floating]
    spans: Mapping[int, slice]
    """Rows of each RNA, by its index in the benchmark."""

    @property
    def embed_dim(self) -> int:
        """Width of a row."""
        return self.rows_TD.shape[1]

    def load(self, index: int, device: torch.device) -> Tensor:
        """Representation_LD of RNA `index`, in fp32."""
        return torch.from_numpy(np.array(self.rows_TD[self.spans[index]], np.float32)).to(device)


def open_representations(path: Path, lengths: Mapping[int, int]) -> Representations:
    """Map a file of rows into memory; `lengths` are its RNAs, in its order, with nucleotides."""
    rows_TD = np.load(path, mmap_mode="r")
    ends = np.cumsum(list(lengths.values())).tolist()
    assert ends[-1] == len(rows_TD), f"{path} has {len(rows_TD)} rows, not {ends[-1]}"
    spans = {
        index: slice(end - length, end)
        for (index, length), end in zip(lengths.items(), ends, strict=True)
    }
    return Representations(rows_TD=rows_TD, spans=spans)


def load_checkpoint(path: Path) -> Checkpoint:
    """The encoder of a weights file or a run's folder; the LM head is dropped."""
    loaded = load_masked_lm(path)
    return Checkpoint(loaded.model.encoder, loaded.metadata)


def count_rows(reads: Reads, length_nt: int) -> int:
    """Rows of a sequence of `length_nt` nucleotides."""
    return {"tokens": length_nt, "specials": length_nt + 2, "cls": 1, "mean": 1}[reads]


def select_rows(tokens_LD: Tensor, reads: Reads) -> Tensor:
    """Rows of one sequence, from those of all its tokens between `<cls>` and `<eos>`."""
    if reads == "specials":
        return tokens_LD
    if reads == "cls":
        return tokens_LD[:1]
    if reads == "tokens":
        return tokens_LD[1:-1]
    if len(tokens_LD) == 2:
        raise ValueError("a sequence of no nucleotides has no mean row: drop it")
    return tokens_LD[1:-1].mean(dim=0, keepdim=True)


@torch.inference_mode()
def embed_sequences(
    encoder: Encoder, sequences: Sequence[str], config: EmbedConfig, *, device: torch.device
) -> NDArray[np.floating]:
    """Rows_TD of `sequences` in their order; each is what the RNA has alone."""
    encoder = encoder.to(device).eval()
    encoder.choose_backend(device, next(encoder.parameters()).dtype)
    starts = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])])
    rows_TD = np.empty((starts[-1], encoder.config.embed_dim), config.dtype)
    with tqdm(
        total=int(starts[-1]), desc="embedding", unit="nt", unit_scale=True, disable=None
    ) as progress:
        for pack in _iter_packs(sequences, config.max_tokens_per_pack):
            ids = [encode(sequences[index]) for index in pack]
            lengths = [len(one) for one in ids]
            cu_seqlens = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
            packed_TD = encoder(torch.cat(ids).to(device), cu_seqlens, max(lengths))
            for index, part in zip(pack, packed_TD.split(lengths), strict=True):
                rows_TD[starts[index] : starts[index + 1]] = part[1:-1].float().cpu().numpy()
            progress.update(sum(lengths) - 2 * len(lengths))
    return rows_TD


def _iter_packs(sequences: Sequence[str], max_tokens: int) -> Iterator[list[int]]:
    """Indices in packs of at most `max_tokens`, longest first: neighbours are of like length."""
    pack: list[int] = []
    num_tokens = 0
    for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index])):
        size = len(sequences[index]) + 2
        if pack and num_tokens + size > max_tokens:
            yield pack
            pack, num_tokens = [], 0
        pack.append(index)
        num_tokens += size
    if pack:
        yield pack
