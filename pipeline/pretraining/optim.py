"""Optimizer and learning rate: AdamW, linear warm-up, cosine decay; Muon's settings."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """The published recipe, unless a preset says otherwise."""

    name: Literal["adamw", "muon"] = "adamw"
    """`muon` updates the matrices inside blocks by Muon and all else by AdamW."""
    peak_lr: float = 5e-5
    """Learning rate at the end of warm-up."""
    start_lr: float = 1e-7
    """Learning rate of the first step."""
    min_lr: float = 1e-5
    """Learning rate at the end of the decay, and after it."""
    warmup_steps: int = 2_000
    decay_steps: int = 200_000
    """Steps of the cosine after warm-up. A run may end before."""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    muon_lr: float = 1e-3
    """Muon's learning rate where AdamW's is `peak_lr`: both follow the same schedule."""
    muon_momentum: float = 0.95

    def __post_init__(self) -> None:
        if self.peak_lr <= 0:
            raise ValueError(f"optim.peak_lr must be positive, got {self.peak_lr}")
        if self.name not in ("adamw", "muon"):
            raise ValueError(f"optim.name must be adamw or muon, got {self.name!r}")
        if self.muon_lr <= 0:
            raise ValueError(f"optim.muon_lr must be positive, got {self.muon_lr}")
        for name in ("beta1", "beta2", "muon_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optim.{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("start_lr", "min_lr", "weight_decay", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"optim.{name} must not be negative, got {getattr(self, name)}")
        if self.warmup_steps < 0 or self.decay_steps < 1:
            raise ValueError(
                "optim.warmup_steps must be 0 or more and optim.decay_steps positive, got "
                f"{self.warmup_steps} and {self.decay_steps}"
            )


def compute_lr(step: int, config: OptimConfig) -> float:
    """Learning rate of the update `step` (0 is the first)."""
    if step < config.warmup_steps:
        return config.start_lr + (config.peak_lr - config.start_lr) * step / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / config.decay_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_lr + (config.peak_lr - config.min_lr) * cosine


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: OptimConfig, device: torch.device
) -> torch.optim.AdamW:
    """PyTorch's own AdamW, fused on a GPU: it needs no compiler and runs on every device."""
    return torch.optim.AdamW(
        parameters,
        lr=config.start_lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=device.type == "cuda",
    )
