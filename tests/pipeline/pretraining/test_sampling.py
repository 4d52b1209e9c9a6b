import numpy as np
import pytest

from openrinalmo.pipeline.pretraining.sampling import SamplingConfig, draw_samples

CONFIG = SamplingConfig(max_length_nt=100)
SIZES = np.random.default_rng(0).integers(1, 6, 500)
STARTS = np.concatenate([[0], np.cumsum(SIZES)])
LENGTHS = np.random.default_rng(1).integers(16, 300, STARTS[-1]).astype(np.int32)
CLUSTER_OF_RECORD = np.repeat(np.arange(500), SIZES)


def draw(epoch: int, seed: int = 0):
    return draw_samples(STARTS, LENGTHS, CONFIG, seed=seed, epoch=epoch)


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
    samples = draw_samples(np.arange(20_001), lengths, CONFIG, seed=0, epoch=0)
    counts = np.bincount(samples.starts_nt, minlength=4)
    assert len(counts) == 4
    assert np.abs(counts - 5000).max() < 300


def test_a_useless_length_is_refused():
    with pytest.raises(ValueError, match="sampling.max_length_nt must be 16 or more, got 3"):
        SamplingConfig(max_length_nt=3)
