"""Every example once an epoch, within both limits, in an order that (seed, epoch) alone decides."""

import itertools

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.fitting.fit_batches import BatchPlan, split_packs

GENERATOR = np.random.default_rng(0)
LENGTHS = {int(index): int(GENERATOR.integers(1, 60)) for index in range(100, 140)}


def build_plan(**changes):
    settings = {
        "train": list(LENGTHS),
        "lengths": LENGTHS,
        "max_sequences": 4,
        "max_tokens": 0,
        "epochs": 3,
        "seed": 1,
    }
    return BatchPlan(**{**settings, **changes})


@pytest.mark.parametrize(
    ("max_sequences", "max_tokens"), [(1, 0), (4, 0), (7, 0), (0, 100), (5, 100), (3, 1)]
)
def test_every_example_once_and_no_limit_passed(max_sequences, max_tokens):
    plan = build_plan(max_sequences=max_sequences, max_tokens=max_tokens)
    for epoch in range(3):
        batches = plan.build_batches(epoch)
        assert sorted(itertools.chain(*batches)) == sorted(LENGTHS)
        for batch, following in itertools.zip_longest(batches, batches[1:]):
            tokens = sum(LENGTHS[index] + 2 for index in batch)
            assert not max_sequences or len(batch) <= max_sequences
            assert not max_tokens or tokens <= max_tokens or len(batch) == 1
            if following:  # it is full: the next example would pass a limit
                more = tokens + LENGTHS[following[0]] + 2
                is_full = max_sequences and len(batch) == max_sequences
                assert is_full or (max_tokens and more > max_tokens)


def test_order_is_a_function_of_seed_and_epoch():
    plan = build_plan()
    assert plan.build_batches(0) == build_plan().build_batches(0)
    assert plan.build_batches(0) != plan.build_batches(1)
    assert plan.build_batches(0) != build_plan(seed=2).build_batches(0)


@pytest.mark.parametrize("max_tokens", [0, 90])
def test_steps_from_any_number_on_are_the_rest_of_all(max_tokens):
    plan = build_plan(max_tokens=max_tokens)
    steps = list(plan.iter_steps())
    assert len(steps) == plan.count_steps()
    assert [step.number for step in steps] == list(range(len(steps)))
    for start in (0, 1, 9, 10, 11, len(steps) - 1, len(steps)):
        assert list(plan.iter_steps(start)) == steps[start:]
    ends = [step.epoch for step in steps if step.ends_epoch]
    assert ends == [0, 1, 2]
    assert steps[-1].ends_epoch


def test_packs_keep_the_order_and_a_long_sequence_is_alone():
    lengths = {1: 3, 2: 4, 3: 50, 4: 1, 5: 1}
    packs = split_packs([1, 2, 3, 4, 5], lengths, max_tokens=11)
    assert packs == [(1, 2), (3,), (4, 5)]
    assert split_packs([], lengths, max_tokens=11) == []
