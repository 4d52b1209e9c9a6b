"""SplitMix64 as published (Steele, Lea and Flood 2014), in Python's unbounded integers."""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix_one(word: int) -> int:
    """The generator's first output from the state `word`."""
    word = (word + _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def derive_one(key: int, *words: int) -> int:
    """A key from a key and further words, one after the other."""
    for word in words:
        key = mix_one(mix_one(key) ^ word)
    return key


def uniform_one(key: int, counter: int) -> float:
    """A draw from [0, 1) with 53 bits."""
    return (derive_one(key, counter) >> 11) / 2**53


class SplitMix64:
    """The generator, one output after the other."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def next(self) -> int:
        """The next output."""
        output = mix_one(self._state)
        self._state = (self._state + _GOLDEN) & _MASK
        return output
