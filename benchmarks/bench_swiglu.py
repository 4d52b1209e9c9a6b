"""The gate at the stored width of the 650 M model, against eager, compile and Liger.

Liger's gate has neither bias nor beta, so with beta 1 and no bias it computes the same from less.
"""

import torch
from elementwise import Op, bench_op
from gpu import DEVICE, needs_gpu
from rivals import load_liger

from openrinalmo.kernels import reference, swiglu

NUM_TOKENS, WIDTH = 32_768, 3456


def main() -> None:
    """Measure and append rows."""
    if needs_gpu("bench_swiglu"):
        return
    gen = torch.Generator(DEVICE).manual_seed(0)
    hidden = torch.randn(NUM_TOKENS, 2 * WIDTH, generator=gen, device=DEVICE).bfloat16()
    beta = torch.ones(1, device=DEVICE).bfloat16()
    bias = torch.zeros(2 * WIDTH, device=DEVICE).bfloat16()
    providers: dict[str, Op] = {
        "triton": swiglu.swiglu,
        "eager": reference.swiglu,
        "compile": torch.compile(reference.swiglu),
    }
    if liger := load_liger().get("swiglu"):
        providers["liger"] = lambda hidden, beta, bias: liger(*hidden.chunk(2, 1))
    bench_op(
        "swiglu",
        f"{WIDTH}-{NUM_TOKENS // 1024}k",
        providers,
        [hidden, beta, bias],
        exact=reference.swiglu,
        forward_bytes=hidden.nbytes * 3 // 2,
        backward_bytes=hidden.nbytes * 5 // 2,
    )


if __name__ == "__main__":
    main()
