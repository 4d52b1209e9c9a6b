import itertools
import random

import numpy as np
import pytest

from openrinalmo.data_prep.clusters.spaced_words import choose_pattern, is_sure, number_words
from support.sequences import draw_sequence


def share_a_word(pattern, wrong, overlap):
    """Lay the word everywhere in an overlap and look."""
    starts = range(overlap - pattern[-1])
    return any(all(start + place not in wrong for place in pattern) for start in starts)


@pytest.mark.parametrize("mismatches", [0, 1, 2, 3])
@pytest.mark.parametrize("overlap", [4, 9, 15, 18, 20])
def test_the_pattern_lies_beside_all_mismatches_wherever_they_are(overlap, mismatches):
    pattern = choose_pattern({overlap: mismatches, overlap + 1: mismatches})
    assert pattern[0] == 0
    assert pattern[-1] < overlap
    for wrong in itertools.combinations(range(overlap), mismatches):
        assert share_a_word(pattern, wrong, overlap)
    contiguous = -(-(overlap - mismatches) // (mismatches + 1))
    assert len(pattern) >= min(contiguous, 16)


@pytest.mark.parametrize(("overlap", "letters"), [(13, 8), (15, 9), (16, 10)])
def test_with_one_mismatch_none_is_heavier(overlap, letters):
    assert len(choose_pattern({overlap: 1})) == letters
    for span in range(letters + 1, overlap + 1):
        for inner in itertools.combinations(range(1, span - 1), letters - 1):
            assert not is_sure((0, *inner, span - 1), overlap, 1)


def test_every_overlap_counts():
    assert len(choose_pattern({18: 1})) == 12
    assert choose_pattern({4: 0, 18: 1}) == (0, 1, 2, 3)
    assert len(choose_pattern({12: 0, 18: 1})) < 12


def test_words_are_numbers_in_base_four_of_the_places_that_count():
    rng = random.Random(0)
    rows = [draw_sequence(rng, 20) for _ in range(5)]
    rows[2] = rows[2][:9] + "N" + rows[2][10:].replace("U", "T")
    letters = np.array([list(row.encode()) for row in rows], np.uint8)
    pattern = (0, 1, 4)
    codes, is_word = number_words(letters, pattern)
    assert codes.shape == (5, 16)
    for row, start in np.ndindex(codes.shape):
        word = "".join(rows[row][start + place] for place in pattern)
        assert is_word[row, start] == ("N" not in word)
        if "N" not in word:
            assert codes[row, start] == int(word.translate(str.maketrans("ACGUT", "01233")), 4)
