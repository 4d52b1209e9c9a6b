"""Attention maps of a model that runs fused attention: recorded beside it, on demand.

Shape suffixes: T packed tokens, L letters of one RNA, C maps (every head of every block), H heads,
K head dim. A letter repeats: maps_CLL is (C, L, L).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..kernels.reference import apply_rotary
from .attention import SelfAttention
from .contacts import find_letters


class AttentionRecord:
    """What `record_attention` saw in the newest forward pass."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._maps_of_block: dict[int, list[Tensor]] = {}

    def read_maps(self, ids_T: Tensor, *, sequence: int = 0) -> Tensor:
        """Maps_CLL of one sequence of the pack, between its letters; block after block, fp32.

        `ids_T` are that sequence's own. Rows sum to less than 1: what went to `<cls>` and `<eos>`
        is left out.
        """
        if len(self._maps_of_block) != self._num_blocks:
            raise ValueError(
                f"attention was recorded in {len(self._maps_of_block)} of {self._num_blocks} "
                "blocks: run the model inside record_attention before reading"
            )
        letters = find_letters(ids_T)
        blocks = [self._maps_of_block[block][sequence] for block in range(self._num_blocks)]
        if len(ids_T) != blocks[0].shape[-1]:
            raise ValueError(
                f"sequence {sequence} of the pack has {blocks[0].shape[-1]} tokens, "
                f"got the ids of {len(ids_T)}"
            )
        return torch.cat([maps_HTT[:, letters][:, :, letters] for maps_HTT in blocks])

    def add(self, block: int, maps: list[Tensor]) -> None:
        """Take over a block's maps_HTT of every sequence of a pack."""
        self._maps_of_block[block] = maps


@contextmanager
def record_attention(model: nn.Module) -> Iterator[AttentionRecord]:
    """Keep softmax(QK^T) of every block while the body runs `model`; changes no output.

    Queries and keys are projected a second time, before the block attends, and weighed in fp32
    whatever attention runs, since a fused kernel never has the maps. It happens inside the block's
    forward, where ZeRO-3 has its weights gathered. Compiled blocks run eagerly meanwhile, and are
    not compiled again for it. Memory is num_heads * tokens**2 numbers a block and sequence: run
    one RNA at a time, or few.
    """
    modules = [module for module in model.modules() if isinstance(module, SelfAttention)]
    record = AttentionRecord(len(modules))
    handles = [
        module.register_forward_pre_hook(_build_hook(record, block), with_kwargs=True)
        for block, module in enumerate(modules)
    ]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield record
    finally:
        for handle in handles:
            handle.remove()


def _build_hook(record: AttentionRecord, block: int) -> Callable[..., None]:
    def hook(module: SelfAttention, args: tuple, kwargs: dict) -> None:
        names = ("x_TD", "rotary", "cu_seqlens", "max_seqlen")
        given = dict(zip(names, args, strict=False)) | kwargs
        with torch.no_grad():
            qkv_T3HK = module.qkv(given["x_TD"]).unflatten(1, (3, module.num_heads, -1)).float()
            turned_TRK = apply_rotary(qkv_T3HK[:, :2].flatten(1, 2), *given["rotary"])
            q_THK, k_THK = turned_TRK.chunk(2, dim=1)
            q_THK = q_THK * q_THK.shape[-1] ** -0.5
            lengths = given["cu_seqlens"].diff().tolist()
            maps = [
                torch.einsum("qhk,thk->hqt", q, k).softmax(-1)
                for q, k in zip(q_THK.split(lengths), k_THK.split(lengths), strict=True)
            ]
        record.add(block, maps)

    return hook
