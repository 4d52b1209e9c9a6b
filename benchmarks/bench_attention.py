"""Packed attention, forward and backward, against what users would pick instead.

On a GPU: 20 heads of 64 in bf16, dense lengths and two mixes of real lengths. On a CPU: the packed
reference against padded SDPA, in fp32, on the same mixes.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from gpu import DEVICE, Providers, keep_correct, report, report_ceilings
from length_mixes import build_cu_seqlens, draw_mix
from rivals import load_flex_attention, load_masked_sdpa, load_padded_sdpa, pad
from torch import Tensor
from torch.nn.attention import SDPBackend

from openrinalmo.kernels import reference
from openrinalmo.kernels.varlen import load_flash, load_varlen

NUM_HEADS, HEAD_DIM = 20, 64
DENSE_LENGTHS = (128, 256, 512, 1024)
GPU_TOKENS = (32_768, 65_536)
CPU_TOKENS = 4096
MIXES = ("rnacentral", "short")
LARGEST_ERROR = 0.02
"""Of the largest value; bf16 itself is off by 0.4 %. Finds a wrong op, not an imprecise one."""


def main() -> None:
    """Measure every case of this device and append rows."""
    if DEVICE.type != "cuda":
        for mix in MIXES:
            _bench_case(f"mix-{mix}-{CPU_TOKENS // 1024}k", draw_mix(mix, CPU_TOKENS))
        return
    report_ceilings()
    for length in DENSE_LENGTHS:
        _bench_case(f"dense-{length}", [length] * (GPU_TOKENS[0] // length))
    for mix in MIXES:
        for num_tokens in GPU_TOKENS:
            _bench_case(f"mix-{mix}-{num_tokens // 1024}k", draw_mix(mix, num_tokens))


def _bench_case(case: str, lengths: list[int]) -> None:
    dtype = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    gen = torch.Generator(DEVICE).manual_seed(0)
    shape = (4, sum(lengths), NUM_HEADS, HEAD_DIM)
    q, k, v, grad = torch.randn(shape, generator=gen, device=DEVICE).to(dtype)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    padded_leaves = [pad(x.detach(), lengths).requires_grad_() for x in (q, k, v)]
    padded_grad = pad(grad, lengths)
    packed = _packed_providers(lengths)
    padded = _padded_providers(lengths)

    with torch.no_grad():
        cu_seqlens = build_cu_seqlens(lengths, DEVICE)
        exact = reference.attention(q.float(), k.float(), v.float(), cu_seqlens, max(lengths))
        forward: Providers = keep_correct(
            {name: partial(attend, *leaves) for name, attend in packed.items()},
            exact,
            at_most=LARGEST_ERROR,
        )
        is_dense = len(set(lengths)) == 1
        rows: Providers = {name: partial(attend, *padded_leaves) for name, attend in padded.items()}
        if is_dense or DEVICE.type != "cuda":
            rows = keep_correct(rows, pad(exact, lengths), at_most=LARGEST_ERROR)
        flop = 4 * NUM_HEADS * HEAD_DIM * sum(length**2 for length in lengths)
        report("attention", case, "fwd", {**forward, **rows}, flop=flop)

    def train(attend: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> None:
        torch.autograd.grad(attend(*inputs), inputs, grad)

    both = {name: partial(train, packed[name], leaves, grad) for name in forward}
    both |= {name: partial(train, padded[name], padded_leaves, padded_grad) for name in rows}
    report("attention", case, "fwd+bwd", both, flop=3.5 * flop)
    if DEVICE.type == "cuda":
        outputs = {name: (packed[name](*leaves), leaves, grad) for name in forward}
        outputs |= {
            name: (padded[name](*padded_leaves), padded_leaves, padded_grad) for name in rows
        }
        backward = {
            name: partial(torch.autograd.grad, *arguments, retain_graph=True)
            for name, arguments in outputs.items()
        }
        report("attention", case, "bwd", backward, flop=2.5 * flop)


def _packed_providers(lengths: list[int]) -> dict[str, Callable[..., Tensor]]:
    pack = {"cu_seqlens": build_cu_seqlens(lengths, DEVICE), "max_seqlen": max(lengths)}
    if DEVICE.type != "cuda":
        return {"reference": partial(reference.attention, **pack)}
    from openrinalmo.kernels.attention import attention

    providers = {
        "triton": partial(attention, **pack),
        "varlen": partial(load_varlen(), **pack),
        "flex": load_flex_attention(lengths, DEVICE),
    }
    if find_spec("flash_attn"):
        providers["flash"] = partial(load_flash(), **pack)
    return providers


def _padded_providers(lengths: list[int]) -> dict[str, Callable[..., Tensor]]:
    if DEVICE.type == "cuda":
        return {
            "padded-flash": load_padded_sdpa(SDPBackend.FLASH_ATTENTION),
            "padded-cudnn": load_padded_sdpa(SDPBackend.CUDNN_ATTENTION),
        }
    return {"padded-sdpa": load_masked_sdpa(lengths)}


if __name__ == "__main__":
    main()
