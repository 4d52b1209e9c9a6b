import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from openrinalmo.kernels import attention, attention_passes, reference
from support.attention_packs import DTYPES, AttentionPack, draw_pack
from support.gradients import assert_op_as_accurate, values_and_grads
from support.triton_device import DEVICE, runs_kernels

# Tiles are of 64 and 128 tokens on the one-tile path, then of 64 or 128 with steps of 64 or 32.
LENGTHS = [[1], [1, 2, 15, 16, 17], [63, 64, 65], [127, 0, 128], [129, 31], [191, 33], [193], [257]]
ON_GPU = pytest.mark.skipif(DEVICE.type != "cuda", reason="too long for Triton's interpreter")


def attend(pack: AttentionPack, **options):
    return lambda q, k, v: attention.attention(q, k, v, pack.cu_seqlens, pack.max_seqlen, **options)


def attend_in_torch(pack: AttentionPack, **options):
    return lambda q, k, v: reference.attention(q, k, v, pack.cu_seqlens, pack.max_seqlen, **options)


def assert_matches_reference(pack: AttentionPack, **options) -> None:
    assert_op_as_accurate(
        attend(pack, **options),
        attend_in_torch(pack, **options),
        pack.inputs,
        [pack.grad],
        magnitudes=pack.magnitudes,
    )


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_every_length_matches_the_reference(lengths, dtype):
    num_heads = 2 if sum(lengths) < 100 else 1
    assert_matches_reference(draw_pack(lengths, head_dim=64, num_heads=num_heads, dtype=dtype))


@runs_kernels
@pytest.mark.parametrize(
    "lengths", [[1022], [1 + i % 4 for i in range(200)]], ids=["longest", "hundreds"]
)
def test_the_longest_sequence_and_hundreds_of_short_ones(lengths):
    assert_matches_reference(draw_pack(lengths, head_dim=32, num_heads=1, dtype=torch.float32))


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("head_dim", [16, 24, 32, 64, 128])
def test_every_head_dim_matches_the_reference_with_rotary_inside(head_dim, dtype):
    pack = draw_pack([17, 0, 130, 3], head_dim=head_dim, dtype=dtype)

    def rotate_and_attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = (reference.apply_rotary(x, pack.cos, pack.sin) for x in (q, k))
        return reference.attention(q, k, v, pack.cu_seqlens, pack.max_seqlen)

    assert_op_as_accurate(
        attend(pack, cos=pack.cos, sin=pack.sin),
        rotate_and_attend,
        pack.inputs,
        [pack.grad],
        magnitudes=pack.magnitudes,
    )


@runs_kernels
def test_any_scale():
    assert_matches_reference(draw_pack([20, 150], head_dim=16), softmax_scale=0.7)


@runs_kernels
def test_large_scores_neither_overflow_nor_vanish():
    pack = draw_pack([40, 140], head_dim=32, num_heads=1)
    pack.q.mul_(40)
    assert_matches_reference(pack)


@runs_kernels
@pytest.mark.parametrize("length", [40, 140])
def test_keys_past_the_end_weigh_nothing_where_all_scores_are_far_below_zero(length):
    """Their score of zero would then be 2**200 times more than all others together."""
    pack = draw_pack([length], head_dim=32, num_heads=1)
    pack.q[..., :16], pack.k[..., :16] = 7, -7
    _, *grads = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    _, *exact = values_and_grads(
        attend_in_torch(pack), [x.double() for x in pack.inputs], [pack.grad.double()]
    )
    for ours, truth in zip(grads, exact, strict=True):
        torch.testing.assert_close(ours.double(), truth, atol=1e-3, rtol=0)


@runs_kernels
def test_packed_projection_gives_the_same_as_its_parts():
    pack = draw_pack([17, 130], head_dim=32, dtype=torch.float16)
    qkv = torch.stack(pack.inputs, dim=1)
    tables = {"cos": pack.cos, "sin": pack.sin}
    out, *grads = values_and_grads(attend(pack, **tables), pack.inputs, [pack.grad])
    packed_out, grad_qkv = values_and_grads(
        lambda qkv: attention.rotary_attention(qkv, **tables, **lengths_of(pack)),
        [qkv],
        [pack.grad],
    )
    assert torch.equal(packed_out, out)
    assert grad_qkv.is_contiguous()
    assert torch.equal(grad_qkv, torch.stack(grads, dim=1))


def lengths_of(pack: AttentionPack):
    return {"cu_seqlens": pack.cu_seqlens, "max_seqlen": pack.max_seqlen}


@runs_kernels
def test_strided_inputs_and_gradients_are_read_where_they_lie_and_never_written():
    # Multiples of 16 in every layout, so that one compiled kernel takes them all.
    pack = draw_pack([17, 130], head_dim=32, dtype=torch.float16)
    dense = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    views = torch.stack(pack.inputs, dim=1).unbind(1)
    by_head = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (*views, pack.grad)]
    for inputs, grad in ((views, pack.grad), (by_head[:3], by_head[3])):
        assert not inputs[0].is_contiguous()
        before = [x.clone() for x in (*inputs, grad)]
        strided = values_and_grads(attend(pack), inputs, [grad])
        assert all(map(torch.equal, strided, dense))
        assert all(map(torch.equal, (*inputs, grad), before))


@runs_kernels
def test_the_gradient_of_a_sum_is_one_expanded_number():
    pack = draw_pack([9], head_dim=16)
    q = pack.q.requires_grad_()
    attend(pack)(q, pack.k, pack.v).sum().backward()
    assert q.grad is not None
    expected = values_and_grads(attend(pack), pack.inputs, [torch.ones_like(q)])[1]
    assert torch.equal(q.grad, expected)


@runs_kernels
@pytest.mark.parametrize("length", [1, 17, 65, 130])
def test_a_sequence_is_deaf_to_its_neighbours(length):
    pack = draw_pack([30, length, 30], head_dim=64, num_heads=1, dtype=torch.float16)
    clean = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    for x in (*pack.inputs, pack.grad):
        x[:30] = torch.nan
        x[30 + length :] = torch.nan
    poisoned = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    for ours, expected in zip(poisoned, clean, strict=True):
        assert torch.equal(ours[30 : 30 + length], expected[30 : 30 + length])
        assert ours[:30].isnan().all()


@runs_kernels
def test_unused_slots_of_a_list_of_tiles_are_skipped(monkeypatch):
    pack = draw_pack([17, 130], head_dim=32, dtype=torch.float16)
    exact = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    tiles_of = attention_passes.tiles_of

    def with_unused_slots(*args, **kwargs):
        tiles_N3 = tiles_of(*args, **kwargs)
        return torch.cat([tiles_N3, tiles_N3.new_zeros(3, 3)])

    monkeypatch.setattr(attention_passes, "tiles_of", with_unused_slots)
    bounded = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    assert all(map(torch.equal, bounded, exact))


@runs_kernels
def test_the_same_call_gives_the_same_bits():
    pack = draw_pack([17, 150], head_dim=64, dtype=torch.float16)
    first, second = (values_and_grads(attend(pack), pack.inputs, [pack.grad]) for _ in range(2))
    assert all(map(torch.equal, first, second))


@runs_kernels
def test_no_tokens():
    x = torch.empty(0, 2, 16, device=DEVICE, requires_grad=True)
    cu_seqlens = torch.zeros(3, dtype=torch.int32)
    out = attention.attention(x, x, x, cu_seqlens, 0)
    out.sum().backward()
    assert out.shape == (0, 2, 16)
    assert x.grad is not None


@pytest.mark.gpu
@ON_GPU
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize(
    "lengths", [[1022, 1024, 700, 1022], [20 + i % 110 for i in range(400)]], ids=["long", "many"]
)
def test_real_sizes_match_the_reference(lengths, dtype):
    assert_matches_reference(draw_pack(lengths, head_dim=64, num_heads=4, dtype=dtype))


@pytest.mark.gpu
@ON_GPU
def test_lengths_on_the_cpu_and_on_the_gpu_give_the_same_bits():
    pack = draw_pack([5, 0, 700, 64, 65, 128, 129, 1022], head_dim=64, dtype=torch.bfloat16)
    on_gpu = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    cu_seqlens = pack.cu_seqlens.cpu()
    on_cpu = values_and_grads(
        lambda q, k, v: attention.attention(q, k, v, cu_seqlens, pack.max_seqlen),
        pack.inputs,
        [pack.grad],
    )
    assert all(map(torch.equal, on_gpu, on_cpu))


@pytest.mark.gpu
@ON_GPU
def test_offsets_past_two_to_the_31():
    lengths, stride = [130, 100, 60], 2**23
    far = torch.empty(sum(lengths) * stride, dtype=torch.float16, device=DEVICE)
    pack = draw_pack(lengths, head_dim=64, num_heads=1, dtype=torch.float16)
    near = values_and_grads(attend(pack), pack.inputs, [pack.grad])
    inputs = [
        far[64 * i :].as_strided(x.shape, (stride, 64, 1)).copy_(x)
        for i, x in enumerate(pack.inputs)
    ]
    assert inputs[0].stride(0) * sum(lengths) > 2**31
    assert all(map(torch.equal, values_and_grads(attend(pack), inputs, [pack.grad]), near))


@pytest.mark.skipif(attention.INTERPRETED, reason="under the interpreter a CPU will do")
def test_a_cpu_without_the_interpreter_is_refused():
    x = torch.zeros(4, 1, 16)
    with pytest.raises(ValueError, match="need a CUDA device and q is on cpu"):
        attention.attention(x, x, x, torch.tensor([0, 4]).int(), 4)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(*shape, dtype=dtype, device=DEVICE)


GOOD = zeros(6, 2, 16)


@runs_kernels
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((zeros(6, 2, 48), GOOD, GOOD), r"head_dim of 16, 24, 32, 64, 128; got \(6, 2, 48\)"),
        ((zeros(6, 16), GOOD, GOOD), r"got \(6, 16\)"),
        (
            (zeros(6, 2, 16, dtype=torch.float64),) * 3,
            "bfloat16, float16 or float32, got torch.float64",
        ),
        ((GOOD, zeros(5, 2, 16), GOOD), r"k must be \(6, 2, 16\) .* got \(5, 2, 16\)"),
        ((GOOD, GOOD, GOOD.half()), "v must be .* got .* in torch.float16"),
        ((zeros(6, 16, 2).transpose(1, 2), GOOD, GOOD), r"q must .* got strides \(32, 1, 2\)"),
        ((GOOD, zeros(6, 2, 20)[..., :16], GOOD), r"k must .* got strides \(40, 20, 1\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    q, k, v = inputs
    with pytest.raises(ValueError, match=message):
        attention.attention(q, k, v, torch.tensor([0, 6]).int(), 6)


@runs_kernels
def test_tokens_too_far_apart_for_int32_are_refused():
    far = torch.empty(2**24 + 16, device=DEVICE).as_strided((2, 1, 16), (2**24, 16, 1))
    near = zeros(2, 1, 16)
    with pytest.raises(ValueError, match=r"v must .* 16,777,216 elements apart, got .*\(16777216,"):
        attention.attention(near, near, far, torch.tensor([0, 2]).int(), 2)


@runs_kernels
@pytest.mark.parametrize(
    ("cu_seqlens", "max_seqlen", "message"),
    [
        (torch.tensor([0, 6]), 6, "one-dimensional int32 .* got torch.int64"),
        (torch.tensor([6]).int(), 6, r"got torch.int32 \(1,\)"),
        (torch.tensor([0, 5]).int(), 6, r"rise from 0 to the 6 tokens, got \[0, 5\]"),
        (torch.tensor([0, 4, 2, 6]).int(), 6, r"got \[0, 4, 2, 6\]"),
        (torch.tensor([0, 1, 6]).int(), 4, "max_seqlen is 4 but the longest sequence has 5"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(cu_seqlens, max_seqlen, message):
    with pytest.raises(ValueError, match=message):
        attention.attention(GOOD, GOOD, GOOD, cu_seqlens, max_seqlen)


@runs_kernels
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout_p": 1.0}, r"dropout_p must be in \[0, 1\), got 1.0"),
        ({"dropout_p": 0.1, "dropout_seed": -1}, "dropout_seed must be .* got -1"),
        ({"softmax_scale": 0.0}, "softmax_scale must be positive, got 0.0"),
        ({"cos": zeros(6, 8)}, "come together, got no sin"),
        ({"cos": zeros(6, 4), "sin": zeros(6, 4)}, r"cos and sin must be \(6, 8\)"),
        (
            {"cos": zeros(6, 16)[:, ::2], "sin": zeros(6, 8)},
            r"cos must be contiguous float32, got torch.float32 with strides \(16, 2\)",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attention.attention(GOOD, GOOD, GOOD, torch.tensor([0, 6]).int(), 6, **options)
