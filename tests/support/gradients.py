"""A value and its gradients, in several precisions, ready to be compared."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from support.numerics import assert_as_accurate_as_torch


def values_and_grads(
    op: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    """Outputs of `op`, then the gradient of each input for the given gradients of the outputs."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = op(*leaves)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    input_grads = torch.autograd.grad(outputs, leaves, grads)
    return [*(out.detach() for out in outputs), *input_grads]


def assert_op_as_accurate(
    actual: Callable[..., Tensor | tuple[Tensor, ...]],
    reference: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    *,
    magnitudes: Sequence[float] | None = None,
) -> None:
    """Compare values and all gradients of `actual` with `reference` in float64, by the 2x rule."""
    exact = values_and_grads(reference, [x.double() for x in inputs], [g.double() for g in grads])
    same = values_and_grads(reference, inputs, grads)
    ours = values_and_grads(actual, inputs, grads)
    for out, theirs, truth, magnitude in zip(
        ours, same, exact, magnitudes or [0.0] * len(ours), strict=True
    ):
        assert out.dtype == theirs.dtype
        assert out.shape == theirs.shape
        assert_as_accurate_as_torch(out, theirs, truth, magnitude=magnitude)
