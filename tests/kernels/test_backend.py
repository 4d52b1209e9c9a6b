import pytest
import torch

from openrinalmo.kernels import backend, reference

CPU = torch.device("cpu")


def test_auto_takes_the_reference_on_a_cpu_and_says_why_nothing_else():
    attend, why = backend.choose_attention("auto", device=CPU, dtype=torch.float32, dropout_p=0.1)
    assert attend is reference.attention
    assert why.startswith("reference (no flash: ")
    assert "varlen" in why


@pytest.mark.parametrize("name", ["flash", "varlen"])
def test_a_named_implementation_that_cannot_run_is_refused(name):
    with pytest.raises(ValueError, match=f"attention={name} cannot run here: .*(CUDA|installed)"):
        backend.choose_attention(name, device=CPU, dtype=torch.bfloat16, dropout_p=0.0)


def test_dropout_rules_out_varlen():
    cuda = torch.device("cuda")
    with pytest.raises(ValueError, match=r"no dropout and model\.attention_dropout is 0\.1"):
        backend.choose_attention("varlen", device=cuda, dtype=torch.bfloat16, dropout_p=0.1)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="auto or one of flash, varlen, reference; got fa"):
        backend.choose_attention("fa", device=CPU, dtype=torch.float32, dropout_p=0.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["varlen", "flash"])
def test_gpu_implementations_match_the_reference(name):
    device, lengths = torch.device("cuda"), [17, 1, 300, 64]
    try:
        attend, _ = backend.choose_attention(
            name, device=device, dtype=torch.bfloat16, dropout_p=0.0
        )
    except ValueError as error:
        pytest.skip(str(error))
    gen = torch.Generator(device).manual_seed(0)
    q, k, v = torch.randn(3, sum(lengths), 4, 64, generator=gen, device=device).bfloat16()
    cu_seqlens = torch.tensor([0, *lengths], device=device).cumsum(0).int()
    exact = reference.attention(q.double(), k.double(), v.double(), cu_seqlens, 300)
    same = reference.attention(q, k, v, cu_seqlens, 300)
    allowed = 2 * (same.double() - exact).abs().max() + torch.finfo(torch.bfloat16).eps
    assert (attend(q, k, v, cu_seqlens, 300).double() - exact).abs().max() <= allowed
