"""One way to time an element-wise op: forward, then backward alone, in GB/s of what must move."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from gpu import DEVICE, keep_correct, report
from torch import Tensor

Op = Callable[..., Tensor | tuple[Tensor, ...]]


def bench_op(
    bench: str,
    case: str,
    providers: Mapping[str, Op],
    inputs: Sequence[Tensor],
    *,
    exact: Op,
    forward_bytes: int,
    backward_bytes: int,
    largest_error: float = 0.02,
) -> None:
    """Check each provider against `exact` in fp32, then measure; bytes are the fewest possible."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.no_grad():
        truth = _last(exact(*(x.float() for x in inputs)))
        kept = keep_correct(
            {name: partial(_run, op, inputs) for name, op in providers.items()},
            truth,
            at_most=largest_error,
        )
        forward = {name: partial(providers[name], *inputs) for name in kept}
        report(bench, case, "fwd", forward, moved_bytes=forward_bytes)
    gen = torch.Generator(DEVICE).manual_seed(1)
    backward = {}
    for name in kept:
        outputs = providers[name](*leaves)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        grads = [
            torch.randn(out.shape, generator=gen, device=DEVICE).to(out.dtype) for out in outputs
        ]
        backward[name] = partial(
            torch.autograd.grad,
            outputs,
            leaves,
            grads,
            retain_graph=True,
            allow_unused=True,  # Liger's gate takes neither beta nor bias
        )
    report(bench, case, "bwd", backward, moved_bytes=backward_bytes)


def _run(op: Op, inputs: Sequence[Tensor]) -> Tensor:
    return _last(op(*inputs))


def _last(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[-1]
