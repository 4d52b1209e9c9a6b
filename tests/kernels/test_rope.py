import pytest
import torch

pytest.importorskip("triton")
from openrinalmo.kernels import reference, rope
from support.gradients import assert_op_as_accurate, values_and_grads
from support.triton_device import DEVICE, runs_kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def tables(num_tokens: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    positions = torch.arange(num_tokens, device=DEVICE) * 37 % 1024
    return reference.rotary_tables(positions, head_dim)


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 2), (7, 3, 64), (33, 40, 24), (423, 10, 16), (5, 9, 128)], ids=str
)
def test_matches_the_reference_forward_and_gradient(shape, dtype):
    cos, sin = tables(shape[0], shape[2])
    x, grad = draw(2, *shape).to(dtype)
    assert_op_as_accurate(
        lambda x: rope.apply_rotary(x, cos, sin),
        lambda x: reference.apply_rotary(x, cos.to(x.dtype).float(), sin.to(x.dtype).float()),
        [x],
        [grad],
    )


@runs_kernels
def test_q_and_k_of_a_packed_projection_turn_in_one_launch_without_a_copy():
    qkv = draw(33, 3, 5, 24).contiguous()
    before = qkv.clone()
    cos, sin = tables(33, 24)
    both = qkv[:, :2].flatten(1, 2)
    assert both.data_ptr() == qkv.data_ptr()
    turned = rope.apply_rotary(both, cos, sin).unflatten(1, (2, 5))
    for i in range(2):
        exact = reference.apply_rotary(qkv[:, i].double(), cos, sin)
        torch.testing.assert_close(turned[:, i].double(), exact, atol=2e-6, rtol=0)
    assert torch.equal(qkv, before)


@runs_kernels
def test_any_strides_of_input_and_gradient():
    cos, sin = tables(12, 16)
    x, grad = draw(2, 16, 3, 12).permute(0, 3, 2, 1)
    assert x.stride() == (1, 12, 36)
    strided = values_and_grads(lambda x: rope.apply_rotary(x, cos, sin), [x], [grad])
    dense = values_and_grads(
        lambda x: rope.apply_rotary(x, cos, sin), [x.contiguous()], [grad.contiguous()]
    )
    for ours, theirs in zip(strided, dense, strict=True):
        torch.testing.assert_close(ours, theirs)


@runs_kernels
@pytest.mark.parametrize("head_dim", [16, 24])
def test_never_reads_a_neighbour(head_dim):
    cos, sin = tables(7, head_dim)
    poisoned = torch.full((9, 5, head_dim), torch.nan, device=DEVICE)
    x = poisoned[1:8, 1:4]
    x.copy_(draw(7, 3, head_dim))
    exact = reference.apply_rotary(x.double(), cos, sin)
    torch.testing.assert_close(
        rope.apply_rotary(x, cos, sin).double(), exact, atol=2e-6, rtol=0, equal_nan=False
    )


@runs_kernels
def test_the_backward_turns_back():
    cos, sin = tables(40, 24)
    x = draw(40, 3, 24)
    turned, back = values_and_grads(
        lambda x: rope.apply_rotary(x, cos, sin), [x], [rope.apply_rotary(x, cos, sin)]
    )
    assert not torch.allclose(turned, x)
    torch.testing.assert_close(back, x, atol=2e-6, rtol=0)


@pytest.mark.parametrize("op", [rope.apply_rotary, reference.apply_rotary], ids=["triton", "torch"])
@pytest.mark.parametrize(
    ("x", "cos", "message"),
    [
        (torch.zeros(4, 4), torch.zeros(4, 2), r"\(tokens, heads, head_dim\); got shape \(4, 4\)"),
        (torch.zeros(4, 1, 5), torch.zeros(4, 2), "even head_dim, got 5"),
        (torch.zeros(4, 1, 4), torch.zeros(3, 2), r"must be \(4, 2\) .* got \(3, 2\)"),
        (torch.zeros(4, 1, 4), torch.zeros(4, 2).bfloat16(), "float32, got torch.bfloat16"),
        (torch.zeros(4, 1, 4).int(), torch.zeros(4, 2), "floating dtype, got torch.int32"),
        (torch.zeros(4, 1, 4), torch.zeros(4, 2, device="meta"), "x on cpu, cos on meta"),
    ],
)
def test_refuses_what_does_not_fit(op, x, cos, message):
    with pytest.raises(ValueError, match=message):
        op(x, cos, cos)


def test_the_kernel_refuses_float64():
    with pytest.raises(ValueError, match=r"got torch.float64; set model\.kernels=reference"):
        rope.apply_rotary(torch.zeros(1, 1, 2).double(), torch.zeros(1, 1), torch.zeros(1, 1))
