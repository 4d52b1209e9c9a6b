"""Low-rank adapters on an encoder's projections (Hu et al., "LoRA", 2021, section 4.1).

Shape suffixes: T tokens, I inputs of a projection, O outputs, R rank.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....model.encoder import Encoder, EncoderBlock
from ....model.feed_forward import FeedForward


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Which projections get adapters, and of what size.

    Rank and blocks are a published choice for RiNALMo's giga, 0.2 % of its weights; it does not
    say alpha.
    """

    rank: int = 16
    alpha: float = 32.0
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = 0.0
    """Of what an adapter reads, in training."""
    every: int = 3
    """Blocks every, 2 every, … counted from 1 get adapters; 1 is all of them."""
    feed_forward: bool = False
    """Whether the two projections of the feed-forward get adapters as well."""

    def __post_init__(self) -> None:
        for name in ("rank", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"lora.{name} must be positive, got {getattr(self, name)}")
        if self.alpha <= 0:
            raise ValueError(f"lora.alpha must be positive, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout must be in [0, 1), got {self.dropout}")


class LowRank(nn.Module):
    """The adapter of one projection: scale * B A dropout(x). B begins at zero, A is drawn."""

    def __init__(self, num_inputs: int, num_outputs: int, config: LoraConfig) -> None:
        super().__init__()
        self.scale = config.alpha / config.rank
        self.dropout = nn.Dropout(config.dropout)
        self.down_RI = nn.Parameter(torch.empty(config.rank, num_inputs))
        self.up_OR = nn.Parameter(torch.zeros(num_outputs, config.rank))

    def draw(self, generator: torch.Generator, num_used: int) -> None:
        """Draw A as `nn.Linear` does; its columns from `num_used` on stay zero."""
        bound = 1 / math.sqrt(num_used)
        drawn_RI = torch.empty(len(self.down_RI), num_used)
        drawn_RI.uniform_(-bound, bound, generator=generator)
        with torch.no_grad():
            self.down_RI.zero_()
            self.down_RI[:, :num_used] = drawn_RI

    def forward(self, x_TI: Tensor) -> Tensor:
        """What is added to the projection's output."""
        return F.linear(F.linear(self.dropout(x_TI), self.down_RI), self.up_OR * self.scale)

    def compute_update(self) -> Tensor:
        """The (O, I) matrix that the adapter adds to the projection's weight, in fp64."""
        return self.scale * (self.up_OR.double() @ self.down_RI.double())


class LoraLinear(nn.Module):
    """A projection without bias and its adapter; `weight` keeps its name."""

    def __init__(self, linear: nn.Linear, config: LoraConfig) -> None:
        super().__init__()
        assert linear.bias is None, "the encoder's projections have no bias"
        self.weight = linear.weight
        self.lora = LowRank(linear.in_features, linear.out_features, config).to(linear.weight)
        self._plain = (linear,)  # in a tuple: no submodule, so its weight has one name

    def forward(self, x_TI: Tensor) -> Tensor:
        """Project, with what the adapter adds."""
        return F.linear(x_TI, self.weight) + self.lora(x_TI)

    def draw(self, generator: torch.Generator) -> None:
        """Draw what the adapter begins as."""
        self.lora.draw(generator, self.weight.shape[1])

    def merge(self) -> nn.Linear:
        """The projection as it was built, its weight changed by what the adapter adds."""
        _add(self.weight, self.lora.compute_update())
        return self._plain[0]


class LoraFeedForward(nn.Module):
    """A feed-forward with adapters on both projections; its parameters keep their names.

    The neurons past `ffn_dim` stay silent: nothing is drawn for them, so no gradient reaches them.
    """

    activated_and_gate: nn.Parameter
    activated_and_gate_bias: nn.Parameter
    beta: nn.Parameter
    out: nn.Parameter
    out_bias: nn.Parameter

    def __init__(self, feed_forward: FeedForward, config: LoraConfig) -> None:
        super().__init__()
        for name, parameter in feed_forward.named_parameters():
            self.register_parameter(name, parameter)
        wide, embed_dim = feed_forward.activated_and_gate.shape
        self.lora_in = LowRank(embed_dim, wide, config).to(feed_forward.out)
        self.lora_out = LowRank(wide // 2, embed_dim, config).to(feed_forward.out)
        self.backend = feed_forward.backend
        self._plain = (feed_forward,)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform each token by itself."""
        hidden_TE = F.linear(x_TD, self.activated_and_gate) + self.lora_in(x_TD)
        gated_TF = self.backend.swiglu(hidden_TE, self.beta, self.activated_and_gate_bias)
        return F.linear(gated_TF, self.out, self.out_bias) + self.lora_out(gated_TF)

    def draw(self, generator: torch.Generator) -> None:
        """Draw what the adapters begin as."""
        self.lora_in.draw(generator, self.activated_and_gate.shape[1])
        self.lora_out.draw(generator, self._plain[0].ffn_dim)

    def merge(self) -> FeedForward:
        """The feed-forward as it was built, its weights changed by what the adapters add."""
        _add(self.activated_and_gate, self.lora_in.compute_update())
        _add(self.out, self.lora_out.compute_update())
        self._plain[0].backend = self.backend
        return self._plain[0]


def inject_lora(encoder: Encoder, config: LoraConfig, *, seed: int) -> list[str]:
    """Give the encoder adapters, in place, and freeze all else of it; returns the adapters' names.

    At first they add exactly zero. What they begin as is a function of `seed`.
    """
    if any(isinstance(module, LowRank) for module in encoder.modules()):
        raise ValueError("the encoder has adapters already: merge them, or take a fresh copy of it")
    if config.every > len(encoder.blocks):
        raise ValueError(
            f"lora.every {config.every} leaves an encoder of {len(encoder.blocks)} blocks without "
            "adapters; lower it"
        )
    encoder.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for block in encoder.blocks[config.every - 1 :: config.every]:
        assert isinstance(block, EncoderBlock)
        attention = block.attention
        # Set by name: the types say that these are plain projections.
        adapted: list[tuple[nn.Module, str, LoraLinear | LoraFeedForward]] = [
            (attention, "qkv", LoraLinear(attention.qkv, config)),
            (attention, "out", LoraLinear(attention.out, config)),
        ]
        if config.feed_forward:
            adapted.append((block, "feed_forward", LoraFeedForward(block.feed_forward, config)))
        for parent, name, module in adapted:
            module.draw(generator)
            setattr(parent, name, module)
    return list(find_adapters(encoder))


def find_adapters(encoder: Encoder) -> dict[str, nn.Parameter]:
    """The adapters' parameters by name."""
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in encoder.named_modules()
        if isinstance(module, LowRank)
        for name, parameter in module.named_parameters()
    }


def merge_lora(encoder: Encoder) -> None:
    """Add every adapter to its projection's weight, in place: a plain encoder again, for export.

    A sum is formed in fp64 and rounded once, so merged and unmerged differ by fp32 rounding alone.
    """
    for parent in list(encoder.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, LoraLinear | LoraFeedForward):
                setattr(parent, name, module.merge())


@torch.no_grad()
def _add(weight_OI: Tensor, update_OI: Tensor) -> None:
    weight_OI.copy_(weight_OI.double() + update_OI)
