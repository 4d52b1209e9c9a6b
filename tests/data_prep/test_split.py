import numpy as np
import pytest

from openrinalmo.data_prep.split import NEW, TRAIN, VALIDATION, SplitConfig, choose_validation

RNG = np.random.default_rng(0)
DIGESTS = RNG.integers(0, 256, (4000, 16), np.uint8)
TYPES = np.repeat([0, 1, 2, 3, 4], [3500, 460, 20, 12, 8])


def chosen(digests=DIGESTS, types=TYPES, **settings):
    return choose_validation(digests, types, SplitConfig(**settings))


def test_each_type_gives_its_share_and_small_ones_up_to_three():
    validation = chosen()
    counts = [int(validation[number == TYPES].sum()) for number in range(5)]
    assert counts == [175, 23, 3, 3, 2]


def test_order_does_not_matter():
    shuffled = RNG.permutation(len(DIGESTS))
    assert np.array_equal(chosen(DIGESTS[shuffled], TYPES[shuffled]), chosen()[shuffled])


def test_names_of_types_do_not_matter():
    assert np.array_equal(chosen(types=9 - TYPES), chosen())


def test_seed_changes_the_choice_and_not_its_size():
    first, second = chosen(seed=0), chosen(seed=1)
    assert first.sum() == second.sum()
    assert (first & second).sum() < 0.2 * first.sum()


def test_more_data_moves_few_clusters():
    before = chosen(DIGESTS[:3500], TYPES[:3500])
    types = np.concatenate([TYPES[:3500], np.zeros(350, int)])
    more = RNG.integers(0, 256, (350, 16), np.uint8)
    after = chosen(np.concatenate([DIGESTS[:3500], more]), types)[:3500]
    assert (before != after).sum() < 40


def test_clusters_of_many_rare_types_still_give_one():
    assert chosen(DIGESTS[:3], np.arange(3)).sum() == 1


def test_one_cluster_cannot_be_split():
    with pytest.raises(ValueError, match="all sequences fall into one cluster"):
        chosen(DIGESTS[:1], TYPES[:1])


def test_every_type_keeps_a_cluster_for_training():
    validation = chosen(validation_fraction=0.99)
    assert [int((~validation)[number == TYPES].sum()) for number in range(5)] == [35, 5, 1, 1, 1]


def test_old_sides_stay_and_new_clusters_fill_up_what_their_type_owes():
    sides = np.full(len(DIGESTS), NEW, np.int8)
    sides[:1000] = TRAIN
    sides[:50] = VALIDATION
    sides[3500:3960] = VALIDATION  # more than the type owes
    after = choose_validation(DIGESTS, TYPES, SplitConfig(seed=3), old_sides=sides)
    assert np.array_equal(after[sides != NEW], sides[sides != NEW] == VALIDATION)
    assert [int(after[number == TYPES].sum()) for number in range(5)] == [175, 460, 3, 3, 2]
    new = np.flatnonzero((sides == NEW) & (TYPES == 0))
    alone = choose_validation(
        DIGESTS[new], TYPES[new], SplitConfig(seed=3, validation_fraction=0.05)
    )
    assert np.array_equal(after[new], alone), "new ones by the same ranks"


def test_where_no_old_validation_cluster_is_left_a_new_one_goes_there():
    sides = np.array([TRAIN, TRAIN, NEW], np.int8)
    after = choose_validation(DIGESTS[:3], np.arange(3), SplitConfig(), old_sides=sides)
    assert after.tolist() == [False, False, True]


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_refuses_an_empty_side(fraction):
    with pytest.raises(ValueError, match=r"validation_fraction must be between 0 and 1"):
        SplitConfig(validation_fraction=fraction)
