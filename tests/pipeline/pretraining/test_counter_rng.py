import numpy as np

from openrinalmo.pipeline.pretraining.counter_rng import derive_key, mix, uniform


def splitmix64(word: int) -> int:
    """The published finaliser in Python's unbounded integers."""
    mask = 2**64 - 1
    word = (word + 0x9E3779B97F4A7C15) & mask
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return word ^ (word >> 31)


def test_mix_is_splitmix64():
    words = np.array([0, 1, 2**63, 2**64 - 1, 12345678901234567890], np.uint64)
    assert mix(words).tolist() == [splitmix64(int(word)) for word in words]
    assert int(mix(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF  # its published first output


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
