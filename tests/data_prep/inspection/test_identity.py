"""Identity against the textbook's table, and its meaning on cases that can be counted by hand."""

import random

import pytest

from openrinalmo.data_prep.inspection.identity import (
    compute_infix_distance,
    find_identity,
    reverse_complement,
)


def compute_by_table(pattern, text):
    """Sellers (1980): the first row is zeros, the answer is the least of the last."""
    row = [0] * (len(text) + 1)
    for i, letter in enumerate(pattern, start=1):
        before, row = row, [i]
        for j, other in enumerate(text, start=1):
            row.append(min(before[j - 1] + (letter != other), before[j] + 1, row[j - 1] + 1))
    return min(row)


def test_distance_is_that_of_the_table():
    gen = random.Random(0)
    for _ in range(2000):
        pattern = bytes(gen.choices(b"ACGUN", k=gen.randint(1, 12)))
        text = bytes(gen.choices(b"ACGU", k=gen.randint(0, 20)))
        assert compute_infix_distance(pattern, text) == compute_by_table(pattern, text)


def test_distance_of_relatives_longer_than_a_machine_word():
    gen = random.Random(1)
    for size in (63, 64, 65, 200):
        text = bytes(gen.choices(b"ACGU", k=size + 30))
        pattern = bytearray(text[10 : 10 + size])
        for _ in range(size // 10):
            place = gen.randrange(len(pattern))
            pattern[place : place + gen.randint(0, 2)] = gen.choices(b"ACGU", k=gen.randint(0, 2))
        pattern = bytes(pattern)
        assert compute_infix_distance(pattern, text) == compute_by_table(pattern, text)


def test_identity_is_of_the_shorter_one():
    rna = b"ACGUUGCAUCGAGGCUAUCG"
    assert find_identity(rna, rna) == 1
    assert find_identity(rna[3:13], rna) == find_identity(rna, rna[3:13]) == 1
    assert find_identity(rna[:5] + b"N" + rna[6:], rna) == pytest.approx(0.95)
    assert find_identity(b"AAAA", b"CCCCCCCC") == 0
    with pytest.raises(ValueError, match="empty sequence"):
        find_identity(b"", rna)


def test_the_other_strand():
    assert reverse_complement(b"AACGUN") == b"NACGUU"
    assert reverse_complement(b"RYKMSWBDHV") == b"BDHVWSKMRY"
    letters = b"ACGUIRYKMSWBDHVN"
    assert reverse_complement(reverse_complement(letters)) == letters
