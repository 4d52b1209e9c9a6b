import numpy as np

from openrinalmo.pipeline.pretraining.counter_rng import (
    derive_key,
    derive_purpose_key,
    draw_words,
    mix,
    uniform,
)
from support.splitmix import SplitMix64, derive_one, mix_one, uniform_one


def test_mix_is_splitmix64():
    words = np.array([0, 1, 2**63, 2**64 - 1, 12345678901234567890], np.uint64)
    before = words.copy()
    assert mix(words).tolist() == [mix_one(int(word)) for word in words]
    assert np.array_equal(words, before)
    assert int(mix(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF  # its published first output


def test_keys_and_draws_are_those_of_unbounded_integers():
    assert int(derive_key(7, 3)) == derive_one(7, 3)
    assert int(derive_purpose_key(7, 3, 2)) == derive_one(7, 3, 2)
    assert derive_key(9, np.arange(4)).tolist() == [derive_one(9, i) for i in range(4)]
    assert uniform(derive_key(9, 1), np.arange(4)).tolist() == [
        uniform_one(derive_one(9, 1), i) for i in range(4)
    ]


def test_words_of_packed_sequences_are_each_keys_own_generator():
    lengths = [1, 5, 2, 1, 300]
    cu_seqlens = np.cumsum([0, *lengths]).astype(np.int32)
    keys = np.array([0, 1, 2**64 - 1, 2**63, 77], np.uint64)
    words = draw_words(keys, cu_seqlens).tolist()
    for start, length, key in zip(cu_seqlens.tolist(), lengths, keys.tolist(), strict=False):
        generator = SplitMix64(key)
        assert words[start : start + length] == [generator.next() for _ in range(length)]


def test_uniform_looks_uniform_and_independent_of_its_neighbours():
    draws = uniform(derive_key(7, 3), np.arange(200_000))
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, 50, (0, 1))[0]
    chi2 = ((counts - 4000) ** 2 / 4000).sum()
    assert chi2 < 95  # 49 degrees of freedom: one in ten thousand
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    other = uniform(derive_key(7, 4), np.arange(200_000))
    assert abs(np.corrcoef(draws, other)[0, 1]) < 0.01


def test_keys_broadcast_against_counters():
    keys = derive_key(5, np.arange(3))
    grid = uniform(keys[:, None], np.arange(4))
    for i in range(3):
        assert np.array_equal(grid[i], uniform(keys[i], np.arange(4)))
