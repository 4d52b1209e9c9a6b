import numpy as np
import pytest

from openrinalmo.pipeline.pretraining.packing import plan_packs


def next_fit(lengths, budget):
    boundaries, filled = [0], 0
    for i, length in enumerate(lengths):
        if filled + length > budget:
            boundaries.append(i)
            filled = 0
        filled += length
    return [*boundaries, len(lengths)]


@pytest.mark.parametrize("budget", [10, 11, 37, 1000])
def test_packs_are_those_of_filling_one_by_one(budget):
    lengths = np.random.default_rng(0).integers(1, 11, 300).astype(np.int32)
    assert plan_packs(lengths, budget).tolist() == next_fit(lengths.tolist(), budget)


def test_an_exact_fit_closes_a_pack():
    assert plan_packs(np.array([5, 5, 10, 1], np.int32), 10).tolist() == [0, 2, 3, 4]


def test_no_samples_make_no_packs():
    assert plan_packs(np.zeros(0, np.int32), 10).tolist() == [0]


def test_a_sample_over_the_budget_is_refused_with_the_cure():
    with pytest.raises(ValueError, match="micro_batch_tokens 10 is below .* 11 tokens; raise it"):
        plan_packs(np.array([3, 11], np.int32), 10)
