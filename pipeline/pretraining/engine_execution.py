"""How forward and backward are carried out: what is recomputed, what is compiled."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from ...kernels import reference
from ...kernels.backend import Backend
from ...model.encoder import EncoderBlock
from ...model.masked_lm import MaskedLM


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionConfig:
    """How forward and backward are carried out; gradients stay those of the plain way."""

    recompute_every_blocks: int = 0
    """Every so many blocks, one keeps only its input and is computed again in backward; 0: none."""
    compile: Literal["none", "elementwise", "block"] = "none"
    """What torch.compile takes: nothing; norms and gate, in place of the kernels; whole blocks."""

    def __post_init__(self) -> None:
        if self.recompute_every_blocks < 0:
            raise ValueError(
                "execution.recompute_every_blocks must not be negative, got "
                f"{self.recompute_every_blocks}"
            )
        if self.compile not in ("none", "elementwise", "block"):
            raise ValueError(
                f"execution.compile must be none, elementwise or block, got {self.compile!r}"
            )


def apply_execution(model: MaskedLM, execution: ExecutionConfig, *, stage: int) -> str:
    """Set what is recomputed and compiled, after the backend is chosen; says what, for a log."""
    encoder = model.encoder
    encoder.recompute_blocks(every=execution.recompute_every_blocks)
    if execution.compile == "elementwise":
        if model.config.kernels == "triton":
            raise ValueError(
                "execution.compile=elementwise takes the place of model.kernels=triton: give one"
            )
        encoder.use_backend(_compile_elementwise(_first_block(model).backend))
        return "norms and gate compiled"
    if execution.compile == "block":
        if stage == 3:
            raise ValueError(
                "execution.compile=block does not go with ZeRO stage 3, which gathers weights in "
                "Python hooks that cut the graph into pieces: take elementwise, or engine=zero2"
            )
        for block in encoder.blocks:
            block.compile(dynamic=True)
        return "blocks compiled"
    return ""


def _first_block(model: MaskedLM) -> EncoderBlock:
    block = model.encoder.blocks[0]
    assert isinstance(block, EncoderBlock)
    return block


def _compile_elementwise(backend: Backend) -> Backend:
    """The reference norms and gate in generated code, for any number of tokens."""
    return replace(
        backend,
        layer_norm=torch.compile(reference.layer_norm, dynamic=True),
        residual_layer_norm=torch.compile(reference.residual_layer_norm, dynamic=True),
        swiglu=torch.compile(reference.swiglu, dynamic=True),
    )
