from collections import Counter

import numpy as np
import pytest

from openrinalmo.data_prep.composition import TypeWeights
from openrinalmo.pipeline.pretraining import sampling
from openrinalmo.pipeline.pretraining.sampling import (
    SamplingConfig,
    count_showings,
    count_tokens,
    cut_windows,
    draw_records,
)
from support.splitmix import derive_one, uniform_one

CONFIG = SamplingConfig(max_length_nt=100)
SIZES = np.random.default_rng(0).integers(1, 6, 500)
STARTS = np.concatenate([[0], np.cumsum(SIZES)])
LENGTHS = np.random.default_rng(1).integers(16, 300, STARTS[-1]).astype(np.int32)
CLUSTER_OF_RECORD = np.repeat(np.arange(500), SIZES)
TYPES = np.random.default_rng(2).choice(5, 500, p=[0.7, 0.2, 0, 0.08, 0.02]).astype(np.int32)
TYPE_SIZES = np.bincount(TYPES, minlength=5)
PLANNED = np.array([100, TYPE_SIZES[1], 0, 2 * TYPE_SIZES[3] + 7, 5 * TYPE_SIZES[4]])
"""Sequences of each type: a part, all, none there, more than twice, five times."""


def draw(epoch: int, seed: int = 0):
    records = draw_records(STARTS, seed=seed, epoch=epoch)
    return cut_windows(records, LENGTHS, CONFIG, seed=seed, epoch=epoch)


def draw_one_by_one(starts: list[int], seed: int, epoch: int) -> list[int]:
    """The epoch's records by the rule: a member by one hash, the order by another."""
    key = derive_one(seed, epoch)
    num_clusters = len(starts) - 1
    low_bits = 2 ** (num_clusters - 1).bit_length() - 1
    drawn = []
    for cluster in range(num_clusters):
        size = starts[cluster + 1] - starts[cluster]
        member = int(uniform_one(derive_one(key, 2), cluster) * size)
        place = derive_one(key, 1, cluster) & ~low_bits
        drawn.append((place, cluster, starts[cluster] + member))
    return [record for _, _, record in sorted(drawn)]


@pytest.mark.parametrize("num_clusters", [1, 2, 3, 64, 65, 500])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_records_are_those_of_drawing_one_by_one(monkeypatch, num_clusters, chunk):
    monkeypatch.setattr(sampling, "_CHUNK", chunk)
    starts = STARTS[: num_clusters + 1]
    for seed, epoch in ((0, 0), (3, 7)):
        drawn = draw_records(starts, seed=seed, epoch=epoch)
        assert drawn.tolist() == draw_one_by_one(starts.tolist(), seed, epoch)


def test_windows_and_their_tokens_are_those_of_cutting_one_by_one(monkeypatch):
    monkeypatch.setattr(sampling, "_CHUNK", 64)
    records = draw_records(STARTS, seed=3, epoch=2)
    windows = cut_windows(records, LENGTHS, CONFIG, seed=3, epoch=2)
    num_tokens = count_tokens(records, LENGTHS, CONFIG, seed=3, epoch=2)
    assert np.array_equal(num_tokens, windows.num_tokens)
    for i, record in enumerate(records.tolist()):
        room = max(0, int(LENGTHS[record]) - 100)
        start = int(uniform_one(derive_one(3, 2, 3), record) * (room + 1))
        assert windows.starts_nt[i] == start
        assert num_tokens[i] == windows.lengths_nt[i] + (start == 0) + (start == room)


def test_the_window_of_a_record_does_not_depend_on_the_others():
    some = np.array([7, 400, 3, 3, 99])
    alone = [cut_windows(some[i : i + 1], LENGTHS, CONFIG, seed=0, epoch=4) for i in range(5)]
    together = cut_windows(some, LENGTHS, CONFIG, seed=0, epoch=4)
    for i, one in enumerate(alone):
        assert [field[0] for field in one] == [field[i] for field in together]


def test_every_cluster_appears_exactly_once_an_epoch():
    for epoch in range(3):
        clusters = CLUSTER_OF_RECORD[draw(epoch).records]
        assert np.array_equal(np.sort(clusters), np.arange(500))


def test_epochs_and_seeds_differ_in_order_and_members_and_repeat_themselves():
    first = draw(0)
    assert all(np.array_equal(a, b) for a, b in zip(first, draw(0), strict=True))
    for other in (draw(1), draw(0, seed=1)):
        assert not np.array_equal(
            CLUSTER_OF_RECORD[first.records], CLUSTER_OF_RECORD[other.records]
        )
        assert set(first.records) != set(other.records)


def test_every_member_has_the_same_chance():
    drawn = np.concatenate([draw(epoch).records for epoch in range(400)])
    counts = np.bincount(drawn, minlength=STARTS[-1])
    expected = 400 / SIZES[CLUSTER_OF_RECORD]
    deviation = (counts - expected) / np.sqrt(expected * (1 - 1 / SIZES[CLUSTER_OF_RECORD]) + 1e-9)
    assert np.abs(deviation[SIZES[CLUSTER_OF_RECORD] > 1]).max() < 5


def test_long_sequences_are_cut_anew_each_epoch_and_lose_the_token_where_cut():
    for epoch in range(20):
        samples = draw(epoch)
        full = LENGTHS[samples.records]
        ends = samples.starts_nt + samples.lengths_nt
        assert np.array_equal(samples.lengths_nt, np.minimum(full, 100))
        assert (samples.starts_nt >= 0).all()
        assert (ends <= full).all()
        assert np.array_equal(samples.has_cls, samples.starts_nt == 0)
        assert np.array_equal(samples.has_eos, ends == full)
        assert np.array_equal(
            samples.num_tokens, samples.lengths_nt + samples.has_cls + samples.has_eos
        )


def test_windows_reach_both_ends_and_are_spread_evenly():
    lengths = np.full(20_000, 103, np.int32)
    samples = cut_windows(np.arange(20_000), lengths, CONFIG, seed=0, epoch=0)
    counts = np.bincount(samples.starts_nt, minlength=4)
    assert len(counts) == 4
    assert np.abs(counts - 5000).max() < 300


def test_a_useless_length_is_refused():
    with pytest.raises(ValueError, match="sampling.max_length_nt must be 16 or more, got 3"):
        SamplingConfig(max_length_nt=3)


def count_one_by_one(seed: int, epoch: int) -> list[int]:
    """Showings by the rule: each type's ring, walked on from where the last epoch ended."""
    key = derive_one(seed, 0, 6)
    showings = Counter()
    for rna_type, planned in enumerate(PLANNED.tolist()):
        ring = sorted(
            np.flatnonzero(rna_type == TYPES).tolist(),
            # three bits make way for five types, nine for 500 clusters
            key=lambda cluster: ((derive_one(key, cluster) >> 3) & ~511, cluster),
        )
        showings.update(ring[(epoch * planned + i) % len(ring)] for i in range(planned))
    return [showings[cluster] for cluster in range(500)]


@pytest.mark.parametrize("chunk", [7, 1000])
def test_showings_are_those_of_walking_round_rings_one_by_one(monkeypatch, chunk):
    monkeypatch.setattr(sampling, "_CHUNK", chunk)
    for seed, epoch in ((0, 0), (0, 1), (3, 7), (3, 10**9)):
        found = count_showings(TYPES, PLANNED, seed=seed, epoch=epoch)
        assert found.tolist() == count_one_by_one(seed, epoch)


def test_showings_differ_by_one_at_most_within_an_epoch_and_over_any_number():
    total = np.zeros(500, np.int64)
    for epoch in range(20):
        showings = count_showings(TYPES, PLANNED, seed=5, epoch=epoch)
        total += showings
        for counts in (showings, total):
            for rna_type in (0, 1, 3, 4):
                of_type = counts[rna_type == TYPES]
                epochs = 1 if counts is showings else epoch + 1
                assert of_type.sum() == epochs * PLANNED[rna_type]
                assert of_type.max() - of_type.min() <= 1
    one, other = (count_showings(TYPES, PLANNED, seed=seed, epoch=0) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_one_type_alone_is_shown_evenly_too():
    types = np.zeros(10, np.int32)
    planned = np.array([3])
    shown = [count_showings(types, planned, seed=0, epoch=epoch).tolist() for epoch in range(10)]
    assert np.sum(shown, axis=0).tolist() == [3] * 10


@pytest.mark.parametrize("chunk", [7, 64, 1000])
def test_draws_are_showings_of_the_first_member_drawn_and_those_after_it(monkeypatch, chunk):
    monkeypatch.setattr(sampling, "_CHUNK", chunk)
    seed, epoch = 3, 4
    showings = count_showings(TYPES, PLANNED, seed=seed, epoch=epoch)
    draws = draw_records(STARTS, seed=seed, epoch=epoch, showings=showings)
    key, num_records = derive_one(seed, epoch), int(STARTS[-1])
    expected, place = [], 0
    low_bits = 2 ** (len(draws) - 1).bit_length() - 1
    for cluster, count in enumerate(showings.tolist()):
        size = int(SIZES[cluster])
        member = int(uniform_one(derive_one(key, 2), cluster) * size)
        for nth in range(count):
            record = int(STARTS[cluster]) + (member + nth) % size
            order = derive_one(key, 1, place) & ~low_bits
            expected.append((order, place, record + nth * num_records))
            place += 1
    assert draws.tolist() == [draw for _, _, draw in sorted(expected)]


def test_each_cluster_shown_once_is_what_no_weights_show():
    ones = np.ones(500, np.uint8)
    assert np.array_equal(
        draw_records(STARTS, seed=1, epoch=2, showings=ones), draw_records(STARTS, seed=1, epoch=2)
    )
    assert count_showings(TYPES, TYPE_SIZES, seed=1, epoch=2).tolist() == ones.tolist()


def test_a_repeated_cluster_shows_other_members_first_and_no_draw_twice():
    showings = count_showings(TYPES, PLANNED, seed=0, epoch=0)
    draws = draw_records(STARTS, seed=0, epoch=0, showings=showings)
    records = draws % STARTS[-1]
    assert len(set(draws.tolist())) == len(draws) == PLANNED.sum()
    assert np.array_equal(np.bincount(CLUSTER_OF_RECORD[records], minlength=500), showings)
    times = np.bincount(records, minlength=STARTS[-1])
    for cluster in range(500):
        members = times[STARTS[cluster] : STARTS[cluster + 1]]
        assert members.max() - members.min() <= 1


def test_repeats_of_a_record_are_cut_each_for_itself():
    record, num_records = 5, 40
    lengths = np.full(num_records, 10_000, np.int32)
    draws = record + num_records * np.arange(200)
    windows = cut_windows(draws, lengths, CONFIG, seed=0, epoch=0)
    assert (windows.records == record).all()
    assert len(set(windows.starts_nt.tolist())) > 190
    alone = cut_windows(np.array([record]), lengths, CONFIG, seed=0, epoch=0)
    assert alone.starts_nt[0] == windows.starts_nt[0]


def test_weights_are_those_set_and_those_recommended_where_none_is():
    recommended = TypeWeights(type_temperature=0.5, type_caps="a=0.2", max_repeats=9)
    assert SamplingConfig().choose_weights(recommended) == recommended
    assert SamplingConfig(type_caps="").choose_weights(recommended) == TypeWeights(
        type_temperature=0.5, max_repeats=9
    )
    chosen = SamplingConfig(type_temperature=0.0, max_repeats=1).choose_weights(recommended)
    assert chosen == TypeWeights(type_temperature=0.0, type_caps="a=0.2", max_repeats=1)


def test_useless_weights_are_refused_by_the_settings_path():
    with pytest.raises(ValueError, match="sampling.type_temperature must be 0 to 1, got 2"):
        SamplingConfig(type_temperature=2.0)
    with pytest.raises(ValueError, match="sampling.type_caps: the share of a is 'x'"):
        SamplingConfig(type_caps="a=x")
