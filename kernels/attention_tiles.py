"""Which tiles of tokens attention's programs work on: a list made from the sequences' lengths.

The grid is this list times the heads. A grid of longest sequence times number of sequences would
be mostly empty on RNA, where one batch holds 70 and 1,022 nucleotides.

Shape suffixes: B sequences, N tiles.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .reference import check_packed


@dataclass(kw_only=True, slots=True)
class _Known:
    """What was found out about one `cu_seqlens`."""

    version: int | None
    lists: dict[tuple, Tensor] = field(default_factory=dict)
    checked: set[tuple[int, int]] = field(default_factory=set)


_known: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""By `cu_seqlens`, as long as it lives: one pack goes through every block of the encoder."""


def tiles_of(
    cu_seqlens: Tensor,
    *,
    block: int,
    longer_than: int,
    up_to: int,
    num_tokens: int,
    device: torch.device,
) -> Tensor:
    """`build_tiles` on `device`, made once for each `cu_seqlens` and remembered as long as it."""
    key = (block, longer_than, up_to, num_tokens, device)
    lists = _known_of(cu_seqlens).lists
    if key not in lists:
        lists[key] = build_tiles(
            cu_seqlens,
            block=block,
            longer_than=longer_than,
            up_to=up_to,
            num_tokens=num_tokens,
            exact=cu_seqlens.device.type == "cpu",
        ).to(device, non_blocking=True)
    return lists[key]


def build_tiles(
    cu_seqlens: Tensor,
    *,
    block: int,
    longer_than: int,
    up_to: int,
    num_tokens: int,
    exact: bool,
) -> Tensor:
    """Tiles of `block` tokens of the sequences of these lengths, longest sequences first, (N, 3).

    A row is the first token of the tile, and the first and the end of its sequence. `exact` counts
    the tiles, which on a GPU would wait for it; without, N is a bound and unused rows are zero.
    """
    lengths_B = cu_seqlens.diff()
    wanted_B = (lengths_B > longer_than) & (lengths_B <= up_to)
    lengths_B, order_B = torch.where(wanted_B, lengths_B, 0).sort(descending=True, stable=True)
    begin_B = cu_seqlens[order_B]
    tiles_B = (lengths_B + block - 1) // block
    tiles_before_B = tiles_B.cumsum(0) - tiles_B
    count = tiles_B.sum()
    if exact:
        num_slots = int(count)
    else:
        num_slots = _most_tiles(len(lengths_B), block, longer_than, up_to, num_tokens)

    slot_N = torch.arange(num_slots, device=cu_seqlens.device)
    sequence_N = torch.searchsorted(tiles_before_B + tiles_B, slot_N, right=True)
    sequence_N = sequence_N.clamp(max=len(lengths_B) - 1)
    begin_N = begin_B[sequence_N]
    first_N = begin_N + (slot_N - tiles_before_B[sequence_N]) * block
    tiles_N3 = torch.stack([first_N, begin_N, begin_N + lengths_B[sequence_N]], dim=1)
    return torch.where((slot_N < count)[:, None], tiles_N3, 0).to(torch.int32)


def check_lengths(cu_seqlens: Tensor, num_tokens: int, max_seqlen: int) -> None:
    """Refuse `cu_seqlens` that do not fit, once for each tensor.

    On the CPU that is a ValueError; on a GPU an assertion of the device, which does not wait: it
    ends the process at the next synchronisation.
    """
    known = _known_of(cu_seqlens)
    if (num_tokens, max_seqlen) in known.checked:
        return
    if cu_seqlens.device.type == "cpu":
        check_packed(torch.empty(num_tokens, 0, 0), cu_seqlens, max_seqlen)
    else:
        lengths_B = cu_seqlens.diff()
        fits = (cu_seqlens[0] == 0) & (cu_seqlens[-1] == num_tokens)
        fits &= (lengths_B.min() >= 0) & (lengths_B.max() <= max_seqlen)
        torch._assert_async(  # pyright: ignore[reportPrivateImportUsage]
            fits,
            f"cu_seqlens must rise from 0 to the {num_tokens} tokens in steps of at most "
            f"max_seqlen, {max_seqlen}",
        )
    known.checked.add((num_tokens, max_seqlen))


def _known_of(cu_seqlens: Tensor) -> _Known:
    """What is known of `cu_seqlens`, unless it has been written to since."""
    # Inference tensors do not count their versions: what is known of them is not trusted twice.
    version = None if cu_seqlens.is_inference() else cu_seqlens._version
    known = _known.get(cu_seqlens)
    if known is None or version is None or known.version != version:
        known = _known[cu_seqlens] = _Known(version=version)
    return known


def _most_tiles(
    num_sequences: int, block: int, longer_than: int, up_to: int, num_tokens: int
) -> int:
    """The largest number of tiles that sequences of these lengths can need."""
    most_sequences = min(num_sequences, num_tokens // (longer_than + 1))
    most_tiles = (num_tokens + most_sequences * (block - 1)) // block
    return min(most_tiles, most_sequences * -(-up_to // block))
