import numpy as np
import pytest

from openrinalmo.pipeline.pretraining import sampling
from openrinalmo.pipeline.pretraining.sampling import (
    SamplingConfig,
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
