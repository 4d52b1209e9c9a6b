"""Packed masked-LM batches by their place in the stream: sampling, packing and masking together.

The stream is every epoch's packs, one epoch after the other. A pack is known by its number in the
stream alone, so ranks, workers and restarts need to agree on nothing else. Shape suffixes: B
sequences, T packed tokens, M predicted tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data_prep.shards import Split
from ...model import alphabet
from .counter_rng import derive_key, derive_purpose_key
from .epochs import EpochPlans
from .masking import MaskingConfig, corrupt_tokens
from .sampling import Samples, SamplingConfig, cut_windows
from .skipping import SkippedPacks

_MASK, _DROPOUT = 4, 5
_CLS_BYTES, _EOS_BYTES = (b"", b"<"), (b"", b">")  # without and with; no shard holds such bytes


def _build_id_table() -> bytes:
    table = bytearray(alphabet.ID_OF_BYTE.tobytes())
    table[_CLS_BYTES[1][0]], table[_EOS_BYTES[1][0]] = alphabet.CLS, alphabet.EOS
    return bytes(table)


_ID_TABLE = _build_id_table()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How many tokens go through the model at once, and per optimizer step."""

    micro_batch_tokens: int
    """Token budget of one pack: what one device sees in one forward pass."""
    global_batch_tokens: int
    """Token budget of one optimizer step over all ranks; a multiple of micro_batch_tokens."""
    workers: int = 1
    """Threads that build packs ahead; 0 builds them in the loop. Changes no pack."""
    skip_packs: str = ""
    """Packs never to show, by number in the stream: `12,40-45` leaves out seven."""

    def __post_init__(self) -> None:
        if self.micro_batch_tokens < 1 or self.global_batch_tokens % self.micro_batch_tokens:
            raise ValueError(
                f"batches.global_batch_tokens {self.global_batch_tokens} must be a multiple of "
                f"batches.micro_batch_tokens {self.micro_batch_tokens}"
            )
        if self.global_batch_tokens < self.micro_batch_tokens:
            raise ValueError("batches.global_batch_tokens must hold one pack or more, got 0")
        if self.workers < 0:
            raise ValueError(f"batches.workers must be 0 or more, got {self.workers}")
        SkippedPacks.parse(self.skip_packs)

    @property
    def packs_per_step(self) -> int:
        """Packs in a global batch, whatever the number of ranks."""
        return self.global_batch_tokens // self.micro_batch_tokens


class PackedBatch(NamedTuple):
    """One pack. Tensors are on the CPU until `to`."""

    ids_T: Tensor
    """Corrupted ids, uint8."""
    cu_seqlens: Tensor
    """Where sequences begin and the last ends, int32 (B+1)."""
    max_seqlen: int
    predicted_rows_M: Tensor
    """Indices into T of the selected tokens."""
    labels_M: Tensor
    """Their true ids."""
    rna_type_ids_M: Tensor
    """Index into `Split.rna_types` of the RNA each predicted token belongs to."""
    number: int
    """Place in the stream."""
    epoch: int
    dropout_seed: int
    """What the dropout of this pack is seeded with, on whichever rank it runs."""
    num_tokens: int
    """Real tokens, T."""
    sum_squared_lengths: int
    """Of the sequences' tokens: what attention's work is proportional to."""

    def to(self, device: torch.device) -> "PackedBatch":
        """The same pack with its tensors on `device`."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "PackedBatch":
        """The same pack in page-locked memory, from which a GPU copies while the loop goes on."""
        return self._map_tensors(Tensor.pin_memory)

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        return self._make(change(x) if isinstance(x, Tensor) else x for x in self)


class PackStream:
    """The endless stream of a split's packs, addressed by number; any thread may ask for any."""

    def __init__(
        self,
        split: Split,
        *,
        pack_tokens: int,
        sampling: SamplingConfig,
        masking: MaskingConfig,
        seed: int,
    ) -> None:
        if split.num_clusters == 0:
            raise ValueError(
                "the split has no clusters: prepare more sequences, or a larger validation share"
            )
        self.epochs = EpochPlans(split, pack_tokens=pack_tokens, sampling=sampling, seed=seed)
        """Where packs lie; `epochs.plan` may be called ahead of need."""
        self.pack_tokens = pack_tokens
        self._split = split
        self._sampling = sampling
        self._masking = masking
        self._seed = seed

    def locate(self, number: int) -> tuple[int, int]:
        """Epoch and index within it of a pack of the stream."""
        return self.epochs.locate(number)

    def num_packs(self, epoch: int) -> int:
        """Packs of one epoch."""
        return self.epochs.num_packs(epoch)

    def samples(self, number: int) -> Samples:
        """The records of a pack and the windows they show, in order."""
        epoch, index = self.locate(number)
        return self._cut(self.epochs.plan(epoch).draws_of_pack(index), epoch)

    def pack(self, number: int) -> PackedBatch:
        """The pack with this number in the stream."""
        epoch, index = self.locate(number)
        draws = self.epochs.plan(epoch).draws_of_pack(index)
        samples = self._cut(draws, epoch)
        lengths_B = samples.num_tokens
        cu_seqlens = np.zeros(len(lengths_B) + 1, np.int32)
        np.cumsum(lengths_B, out=cu_seqlens[1:])

        ids_T = self._tokenise(samples)
        keys_B = derive_key(derive_purpose_key(self._seed, epoch, _MASK), draws)
        corrupted_T, rows_M = corrupt_tokens(ids_T, cu_seqlens, keys_B, self._masking)
        rna_type_ids_T = np.repeat(self._split.rna_type_ids[samples.records], lengths_B)
        dropout_key = derive_key(derive_purpose_key(self._seed, epoch, _DROPOUT), index)
        return PackedBatch(
            ids_T=torch.from_numpy(corrupted_T),
            cu_seqlens=torch.from_numpy(cu_seqlens),
            max_seqlen=int(lengths_B.max()),
            predicted_rows_M=torch.from_numpy(rows_M),
            labels_M=torch.from_numpy(ids_T[rows_M].astype(np.int64)),
            rna_type_ids_M=torch.from_numpy(rna_type_ids_T[rows_M].astype(np.int64)),
            number=number,
            epoch=epoch,
            dropout_seed=int(dropout_key >> np.uint64(1)),
            num_tokens=len(ids_T),
            sum_squared_lengths=int(np.square(lengths_B, dtype=np.int64).sum()),
        )

    def _cut(self, draws: NDArray[np.int64], epoch: int) -> Samples:
        return cut_windows(
            draws, self._split.lengths_nt, self._sampling, seed=self._seed, epoch=epoch
        )

    def _tokenise(self, samples: Samples) -> NDArray[np.uint8]:
        """Ids of all windows, read-only: joined as bytes, which costs least a sequence."""
        windows = self._split.windows(samples.records, samples.starts_nt, samples.lengths_nt)
        ends = zip(windows, samples.has_cls.tolist(), samples.has_eos.tolist(), strict=True)
        pieces = [
            piece
            for window, has_cls, has_eos in ends
            for piece in (_CLS_BYTES[has_cls], window, _EOS_BYTES[has_eos])
        ]
        return np.frombuffer(b"".join(pieces).translate(_ID_TABLE), np.uint8)
