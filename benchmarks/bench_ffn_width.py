"""The feed-forward's three products at 3413, 3416 and 3456 neurons: what rows off 16 bytes cost."""

from functools import partial

import torch
import torch.nn.functional as F
from gpu import DEVICE, needs_gpu, report
from torch import Tensor

NUM_TOKENS, EMBED_DIM = 32_768, 1280
WIDTHS = (3413, 3416, 3456)


def main() -> None:
    """Measure and append rows; FLOPs are those of the published width, whatever is stored."""
    if needs_gpu("bench_ffn_width"):
        return
    gen = torch.Generator(DEVICE).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=gen, device=DEVICE).bfloat16()

    x = draw(NUM_TOKENS, EMBED_DIM)
    forward, backward = {}, {}
    for width in WIDTHS:
        weights = (draw(2 * width, EMBED_DIM), draw(EMBED_DIM, width))
        leaves = [t.detach().clone().requires_grad_() for t in (x, *weights)]
        hidden = draw(NUM_TOKENS, width).requires_grad_()
        forward[str(width)] = partial(_products, x, hidden.detach(), *weights)
        outputs = _products(leaves[0], hidden, *leaves[1:])
        grads = [draw(*out.shape) for out in outputs]
        backward[str(width)] = partial(
            torch.autograd.grad, outputs, [*leaves, hidden], grads, retain_graph=True
        )
    flop = 2 * NUM_TOKENS * EMBED_DIM * 3 * WIDTHS[0]
    case = f"giga-{NUM_TOKENS // 1024}k"
    with torch.no_grad():
        report("ffn_width", case, "fwd", forward, flop=flop)
    report("ffn_width", case, "bwd", backward, flop=2 * flop)


def _products(x: Tensor, hidden: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Both branches in one product, and the projection back; the gate between them is not timed."""
    return F.linear(x, up), F.linear(hidden, down)


if __name__ == "__main__":
    main()
