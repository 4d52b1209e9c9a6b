"""Nothing straddles a split: groups, copies, near copies."""

from collections import Counter

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.sequence_tasks.near_duplicates import find_near
from openrinalmo.pipeline.downstream.sequence_tasks.splits import (
    draw_groups,
    draw_limited,
    keep_apart,
)
from openrinalmo.pipeline.downstream.tasks.task import Example
from support.sequence_tasks import draw_sequence


def build_examples(num=200, num_groups=40, seed=0):
    generator = np.random.default_rng(seed)
    return [
        Example(
            id=str(number),
            sequence=draw_sequence(generator, 60),
            target=float(number % num_groups % 2),
            group=f"g{number % num_groups}" if number % 3 else "",
        )
        for number in range(num)
    ]


@pytest.mark.parametrize("by_target", [True, False])
def test_groups_stay_whole_and_the_share_is_near(by_target):
    examples = build_examples()
    drawn = draw_groups(examples, range(200), 0.2, seed=1, by_target=by_target)
    rest = set(range(200)) - set(drawn)
    assert not {examples[i].group for i in drawn} & {examples[i].group for i in rest} - {""}
    assert 30 <= len(drawn) <= 50
    assert drawn == draw_groups(examples, range(200), 0.2, seed=1, by_target=by_target)
    assert drawn != draw_groups(examples, range(200), 0.2, seed=2, by_target=by_target)
    if by_target:
        counts = Counter(examples[i].target for i in drawn)
        assert abs(counts[0.0] - counts[1.0]) <= 8


def test_every_target_gives_and_keeps_a_group_where_it_can():
    examples = [
        Example(id=str(n), sequence="A", target=float(target))
        for n, target in enumerate([0, 1, 1, 2, 2, 2])
    ]
    drawn = draw_groups(examples, range(6), 0.1, seed=0, by_target=True)
    assert sorted(examples[i].target for i in drawn) == [1, 2]


def test_fit_is_kept_apart_by_group_copy_and_near_copy():
    generator = np.random.default_rng(3)
    first, second, other = (draw_sequence(generator, 80) for _ in range(3))
    examples = [
        Example(id="held", sequence=first, target=0, group="a"),
        Example(id="group", sequence=other, target=0, group="a"),
        Example(id="copy", sequence=first, target=0, group="b"),
        Example(id="near", sequence=first[10:] + "ACGUACGUAC", target=0),
        Example(id="kept", sequence=second, target=0),
        # All of what is held out is in it, but that is a third of it.
        Example(id="holds", sequence=second + first + second, target=0),
    ]
    apart = keep_apart(examples, [1, 2, 3, 4, 5], [0])
    assert apart == ((4,), 1, 1, 2)
    described = apart.describe("fit", "test")
    assert "1 of a group, 1 with the sequence and 2 that share half the 16-mers" in described
    kept = [examples[i].sequence for i in apart.kept]
    assert not find_near(kept, [first]).any()
    assert not find_near([first], kept).any()
    assert keep_apart(examples, [1, 2], []).kept == (1, 2)


def test_a_lower_limit_draws_a_part_of_a_higher_one():
    examples = build_examples()
    for by_target in (True, False):
        few, many = (
            draw_limited(examples, range(200), limit, seed=0, by_target=by_target)
            for limit in (20, 90)
        )
        assert len(few) == 20
        assert len(many) == 90
        assert set(few) < set(many)
    counts = Counter(
        examples[i].target for i in draw_limited(examples, range(200), 20, seed=0, by_target=True)
    )
    assert counts == {0.0: 10, 1.0: 10}


def test_a_rare_target_is_drawn_whole_before_the_rest_is_filled():
    examples = [Example(id=str(n), sequence="A", target=float(n < 3)) for n in range(50)]
    drawn = draw_limited(examples, range(50), 10, seed=0, by_target=True)
    assert {0, 1, 2} <= set(drawn)
    assert draw_limited(examples, range(50), 0, seed=0, by_target=True) == tuple(range(50))
