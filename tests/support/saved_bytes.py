"""Bytes that a forward pass keeps for its backward, counted by storage."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def count_saved_bytes(run: Callable[[], object], *, known: Iterable[Tensor]) -> int:
    """Bytes of every storage saved while `run` runs, but for those of `known` tensors.

    By storage, since a saved view keeps all of it; each once, however often it is saved.
    """
    known_storages = {tensor.untyped_storage().data_ptr() for tensor in known}
    found: dict[int, int] = {}
    kept_alive = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known_storages:
            found[storage.data_ptr()] = storage.nbytes()
            kept_alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept_alive.append(run())
    return sum(found.values())
