"""What a head reads of some sequences: rows computed once, or by an encoder that may be training.

Shape suffixes: T rows of a pack, D width of a row, L tokens of one sequence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.func import functional_call

from ....kernels.backend import choose_backend
from ....model.alphabet import encode
from ....model.encoder import Encoder
from .embed import Reads, Representations, select_rows


class PackedRows(NamedTuple):
    """Rows of several sequences one after the other, without padding."""

    rows_TD: Tensor
    """fp32."""
    cu_seqlens: Tensor
    """int32, sequences + 1: where each begins."""

    def split(self) -> list[Tensor]:
        """Rows_LD of each sequence."""
        return list(self.rows_TD.split(self.cu_seqlens.diff().tolist()))


class RowReader(Protocol):
    """Gives the rows of sequences, named by their index in the benchmark."""

    def __call__(self, indices: Sequence[int]) -> PackedRows:
        """Rows of the sequences in the order of `indices`, on the device of the fit."""
        ...


class FrozenRows:
    """Rows computed once, whatever they are: representations, one-hot letters, k-mer counts."""

    def __init__(self, representations: Representations, device: torch.device) -> None:
        self.representations = representations
        self.device = device

    def __call__(self, indices: Sequence[int]) -> PackedRows:
        """Rows of the sequences in the order of `indices`; no gradient flows from them."""
        return _pack([self.representations.load(index, self.device) for index in indices])


class EncoderRows:
    """Rows that the encoder computes at every call, with gradients where something of it trains.

    It computes in `dtype`, on weights kept in fp32: with bfloat16 every call works on a rounded
    copy, so that small updates are not lost. Rows are fp32 either way.
    """

    def __init__(
        self,
        encoder: Encoder,
        sequences: Mapping[int, str] | Sequence[str],
        *,
        reads: Reads,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.encoder = encoder.to(device)
        self.sequences = sequences
        self.reads: Reads = reads
        self.device = device
        self.dtype = dtype
        self._backend_of: bool | None = None

    def __call__(self, indices: Sequence[int]) -> PackedRows:
        """Rows of the sequences in the order of `indices`, from one pack without padding."""
        self._choose_backend()
        ids = [encode(self.sequences[index]) for index in indices]
        lengths = [len(one) for one in ids]
        ends = torch.tensor([0, *lengths]).cumsum(0)
        cu_seqlens = ends.to(device=self.device, dtype=torch.int32)
        packed_TD = self._run(torch.cat(ids).to(self.device), cu_seqlens, max(lengths)).float()
        return _pack([select_rows(part, self.reads) for part in packed_TD.split(lengths)])

    def _run(self, ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        arguments = (ids_T, cu_seqlens, max_seqlen)
        if self.dtype == torch.float32:
            return self.encoder(*arguments)
        # Not autocast: the blocks' ops want one dtype throughout. A cast passes gradients back to
        # the weights it rounds.
        rounded = {name: value.to(self.dtype) for name, value in self.encoder.named_parameters()}
        return functional_call(self.encoder, rounded, arguments)

    def _choose_backend(self) -> None:
        """Implementations that run here; those with dropout may be others than those without."""
        if self._backend_of == self.encoder.training:
            return
        config = self.encoder.config
        self.encoder.use_backend(
            choose_backend(
                self.device,
                self.dtype,
                attention=config.attention,
                kernels=config.kernels,
                head_dim=config.head_dim,
                dropout_p=config.attention_dropout if self.encoder.training else 0.0,
            )
        )
        self._backend_of = self.encoder.training


def _pack(parts: Sequence[Tensor]) -> PackedRows:
    if not parts:
        raise ValueError("no sequence to read: give at least one index")
    ends = torch.tensor([0, *map(len, parts)]).cumsum(0)
    cu_seqlens = ends.to(device=parts[0].device, dtype=torch.int32)
    return PackedRows(torch.cat(list(parts)), cu_seqlens)
