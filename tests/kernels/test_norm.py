import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from openrinalmo.kernels import norm, reference
from support.gradients import assert_op_as_accurate, values_and_grads
from support.triton_device import DEVICE, runs_kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(1, 320), (423, 30), (70, 40), (33, 96), (5, 1280), (3, 2500)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def inputs_and_grads(
    shape: tuple[int, int], dtype: torch.dtype, *, residual: bool
) -> tuple[list[Tensor], list[Tensor]]:
    rows = 3 + 2 * draw(2, *shape)
    weight, bias = 1 + draw(2, shape[1], seed=1)
    grads = draw(2, *shape, seed=2)
    inputs = [*rows[: 1 + residual], weight, bias]
    return [x.to(dtype) for x in inputs], [g.to(dtype) for g in grads[: 1 + residual]]


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_matches_the_reference_forward_and_gradient(shape, dtype, residual):
    inputs, grads = inputs_and_grads(shape, dtype, residual=residual)
    if residual:
        assert_op_as_accurate(
            norm.residual_layer_norm, reference.residual_layer_norm, inputs, grads
        )
    else:
        assert_op_as_accurate(norm.layer_norm, reference.layer_norm, inputs, grads)


@runs_kernels
def test_any_strides():
    (x, residual, weight, bias), grads = inputs_and_grads((40, 48), torch.float32, residual=True)
    columns = [t.T.contiguous().T for t in (x, residual, *grads)]
    rows = [torch.cat([t, t], 1)[:, :48] for t in (x, residual, *grads)]
    dense = values_and_grads(norm.residual_layer_norm, [x, residual, weight, bias], grads)
    for strided in (columns, rows):
        assert strided[0].stride() != x.stride()
        actual = values_and_grads(
            norm.residual_layer_norm, [*strided[:2], weight, bias], strided[2:]
        )
        for ours, theirs in zip(actual, dense, strict=True):
            torch.testing.assert_close(ours, theirs)


@runs_kernels
def test_never_reads_a_neighbour():
    (x, weight, bias), (grad,) = inputs_and_grads((7, 30), torch.float32, residual=False)
    clean = values_and_grads(norm.layer_norm, [x, weight, bias], [grad])
    poisoned = torch.full((2, 9, 40), torch.nan, device=DEVICE)
    poisoned[:, 1:8, :30] = torch.stack([x, grad])
    x, grad = poisoned[:, 1:8, :30]
    for ours, theirs in zip(
        values_and_grads(norm.layer_norm, [x, weight, bias], [grad]), clean, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@runs_kernels
def test_a_sum_that_nobody_uses_and_a_norm_that_nobody_uses():
    (x, residual, weight, bias), (grad, _) = inputs_and_grads((9, 30), torch.float32, residual=True)
    leaves = [t.requires_grad_() for t in (x, residual, weight, bias)]
    normed = norm.residual_layer_norm(*leaves)[1]
    dx, d_residual, _, d_bias = torch.autograd.grad(normed, leaves, grad)
    expected = torch.autograd.grad(reference.residual_layer_norm(*leaves)[1], leaves, grad)
    assert torch.equal(dx, d_residual)
    torch.testing.assert_close(dx, expected[0], atol=2e-6, rtol=0)
    torch.testing.assert_close(d_bias, expected[3], atol=1e-5, rtol=0)
    summed = norm.residual_layer_norm(*leaves)[0]
    dx, d_residual = torch.autograd.grad(summed, leaves[:2], grad)
    assert torch.equal(dx, grad)
    assert torch.equal(d_residual, grad)


@runs_kernels
def test_bias_and_weight_gradients_match_finite_differences():
    (x, weight, bias), (grad,) = inputs_and_grads((21, 30), torch.float32, residual=False)
    _, _, d_weight, d_bias = values_and_grads(norm.layer_norm, [x, weight, bias], [grad])
    step = 0.25  # the norm is linear in both, so any step will do
    for index, analytic in ((1, d_weight), (2, d_bias)):
        for element in (0, 17, 29):
            moved = []
            for sign in (step, -step):
                inputs = [x, weight.clone(), bias.clone()]
                inputs[index][element] += sign
                moved.append((norm.layer_norm(*inputs) * grad).double().sum().item())
            numeric = (moved[0] - moved[1]) / (2 * step)
            assert numeric == pytest.approx(analytic[element].item(), abs=2e-4)


@pytest.mark.parametrize("ops", [norm, reference], ids=["triton", "torch"])
@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(4), torch.zeros(4), r"\(tokens, width\); got shape"),
        (torch.zeros(3, 4), torch.zeros(5), torch.zeros(4), r"weight must be \(4,\) .*\(5,\)"),
        (torch.zeros(3, 4), torch.zeros(4), torch.zeros(4, 1), r"bias must be \(4,\).*\(4, 1\)"),
        (torch.zeros(3, 4), torch.zeros(4).half(), torch.zeros(4), "weight torch.float16"),
        (torch.zeros(3, 4).int(), torch.zeros(4), torch.zeros(4), "got torch.int32"),
        (torch.zeros(3, 4), torch.zeros(4, device="meta"), torch.zeros(4), "weight on meta"),
    ],
)
def test_refuses_what_does_not_fit(ops, x, weight, bias, message):
    with pytest.raises(ValueError, match=message):
        ops.layer_norm(x, weight, bias)
    with pytest.raises(ValueError, match=message):
        ops.residual_layer_norm(x, x, weight, bias)


@pytest.mark.parametrize("ops", [norm, reference], ids=["triton", "torch"])
def test_refuses_a_residual_of_another_shape(ops):
    with pytest.raises(ValueError, match=r"x's shape \(3, 4\), got \(2, 4\)"):
        ops.residual_layer_norm(torch.zeros(3, 4), torch.zeros(2, 4), torch.ones(4), torch.ones(4))


def test_the_kernel_refuses_float64():
    with pytest.raises(ValueError, match=r"norm kernel takes .* got torch.float64"):
        norm.layer_norm(torch.zeros(1, 2).double(), *torch.ones(2, 2).double())
