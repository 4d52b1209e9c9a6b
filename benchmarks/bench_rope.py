"""Rotary positions on queries and keys of a packed projection, against eager, compile and Liger."""

import torch
from elementwise import Op, bench_op
from gpu import DEVICE, needs_gpu
from length_mixes import draw_mix
from rivals import load_liger
from torch import Tensor

from openrinalmo.kernels import reference, rope

NUM_TOKENS, NUM_HEADS, HEAD_DIM = 32_768, 20, 64


def main() -> None:
    """Measure and append rows."""
    if needs_gpu("bench_rope"):
        return
    lengths = draw_mix("rnacentral", NUM_TOKENS)
    positions = torch.cat([torch.arange(length) for length in lengths]).to(DEVICE)
    cos, sin = reference.rotary_tables(positions, HEAD_DIM)
    gen = torch.Generator(DEVICE).manual_seed(0)
    shape = (NUM_TOKENS, 3, NUM_HEADS, HEAD_DIM)
    qkv = torch.randn(shape, generator=gen, device=DEVICE).bfloat16()
    both = qkv[:, :2].flatten(1, 2)
    eager = lambda x: reference.apply_rotary(x, cos, sin)  # noqa: E731
    providers: dict[str, Op] = {
        "triton": lambda x: rope.apply_rotary(x, cos, sin),
        "eager": eager,
        "compile": torch.compile(eager),
    }
    if liger := load_liger().get("rope"):
        full = [torch.cat([table, table], 1)[None].bfloat16() for table in (cos, sin)]

        def liger_rope(x_THK: Tensor) -> Tensor:
            q, k = (part.transpose(0, 1)[None] for part in x_THK.chunk(2, 1))
            q, k = liger(q, k, *full)
            return torch.cat([q, k], 1)[0].transpose(0, 1)

        providers["liger"] = liger_rope
    moved = 2 * both.numel() * both.element_size() + 2 * cos.nbytes
    bench_op(
        "rope",
        f"qk-{NUM_TOKENS // 1024}k",
        providers,
        [both],
        exact=eager,
        forward_bytes=moved,
        backward_bytes=moved,
    )


if __name__ == "__main__":
    main()
