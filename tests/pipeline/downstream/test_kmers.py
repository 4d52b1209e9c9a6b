"""k-mer rows against loops over letters."""

import itertools
import random

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.kmers import encode_kmer_counts, encode_kmer_windows

SEQUENCES = ["GAUNC", "", "A", "TTGCA", "N", "ACGUACGUACGGRCUUAACG"]


def naive_window(sequence, position, reach):
    row = []
    for place in range(position - reach, position + reach + 1):
        outside = not 0 <= place < len(sequence)
        letter = "" if outside else sequence[place].replace("T", "U")
        row += [float(letter == other) for other in "ACGU"] + [float(outside)]
    return row


def naive_counts(sequence, k):
    row = []
    for size in range(1, k + 1):
        seen = [sequence.replace("T", "U")[n : n + size] for n in range(len(sequence) - size + 1)]
        clean = [kmer for kmer in seen if set(kmer) <= set("ACGU")]
        row += [
            clean.count("".join(kmer)) / max(len(clean), 1)
            for kmer in itertools.product("ACGU", repeat=size)
        ]
    return row


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_windows(reach):
    rows = encode_kmer_windows(SEQUENCES, reach=reach)
    expected = [naive_window(s, n, reach) for s in SEQUENCES for n in range(len(s))]
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))
    assert rows.dtype == np.float32
    assert rows.shape == (sum(map(len, SEQUENCES)), (2 * reach + 1) * 5)


def test_default_window_is_nine_letters_of_five_columns():
    assert encode_kmer_windows(["ACGU"]).shape == (4, 45)
    assert encode_kmer_windows([]).shape == (0, 45)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_counts(k):
    rows = encode_kmer_counts(SEQUENCES, k)
    expected = np.array([naive_counts(sequence, k) for sequence in SEQUENCES])
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=0)
    assert rows.dtype == np.float32


def test_shares_of_each_size_sum_to_one():
    letters = random.Random(0)
    sequence = "".join(letters.choice("ACGU") for _ in range(200))
    (row,) = encode_kmer_counts([sequence], 6)
    ends = np.cumsum([4**size for size in range(1, 7)])
    assert [float(part.sum()) for part in np.split(row, ends[:-1])] == pytest.approx([1] * 6)
    assert encode_kmer_counts([], 2).shape == (0, 20)


def test_wrong_settings_are_refused():
    for k in (0, 7):
        with pytest.raises(ValueError, match=rf"k must be 1 to 6, got {k}"):
            encode_kmer_counts(["A"], k)
    with pytest.raises(ValueError, match=r"reach must not be negative, got -1"):
        encode_kmer_windows(["A"], reach=-1)
