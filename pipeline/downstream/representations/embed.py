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

from ....model.alphabet import encode
from ....model.encoder import Encoder
from ....model.weights import load_masked_lm

Reads = Literal["tokens", "specials", "cls", "mean"]
"""Rows of a sequence: one a nucleotide; the same between those of `<cls>` and `<eos>`; that of
`<cls>` alone; the mean over nucleotides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig:
    """How representations are computed and held."""

    max_tokens_per_pack: int = 8192
    """Budget of one forward pass; a longer RNA is a pack of its own."""
    dtype: Literal["float16", "float32"] = "float32"
    """What is held: float16 halves the file (650 M parameters, ArchiveII: 2 GB, not 4)."""

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
    """Rows of every RNA, one after the other: one per nucleotide unless computed otherwise."""

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
    """Map a file of rows into memory; `lengths` are its RNAs, in its order, with their rows.

    Rows are nucleotides, or what `count_rows` says of other kinds.
    """
    rows_TD = np.load(path, mmap_mode="r")
    ends = np.cumsum(list(lengths.values()), dtype=np.int64).tolist()
    num_rows = ends[-1] if ends else 0
    assert num_rows == len(rows_TD), f"{path} has {len(rows_TD)} rows, not {num_rows}"
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


def embed_sequences(
    encoder: Encoder,
    sequences: Sequence[str],
    config: EmbedConfig,
    *,
    device: torch.device,
    reads: Reads = "tokens",
) -> NDArray[np.floating]:
    """Rows_TD of `sequences` in their order; each is what the RNA has alone."""
    starts = find_starts(sequences, reads)
    rows_TD = np.empty((starts[-1], encoder.config.embed_dim), config.dtype)
    packs = list(iter_packs(sequences, config.max_tokens_per_pack))
    for pack in track_packs(packs, sequences):
        embed_pack(encoder, sequences, pack, reads, device, rows_TD, starts)
    return rows_TD


@torch.inference_mode()
def embed_pack(
    encoder: Encoder,
    sequences: Sequence[str],
    pack: Sequence[int],
    reads: Reads,
    device: torch.device,
    rows_TD: NDArray[np.floating],
    starts: NDArray[np.int64],
) -> None:
    """Write the rows of the sequences `pack` where they begin in `rows_TD`."""
    encoder = encoder.to(device).eval()
    encoder.choose_backend(device, next(encoder.parameters()).dtype)
    ids = [encode(sequences[index]) for index in pack]
    lengths = [len(one) for one in ids]
    cu_seqlens = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    packed_TD = encoder(torch.cat(ids).to(device), cu_seqlens, max(lengths))
    for index, tokens_LD in zip(pack, packed_TD.split(lengths), strict=True):
        rows_LD = select_rows(tokens_LD, reads).float().cpu().numpy()
        rows_TD[starts[index] : starts[index + 1]] = rows_LD


def find_starts(sequences: Sequence[str], reads: Reads) -> NDArray[np.int64]:
    """Row at which each sequence begins, and the number of all."""
    counts = [count_rows(reads, len(sequence)) for sequence in sequences]
    return np.cumsum([0, *counts], dtype=np.int64)


def track_packs(
    packs: Sequence[list[int]], sequences: Sequence[str], num_done: int = 0
) -> Iterator[list[int]]:
    """Yield the packs from `num_done` on, with a bar of nucleotides."""
    sizes = [sum(len(sequences[index]) for index in pack) for pack in packs]
    with tqdm(
        total=sum(sizes),
        initial=sum(sizes[:num_done]),
        desc="embedding",
        unit="nt",
        unit_scale=True,
        disable=None,
    ) as progress:
        for pack, size in zip(packs[num_done:], sizes[num_done:], strict=True):
            yield pack
            progress.update(size)


def iter_packs(sequences: Sequence[str], max_tokens: int) -> Iterator[list[int]]:
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
