import random

import numpy as np

from openrinalmo.data_prep.dedup import find_unique, hash_sequence
from openrinalmo.data_prep.fasta import normalise
from support.sequences import draw_sequence


def digests_of(sequences):
    packed = b"".join(hash_sequence(sequence) for sequence in sequences)
    return np.frombuffer(packed, np.uint8).reshape(-1, 16)


def test_agrees_with_a_dictionary():
    rng = random.Random(1)
    sequences = [draw_sequence(rng, rng.randint(1, 4)).encode() for _ in range(2000)]
    has_type = np.array([rng.random() < 0.3 for _ in sequences])
    expected = {}
    for index, sequence in enumerate(sequences):
        if sequence not in expected or (has_type[index] and not has_type[expected[sequence]]):
            expected[sequence] = index
    unique = find_unique(digests_of(sequences), has_type)
    assert sorted(unique) == sorted(expected.values())


def test_order_is_that_of_the_digests_whatever_the_input():
    sequences = [draw_sequence(random.Random(n), 30).encode() for n in range(100)]
    backwards = sequences[::-1]
    untyped = np.zeros(100, bool)
    first = [sequences[i] for i in find_unique(digests_of(sequences), untyped)]
    second = [backwards[i] for i in find_unique(digests_of(backwards), untyped)]
    assert first == second == sorted(sequences, key=hash_sequence)


def test_twins_with_t_and_u_are_one():
    sequences = [normalise(letters) for letters in (b"ACGTACGTACGT", b"acguacguacgu", b"ACGA")]
    assert sorted(find_unique(digests_of(sequences), np.zeros(3, bool))) == [0, 2]
