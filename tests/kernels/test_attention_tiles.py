import pytest
import torch
from torch import Tensor

from openrinalmo.kernels.attention_tiles import build_tiles, check_lengths, tiles_of

CPU = torch.device("cpu")
LENGTHS = [5, 0, 200, 64, 65, 1, 128, 129, 64]


def cumulated(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


@pytest.mark.parametrize(
    ("block", "longer_than", "up_to"), [(64, 0, 64), (128, 64, 128), (64, 128, 200), (64, 0, 200)]
)
def test_tiles_cover_every_token_of_the_wanted_lengths_once_longest_first(
    block, longer_than, up_to
):
    tiles_N3 = build_tiles(
        cumulated(LENGTHS),
        block=block,
        longer_than=longer_than,
        up_to=up_to,
        num_tokens=sum(LENGTHS),
        exact=True,
    )
    covered = []
    for first, begin, end in tiles_N3.tolist():
        assert longer_than < end - begin <= up_to
        assert (first - begin) % block == 0
        covered += range(first, min(first + block, end))
    bounds = cumulated(LENGTHS).tolist()
    wanted = [
        token
        for begin, length in zip(bounds, LENGTHS, strict=False)
        if longer_than < length <= up_to
        for token in range(begin, begin + length)
    ]
    assert sorted(covered) == wanted
    lengths_N = tiles_N3[:, 2] - tiles_N3[:, 1]
    assert (lengths_N.diff() <= 0).all()


@pytest.mark.parametrize("lengths", [LENGTHS, [0, 0], [300], [1] * 50, [129] * 3, [64] * 7])
@pytest.mark.parametrize(("longer_than", "up_to"), [(0, 64), (64, 128), (128, 300)])
def test_without_counting_there_are_only_unused_rows_more(lengths, longer_than, up_to):
    counted, bounded = (
        build_tiles(
            cumulated(lengths),
            block=64,
            longer_than=longer_than,
            up_to=up_to,
            num_tokens=sum(lengths),
            exact=exact,
        )
        for exact in (True, False)
    )
    assert counted.dtype == bounded.dtype == torch.int32
    assert torch.equal(bounded[: len(counted)], counted)
    assert not bounded[len(counted) :].any()
    assert len(bounded) <= sum(lengths) // 64 + len(lengths)


def test_a_list_is_made_once_for_a_pack_and_anew_when_its_lengths_are_overwritten():
    cu_seqlens = cumulated([10, 20])
    request = {"block": 64, "longer_than": 0, "up_to": 64, "num_tokens": 30, "device": CPU}
    first = tiles_of(cu_seqlens, **request)
    assert tiles_of(cu_seqlens, **request) is first
    assert tiles_of(cu_seqlens, **{**request, "up_to": 15}).tolist() == [[0, 0, 10]]
    cu_seqlens[1] = 25
    assert tiles_of(cu_seqlens, **request).tolist() == [[0, 0, 25], [25, 25, 30]]


def test_overwritten_lengths_are_checked_again():
    cu_seqlens = cumulated([10, 20])
    check_lengths(cu_seqlens, 30, 20)
    cu_seqlens[1] = 2
    with pytest.raises(ValueError, match="max_seqlen is 20 but the longest sequence has 28"):
        check_lengths(cu_seqlens, 30, 20)


def test_lengths_made_for_inference_are_taken_too():
    with torch.inference_mode():
        cu_seqlens = cumulated([10, 20])
    check_lengths(cu_seqlens, 30, 20)
    request = {"block": 64, "longer_than": 0, "up_to": 64, "num_tokens": 30, "device": CPU}
    assert tiles_of(cu_seqlens, **request).tolist() == [[10, 10, 30], [0, 0, 10]]
