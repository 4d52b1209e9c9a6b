"""Muon for the matrices inside blocks, AdamW for all else, on weights cut up by ZeRO.

A matrix's update is its momentum made orthogonal, which needs the whole matrix; ZeRO gives a rank
slices. So in turns of as many matrices as there are ranks, each rank collects one, works on it,
and hands the result round. DeepSpeed's own Muon is not used: it takes the gradient norm, and so
the clipping, of everything, after the matrices were made orthogonal, and at stage 3 rounds the
momentum to the precision of communication and moves it in steps that are then skipped.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .engine_layout import Slice
from .optim import OptimConfig

MOMENTUM = "momentum_buffer"
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_STACKED = {"attention.qkv.weight": 3, "feed_forward.activated_and_gate": 2}
"""Parameters that are several matrices one below the other, by the end of their names."""


class Matrix(NamedTuple):
    """A parameter that Muon updates."""

    part: Slice
    shape: tuple[int, ...]
    num_stacked: int


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether Muon updates this parameter."""
    return len(shape) == 2 and name.startswith("encoder.blocks.")


def group_matrices(
    slices: Mapping[str, Slice], shapes: Mapping[str, tuple[int, ...]]
) -> dict[Tensor, list[Matrix]]:
    """All ranks' matrices by the flat tensor they are in, in the same order on every rank."""
    matrices: dict[Tensor, list[Matrix]] = {}
    for name, part in slices.items():
        if is_matrix(name, shapes[name]):
            stacked = next((n for end, n in _STACKED.items() if name.endswith(end)), 1)
            matrices.setdefault(part.flat, []).append(Matrix(part, shapes[name], stacked))
    return matrices


def build_muon(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    shapes: Mapping[str, tuple[int, ...]],
    config: OptimConfig,
    device: torch.device,
) -> "Muon":
    """An optimizer with two groups of parameters; its `matrices` are to be set."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in named_parameters:
        groups[is_matrix(name, shapes[name])].append(parameter)
    settings = {
        "lr": config.start_lr,
        "betas": (config.beta1, config.beta2),
        "eps": config.eps,
        "weight_decay": config.weight_decay,
        "fused": device.type == "cuda",
    }
    muon = {"momentum": config.muon_momentum, "lr_ratio": config.muon_lr / config.peak_lr}
    return Muon([{"params": groups[True], **muon}, {"params": groups[False]}], settings, device)


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups that have a `momentum`.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with Nesterov
    momentum, and the scale of Liu et al., "Muon is scalable for LLM training" (2025), section 2.2:
    updates have the root mean square of AdamW's, so learning rate and decay mean the same.
    """

    def __init__(
        self, groups: list[dict[str, Any]], settings: dict[str, Any], device: torch.device
    ) -> None:
        super().__init__(groups, **settings)
        self.device = device
        self.matrices: dict[Tensor, list[Matrix]] = {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the groups that DeepSpeed has put in place: all, or one after the other."""
        groups = self.param_groups
        for group in groups:
            if "momentum" in group:
                for flat in group["params"]:
                    self._update_matrices(flat, group)
        self.param_groups = [group for group in groups if "momentum" not in group]
        if any(group["params"] for group in self.param_groups):
            super().step(closure)
        self.param_groups = groups

    def _update_matrices(self, flat: Tensor, group: dict[str, Any]) -> None:
        beta, lr = group["momentum"], group["lr"]
        state = self.state[flat]
        if MOMENTUM not in state:
            state[MOMENTUM] = torch.zeros_like(flat)
        assert flat.grad is not None
        state[MOMENTUM].lerp_(flat.grad, 1 - beta)
        update = flat.grad.lerp(state[MOMENTUM], beta)
        matrices = self.matrices[flat]
        num_ranks = dist.get_world_size()
        for first in range(0, len(matrices), num_ranks):
            self._make_orthogonal(update, matrices[first : first + num_ranks])
        flat.mul_(1 - lr * group["weight_decay"]).sub_(update, alpha=lr)

    def _make_orthogonal(self, update: Tensor, matrices: list[Matrix]) -> None:
        """Replace the slices of at most one matrix a rank; a collective call."""
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        wholes = []
        for owner, (part, shape, _) in enumerate(matrices):
            whole = torch.zeros(math.prod(shape), dtype=dtype, device=self.device)
            whole[part.first : part.first + part.numel] = part.of(update)
            dist.reduce(whole, dst=owner)  # every element is on one rank, the others add 0
            wholes.append(whole)
        if dist.get_rank() < len(matrices):
            _, (rows, columns), num_stacked = matrices[dist.get_rank()]
            stack = wholes[dist.get_rank()].view(num_stacked, rows // num_stacked, columns)
            stack.copy_(orthogonalise(stack) * (0.2 * math.sqrt(max(stack.shape[1:]))))
        for owner, (part, _, _) in enumerate(matrices):
            dist.broadcast(wholes[owner], src=owner)
            part.copy_from(wholes[owner], update)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring every singular value of each matrix of a stack near 1, between 0.7 and 1.2.

    Five Newton-Schulz iterations of the fifth degree. Rows and columns of zeros stay zeros.
    """
    if is_tall := matrices.shape[-2] > matrices.shape[-1]:
        matrices = matrices.mT
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x
