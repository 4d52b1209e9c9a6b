"""The checkpoint with its masked-LM head and its random twin, ready to predict packs.

Shape suffixes: T packed tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from ....model.jacobian import Predict
from ....model.masked_lm import MaskedLM
from ....model.weights import LoadedModel, build_random_twin

PRETRAINED, RANDOM = "pretrained", "random encoder"


class MaskedSystem(NamedTuple):
    """A model, and what its numbers depend on."""

    name: str
    identity: dict[str, object]
    model: MaskedLM


def build_masked_systems(
    loaded: LoadedModel, names: Sequence[str], *, seed: int
) -> list[MaskedSystem]:
    """Those of `names` that are masked language models, in order; the rest is passed over."""
    systems: list[MaskedSystem] = []
    for name in names:
        if name == PRETRAINED:
            identity: dict[str, object] = {"weights": loaded.metadata["sha256"]}
            systems.append(MaskedSystem(name, identity, loaded.model))
        elif name == RANDOM:
            config = loaded.model.config
            sizes = {
                field: value
                for field, value in asdict(config).items()
                if field not in ("attention", "kernels")  # how it is computed, not what
            }
            twin = build_random_twin(config, seed)
            systems.append(MaskedSystem(name, {"sizes": sizes, "seed": seed}, twin))
    return systems


def build_predict(model: MaskedLM, device: torch.device) -> Predict:
    """Logits_TV of every token of a pack on `device`, without dropout or gradients."""
    model.to(device).eval()
    model.encoder.choose_backend(device, next(model.parameters()).dtype)

    def predict(ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        with torch.inference_mode():
            return model(ids_T.to(device), cu_seqlens.to(device), max_seqlen).logits_TV

    return predict
