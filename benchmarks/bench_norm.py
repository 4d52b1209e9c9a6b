"""LayerNorm and residual add with LayerNorm at width 1280, against torch, compile and Liger."""

import torch
from elementwise import Op, bench_op
from gpu import DEVICE, needs_gpu
from rivals import load_liger

from openrinalmo.kernels import norm, reference

NUM_TOKENS, WIDTH = 32_768, 1280
EPS = 1e-5


def main() -> None:
    """Measure and append rows."""
    if needs_gpu("bench_norm"):
        return
    gen = torch.Generator(DEVICE).manual_seed(0)
    x, residual = torch.randn(2, NUM_TOKENS, WIDTH, generator=gen, device=DEVICE).bfloat16()
    weight, bias = torch.randn(2, WIDTH, generator=gen, device=DEVICE).bfloat16()
    liger = load_liger().get("norm")

    plain: dict[str, Op] = {
        "triton": norm.layer_norm,
        "torch": reference.layer_norm,
        "compile": torch.compile(reference.layer_norm),
    }
    joint: dict[str, Op] = {
        "triton": norm.residual_layer_norm,
        "torch": reference.residual_layer_norm,
        "compile": torch.compile(reference.residual_layer_norm),
    }
    if liger:
        plain["liger"] = lambda x, weight, bias: liger(x, weight, bias, EPS)

        def add_then_liger(
            x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            total = x + residual
            return total, liger(total, weight, bias, EPS)

        joint["add, liger"] = add_then_liger
    case = f"{WIDTH}-{NUM_TOKENS // 1024}k"
    bench_op(
        "norm",
        f"norm-{case}",
        plain,
        [x, weight, bias],
        exact=reference.layer_norm,
        forward_bytes=2 * x.nbytes,
        backward_bytes=3 * x.nbytes,
    )
    bench_op(
        "norm",
        f"add+norm-{case}",
        joint,
        [x, residual, weight, bias],
        exact=reference.residual_layer_norm,
        forward_bytes=4 * x.nbytes,
        backward_bytes=4 * x.nbytes,
    )


if __name__ == "__main__":
    main()
