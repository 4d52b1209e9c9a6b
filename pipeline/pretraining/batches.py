"""Packed masked-LM batches by their place in the stream: sampling, packing and masking together.

The stream is every epoch's packs, one epoch after the other. A pack is known by its number in the
stream alone, so ranks, workers and restarts need to agree on nothing else. Shape suffixes: B
sequences, T packed tokens, M predicted tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data_prep.shards import Split
from ...model import alphabet
from ...model.masked_lm import IGNORE_INDEX
from .counter_rng import derive_key
from .masking import MaskingConfig, mask_tokens
from .packing import plan_packs
from .sampling import Samples, SamplingConfig, draw_samples

_MASK, _DROPOUT = 4, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How many tokens go through the model at once, and per optimizer step."""

    micro_batch_tokens: int
    """Token budget of one pack: what one device sees in one forward pass."""
    global_batch_tokens: int
    """Token budget of one optimizer step over all ranks; a multiple of micro_batch_tokens."""

    def __post_init__(self) -> None:
        if self.micro_batch_tokens < 1 or self.global_batch_tokens % self.micro_batch_tokens:
            raise ValueError(
                f"batches.global_batch_tokens {self.global_batch_tokens} must be a multiple of "
                f"batches.micro_batch_tokens {self.micro_batch_tokens}"
            )
        if self.global_batch_tokens < self.micro_batch_tokens:
            raise ValueError("batches.global_batch_tokens must hold one pack or more, got 0")

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
    epoch: int
    dropout_seed: int
    """What the dropout of this pack is seeded with, on whichever rank it runs."""

    def to(self, device: torch.device) -> "PackedBatch":
        """The same pack with its tensors on `device`."""
        names = ("ids_T", "cu_seqlens", "predicted_rows_M", "labels_M", "rna_type_ids_M")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        return self._replace(**moved)


class _Epoch(NamedTuple):
    samples: Samples
    boundaries: NDArray[np.int64]

    @property
    def num_packs(self) -> int:
        return len(self.boundaries) - 1


class PackStream:
    """The endless stream of a split's packs, addressed by number."""

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
        self._split = split
        self._pack_tokens = pack_tokens
        self._sampling = sampling
        self._masking = masking
        self._seed = seed
        self._first_packs = [0]
        self._planned: tuple[int, _Epoch] | None = None

    def locate(self, number: int) -> tuple[int, int]:
        """Epoch and index within it of a pack of the stream."""
        while number >= self._first_packs[-1]:
            epoch = len(self._first_packs) - 1
            self._first_packs.append(self._first_packs[-1] + self._plan(epoch).num_packs)
        epoch = int(np.searchsorted(self._first_packs, number, side="right")) - 1
        return epoch, number - self._first_packs[epoch]

    def num_packs(self, epoch: int) -> int:
        """Packs of one epoch."""
        return self._plan(epoch).num_packs

    def pack(self, number: int) -> PackedBatch:
        """The pack with this number in the stream."""
        epoch, index = self.locate(number)
        samples, boundaries = self._plan(epoch)
        chosen = slice(int(boundaries[index]), int(boundaries[index + 1]))
        ids_T, cu_seqlens = self._tokenise(samples.take(chosen))

        records = samples.records[chosen]
        epoch_key = derive_key(self._seed, epoch)
        keys_B = derive_key(derive_key(epoch_key, _MASK), records)
        corrupted_T, labels_T = mask_tokens(ids_T, cu_seqlens, keys_B, self._masking)
        rows_M = np.flatnonzero(labels_T != IGNORE_INDEX)
        lengths_B = np.diff(cu_seqlens)
        rna_type_ids_T = np.repeat(self._split.rna_type_ids[records].astype(np.int64), lengths_B)
        return PackedBatch(
            ids_T=torch.from_numpy(corrupted_T),
            cu_seqlens=torch.from_numpy(cu_seqlens),
            max_seqlen=int(lengths_B.max()),
            predicted_rows_M=torch.from_numpy(rows_M),
            labels_M=torch.from_numpy(labels_T[rows_M]),
            rna_type_ids_M=torch.from_numpy(rna_type_ids_T[rows_M]),
            epoch=epoch,
            dropout_seed=int(derive_key(derive_key(epoch_key, _DROPOUT), index) >> np.uint64(1)),
        )

    def _plan(self, epoch: int) -> _Epoch:
        if self._planned is None or self._planned[0] != epoch:
            samples = draw_samples(
                self._split.cluster_starts,
                self._split.lengths_nt,
                self._sampling,
                seed=self._seed,
                epoch=epoch,
            )
            plan = _Epoch(samples, plan_packs(samples.num_tokens, self._pack_tokens))
            self._planned = epoch, plan
        return self._planned[1]

    def _tokenise(self, samples: Samples) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        cls, eos = (np.asarray([token], np.uint8) for token in (alphabet.CLS, alphabet.EOS))
        pieces: list[NDArray[np.uint8]] = []
        for record, start, length, has_cls, has_eos in zip(*samples, strict=True):
            letters = self._split.sequence(int(record))[start : start + length]
            pieces += [cls] if has_cls else []
            pieces.append(alphabet.ID_OF_BYTE[letters])
            pieces += [eos] if has_eos else []
        cu_seqlens = np.concatenate([[0], np.cumsum(samples.num_tokens)]).astype(np.int32)
        return np.concatenate(pieces), cu_seqlens
