import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from openrinalmo.kernels import reference, swiglu
from support.gradients import assert_op_as_accurate, values_and_grads
from support.triton_device import DEVICE, runs_kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(1, 128), (423, 30), (17, 40), (33, 320), (16, 96)]


def draw_inputs(
    shape: tuple[int, int], dtype: torch.dtype, *, bias: bool = True
) -> tuple[list[Tensor], Tensor]:
    gen = torch.Generator().manual_seed(0)
    num_tokens, width = shape
    hidden = 2 * torch.randn(num_tokens, 2 * width, generator=gen)
    biases = [torch.randn(2 * width, generator=gen)] if bias else []
    grad = torch.randn(num_tokens, width, generator=gen)
    inputs = [hidden, torch.tensor([0.7]), *biases]
    return [x.to(DEVICE, dtype) for x in inputs], grad.to(DEVICE, dtype)


def beta_terms(inputs: list[Tensor], grad: Tensor) -> float:
    """Size of the sum that beta's gradient would be if its terms did not cancel."""
    hidden, beta, *bias = (x.double() for x in inputs)
    a, g = (hidden + (bias[0] if bias else 0)).chunk(2, 1)
    gate = torch.sigmoid(beta * a)
    return (grad.double() * g * a.square() * gate * (1 - gate)).abs().sum().item()


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_matches_the_reference_forward_and_gradient(shape, dtype, bias):
    inputs, grad = draw_inputs(shape, dtype, bias=bias)
    assert_op_as_accurate(
        swiglu.swiglu,
        reference.swiglu,
        inputs,
        [grad],
        magnitudes=[0.0, 0.0, beta_terms(inputs, grad), *([0.0] if bias else [])],
    )


@runs_kernels
def test_beta_and_bias_gradients_match_finite_differences():
    (hidden, beta, bias), grad = draw_inputs((37, 30), torch.float32)
    _, _, d_beta, d_bias = values_and_grads(swiglu.swiglu, [hidden, beta, bias], [grad])

    def objective(beta: Tensor, bias: Tensor) -> float:
        return (swiglu.swiglu(hidden, beta, bias) * grad).double().sum().item()

    step = 2.0**-6
    numeric = (objective(beta + step, bias) - objective(beta - step, bias)) / (2 * step)
    assert numeric == pytest.approx(d_beta.item(), rel=1e-3)
    for element in (0, 29, 30, 59):
        one = torch.zeros_like(bias)
        one[element] = step
        numeric = (objective(beta, bias + one) - objective(beta, bias - one)) / (2 * step)
        assert numeric == pytest.approx(d_bias[element].item(), rel=2e-3, abs=2e-3)


@runs_kernels
def test_any_strides():
    inputs, grad = draw_inputs((20, 40), torch.float32)
    dense = values_and_grads(swiglu.swiglu, inputs, [grad])
    by_column = inputs[0].T.contiguous().T
    wide = torch.cat([inputs[0], inputs[0]], 1)[:, :80]
    for strided in (by_column, wide):
        actual = values_and_grads(swiglu.swiglu, [strided, *inputs[1:]], [grad.T.contiguous().T])
        for ours, theirs in zip(actual, dense, strict=True):
            torch.testing.assert_close(ours, theirs)


@runs_kernels
def test_never_reads_a_neighbour():
    (hidden, beta, bias), grad = draw_inputs((7, 30), torch.float32)
    clean = values_and_grads(swiglu.swiglu, [hidden, beta, bias], [grad])
    poisoned = torch.full((9, 80), torch.nan, device=DEVICE)
    poisoned[1:8, :60] = hidden
    actual = values_and_grads(swiglu.swiglu, [poisoned[1:8, :60], beta, bias], [grad])
    for ours, theirs in zip(actual, clean, strict=True):
        torch.testing.assert_close(ours, theirs)


@runs_kernels
def test_neurons_of_zero_weight_stay_zero():
    (hidden, beta, bias), grad = draw_inputs((9, 64), torch.float32)
    padding = [slice(50, 64), slice(114, 128)]
    for part in padding:
        hidden[:, part] = 0
        bias[part] = 0
    out, d_hidden, _, d_bias = values_and_grads(swiglu.swiglu, [hidden, beta, bias], [grad])
    assert not out[:, padding[0]].any()
    for part in padding:
        assert not d_hidden[:, part].any()
        assert not d_bias[part].any()


@runs_kernels
def test_large_activations_do_not_overflow():
    hidden = torch.tensor([[-1e4, 1e4, 2.0, 3.0]], device=DEVICE)
    beta, grad = torch.ones(1, device=DEVICE), torch.ones(1, 2, device=DEVICE)
    out, d_hidden, d_beta = values_and_grads(swiglu.swiglu, [hidden, beta], [grad])
    assert out.tolist() == [[0.0, 3e4]]
    assert d_hidden.tolist() == [[0.0, 3.0, 0.0, 1e4]]
    assert d_beta.item() == 0


@pytest.mark.parametrize("op", [swiglu.swiglu, reference.swiglu], ids=["triton", "torch"])
@pytest.mark.parametrize(
    ("hidden", "beta", "bias", "message"),
    [
        (torch.zeros(2, 5), torch.ones(1), None, r"even width; got shape \(2, 5\)"),
        (torch.zeros(2, 4), torch.ones(2), None, r"beta must be one number, got shape \(2,\)"),
        (torch.zeros(2, 4), torch.ones(1), torch.zeros(2), r"bias must be \(4,\).* got \(2,\)"),
        (torch.zeros(2, 4), torch.ones(1).half(), None, "beta torch.float16"),
        (torch.zeros(2, 4).int(), torch.ones(1).int(), None, "got torch.int32"),
        (torch.zeros(2, 4), torch.ones(1, device="meta"), None, "beta on meta"),
    ],
)
def test_refuses_what_does_not_fit(op, hidden, beta, bias, message):
    with pytest.raises(ValueError, match=message):
        op(hidden, beta, bias)


def test_the_kernel_refuses_float64():
    with pytest.raises(ValueError, match=r"swiglu kernel takes .* got torch.float64"):
        swiglu.swiglu(torch.zeros(1, 2).double(), torch.ones(1).double())
