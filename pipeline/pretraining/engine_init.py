"""A model's initial weights, a block at a time: a rank that holds a slice need not build it all."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...model.encoder import Encoder, EncoderBlock, EncoderConfig
from ...model.masked_lm import MaskedLM, MaskedLMHead


def iter_initial_weights(config: EncoderConfig, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Name and fp32 value of every parameter of `MaskedLM(config)` after `manual_seed(seed)`.

    The same draws in the same order, always on the CPU: what a run starts from depends neither on
    the device nor on how the model is spread over ranks. PyTorch's own generator is left as it was.
    """
    parts: list[tuple[str, Callable[[], nn.Module]]] = [
        ("encoder", lambda: Encoder(replace(config, num_blocks=1))),
        *(
            (f"encoder.blocks.{i}", lambda: EncoderBlock(config))
            for i in range(1, config.num_blocks)
        ),
        ("head", lambda: MaskedLMHead(config.embed_dim)),
    ]
    state = torch.Generator().manual_seed(seed).get_state()
    for prefix, build in parts:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.set_rng_state(state)
            module = build()
            state = torch.get_rng_state()
        for name, parameter in module.named_parameters(prefix=prefix):
            yield name, parameter.detach()


def find_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by name; nothing is allocated."""
    with torch.device("meta"):
        model = MaskedLM(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
