"""The base-pair heads on packs of RNAs, and what a pass costs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from openrinalmo.model.heads import BasePairHead
from openrinalmo.model.pair_head_cost import count_concatenated_flops, count_head_flops
from openrinalmo.model.pair_head_linear import LinearPairHead
from openrinalmo.model.pair_head_packing import PairHeadConfig, group_by_length

EMBED_DIM = 5
GROUPED = PairHeadConfig(group_on_cpu=True)
LENGTHS = {
    "mixed": (7, 2, 9, 8, 3, 2, 30, 28),
    "equal": (6, 6, 6),
    "two": (2, 2),
    "one": (11,),
}


def build_head(config=GROUPED, channels=6):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BasePairHead(EMBED_DIM, channels=channels, config=config).double()


def random_pack(lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(lengths), EMBED_DIM, generator=generator, dtype=torch.float64)
    cu_seqlens = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32)
    return rows, cu_seqlens


def run(head, rows, cu_seqlens):
    """Logits of a pack and the gradient of a sum that weighs every logit differently."""
    rows = rows.clone().requires_grad_()
    logits = head.forward_packed(rows, cu_seqlens)
    inputs = [rows, *head.parameters()]
    return logits, torch.autograd.grad(weigh(logits), inputs)


def run_alone(head, rows, lengths):
    rows = rows.clone().requires_grad_()
    logits = [head(part) for part in rows.split(lengths)]
    return logits, torch.autograd.grad(weigh(logits), [rows, *head.parameters()])


def weigh(logits):
    total = torch.zeros((), dtype=torch.float64)
    for number, logits_LL in enumerate(logits, start=1):
        weight = torch.arange(logits_LL.numel()).double().view_as(logits_LL).sin()
        total = total + number * (logits_LL * weight).sum()
    return total


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("padding", [0.0, 0.25, 0.99])
def test_packed_equals_alone_forward_and_gradient(name, padding):
    lengths = LENGTHS[name]
    head = build_head(PairHeadConfig(group_on_cpu=True, max_padding=padding))
    rows, cu_seqlens = random_pack(lengths)
    packed, packed_gradients = run(head, rows, cu_seqlens)
    alone, alone_gradients = run_alone(head, rows, lengths)
    assert [tuple(logits.shape) for logits in packed] == [(length, length) for length in lengths]
    for one, other in zip(packed, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
        assert torch.equal(one, one.T)
        assert not one.diagonal().any()
    for one, other in zip(packed_gradients, alone_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_a_map_without_its_mask_would_differ():
    """The test above can fail: the masks do something."""
    head = build_head()
    rows, _ = random_pack((9,))
    padded = torch.cat([rows, torch.zeros(2, EMBED_DIM).double()])
    assert (head(padded)[:9, :9] - head(rows)).abs().max() > 1e-2


def test_packed_on_a_cpu_is_alone_to_the_bit():
    head = build_head(PairHeadConfig())
    rows, cu_seqlens = random_pack(LENGTHS["mixed"])
    packed = head.forward_packed(rows, cu_seqlens)
    for part, logits in zip(rows.split(LENGTHS["mixed"]), packed, strict=True):
        assert torch.equal(head(part), logits)


@pytest.mark.parametrize("name", LENGTHS)
def test_recomputing_changes_no_bit(name):
    rows, cu_seqlens = random_pack(LENGTHS[name])
    kept = run(build_head(), rows, cu_seqlens)
    config = PairHeadConfig(group_on_cpu=True, recompute_above_pairs=0)
    again = run(build_head(config), rows, cu_seqlens)
    for one, other in zip([*kept[0], *kept[1]], [*again[0], *again[1]], strict=True):
        assert torch.equal(one, other)


def test_recomputing_keeps_fewer_maps():
    def count_saved(config):
        saved = []

        def pack(tensor):
            saved.append(tensor.numel())
            return tensor

        rows, _ = random_pack((20,))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            build_head(config)(rows)
        return sum(number >= 6 * 20 * 20 for number in saved)

    assert count_saved(PairHeadConfig(recompute_above_pairs=0)) <= 4
    assert count_saved(PairHeadConfig()) >= 12


def test_groups_hold_like_lengths_within_the_budget():
    lengths = [100, 30, 98, 31, 2, 99, 100, 30, 400]
    config = PairHeadConfig(max_group_pairs=30_000, max_padding=0.1, group_on_cpu=True)
    groups = group_by_length(lengths, config, on_cpu=True)
    assert groups == [[8], [0, 6, 5], [2], [3, 1, 7], [4]]
    for group in groups:
        longest = max(lengths[index] for index in group)
        assert len(group) == 1 or len(group) * longest**2 <= 30_000
        assert all(lengths[index] ** 2 >= 0.9 * longest**2 for index in group)
    assert group_by_length([], config, on_cpu=False) == []
    one_by_one = PairHeadConfig(max_group_pairs=0)
    assert group_by_length([5, 9, 5], one_by_one, on_cpu=False) == [[1], [0], [2]]
    assert group_by_length([5, 9, 5], PairHeadConfig(), on_cpu=True) == [[0], [1], [2]]
    assert group_by_length([5, 9, 5], PairHeadConfig(), on_cpu=False) == [[1], [0, 2]]


@pytest.mark.parametrize("length", [2, 17, 40])
def test_flops_are_those_a_counter_sees(length):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = BasePairHead(48)
    with FlopCounterMode(display=False) as counter:
        head(torch.zeros(length, 48))
    assert counter.get_total_flops() == count_head_flops(length, 48)
    pairs = torch.zeros(length, length, 96)
    with FlopCounterMode(display=False) as counter:
        head.linear_in(pairs)
    map_only = count_head_flops(length, 48) - 2 * 2 * length * 48 * 64
    assert counter.get_total_flops() + map_only == count_concatenated_flops(length, 48)


def test_flops_of_training_and_of_other_sizes():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = BasePairHead(7, channels=4, num_blocks=3)
    rows = torch.zeros(9, 7, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        head(rows).sum().backward()
    assert counter.get_total_flops() == 3 * count_head_flops(9, 7, channels=4, num_blocks=3)


def test_linear_pair_head_by_hand():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = LinearPairHead(EMBED_DIM).double()
    rows, cu_seqlens = random_pack((4, 2, 7))
    product, total = head.linear.weight[0].tolist()[:EMBED_DIM], head.linear.weight[0].tolist()[5:]
    for part, logits in zip(
        rows.split((4, 2, 7)), head.forward_packed(rows, cu_seqlens), strict=True
    ):
        assert torch.equal(logits, head(part))
        assert torch.equal(logits, logits.T)
        for i in range(len(part)):
            assert logits[i, i] == 0
            for j in range(i):
                expected = head.output_bias.item() + sum(
                    p * x * y + s * (x + y)
                    for p, s, x, y in zip(
                        product, total, part[i].tolist(), part[j].tolist(), strict=True
                    )
                )
                assert logits[i, j].item() == pytest.approx(expected, abs=1e-12)


def test_linear_pair_head_finds_pairs_that_are_in_the_rows():
    """Logistic regression on products separates complementary letters from others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = LinearPairHead(2)
    plus, minus = [1.0, 0.0], [-1.0, 0.0]  # a pair is where the first columns have unlike signs
    rows = torch.tensor([plus, minus, plus, minus, minus, plus])
    target = (torch.outer(rows[:, 0], rows[:, 0]) < 0).float().triu(1)
    row, column = torch.triu_indices(6, 6, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        logits = head(rows)[row, column]
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target[row, column]).backward()
        optimizer.step()
    assert ((head(rows)[row, column] > 0).float() == target[row, column]).all()


@pytest.mark.parametrize("build", [build_head, lambda: LinearPairHead(EMBED_DIM).double()])
def test_wrong_packs_are_refused(build):
    head = build()
    rows = torch.zeros(5, EMBED_DIM).double()
    with pytest.raises(ValueError, match=r"an RNA of 1 nt has no pairs"):
        head.forward_packed(rows, torch.tensor([0, 4, 5]))
    with pytest.raises(ValueError, match=r"cu_seqlens must run from 0 to the 5 rows"):
        head.forward_packed(rows, torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"base-pair head reads"):
        head.forward_packed(rows[:, :3], torch.tensor([0, 5]))
    assert head.embed_dim == EMBED_DIM
    assert head.output_bias.shape == (1,)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_group_pairs": -1}, r"pair_head.max_group_pairs must not be negative, got -1"),
        ({"recompute_above_pairs": -1}, r"pair_head.recompute_above_pairs must not be"),
        ({"max_padding": 1.0}, r"pair_head.max_padding must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        PairHeadConfig(**setting)
