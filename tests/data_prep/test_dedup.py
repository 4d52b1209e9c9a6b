import random

import numpy as np
import pytest

from openrinalmo.data_prep import dedup
from openrinalmo.data_prep.dedup import (
    FLIPPED,
    INDEX_SHIFT,
    ROW,
    hash_reverse_complements,
    hash_sequence,
    hash_sequences,
    make_rows,
    sort_rows,
    write_parts,
)
from openrinalmo.data_prep.filters import LETTERS, normalise
from support.sequences import draw_sequence

PAIRS = dict(zip("ACGURYSWKMBDHVNI", "UGCAYRSWMKVHDBNI", strict=True))


def reverse_complement(sequence):
    return "".join(PAIRS[letter] for letter in reversed(sequence))


def join(sequences):
    letters = np.frombuffer("".join(sequences).encode(), np.uint8)
    return letters, np.cumsum([len(sequence) for sequence in sequences])


def find_unique(tmp_path, sequences, type_ranks, *, both_strands=False, block=97):
    """Return the kept indices, part by part, and every group's indices."""
    type_ranks = np.array(type_ranks)

    def iter_blocks():
        for first in range(0, len(sequences), block):
            part = join(sequences[first : first + block])
            other = hash_reverse_complements(*part) if both_strands else None
            ranks = type_ranks[first : first + block]
            yield make_rows(hash_sequences(*part), ranks, first, other_strand=other)

    kept, groups = [], []
    parts = write_parts(iter_blocks(), len(sequences), tmp_path)
    assert sorted(tmp_path.iterdir()) == parts
    for part in parts:
        rows, is_first = sort_rows(np.fromfile(part, ROW))
        part.unlink()
        indices = (rows["tag"] >> INDEX_SHIFT).tolist()
        kept += [index for index, first in zip(indices, is_first, strict=True) if first]
        for index, first in zip(indices, is_first, strict=True):
            groups.append([index]) if first else groups[-1].append(index)
    return kept, groups


def find_in_dictionary(keys, type_ranks):
    groups = {}
    for index in sorted(range(len(keys)), key=lambda index: (type_ranks[index], index)):
        groups.setdefault(keys[index], []).append(index)
    return groups


@pytest.mark.parametrize("part_records", [1, 10, 300, 1 << 21])
@pytest.mark.parametrize("longest", [1, 4, 12])
def test_agrees_with_a_dictionary(tmp_path, monkeypatch, part_records, longest):
    monkeypatch.setattr(dedup, "PART_RECORDS", part_records)
    rng = random.Random(longest)
    sequences = [draw_sequence(rng, rng.randint(1, longest)) for _ in range(2000)]
    type_ranks = [rng.randrange(3) for _ in sequences]
    expected = find_in_dictionary([hash_sequence(s.encode()) for s in sequences], type_ranks)
    kept, groups = find_unique(tmp_path, sequences, type_ranks)
    assert groups == [expected[digest] for digest in sorted(expected)]
    assert kept == [group[0] for group in groups]


def test_hashes_that_share_their_first_half_are_two():
    digests = b"".join([b"\1" * 8 + b"\2" * 8, b"\1" * 16, b"\1" * 8 + b"\2" * 8, b"\0" * 16])
    rows, is_first = sort_rows(make_rows(digests, np.zeros(4, np.int64), 0))
    assert (rows["tag"] >> INDEX_SHIFT).tolist() == [3, 1, 0, 2]
    assert is_first.tolist() == [True, True, True, False]


def test_order_is_that_of_the_digests_whatever_the_input(tmp_path):
    sequences = [draw_sequence(random.Random(n), 30) for n in range(100)]
    first, _ = find_unique(tmp_path, sequences, [0] * 100)
    second, _ = find_unique(tmp_path, sequences[::-1], [0] * 100)
    expected = sorted(sequences, key=lambda sequence: hash_sequence(sequence.encode()))
    assert [sequences[i] for i in first] == [sequences[::-1][i] for i in second] == expected


def test_no_records_give_no_parts(tmp_path):
    assert find_unique(tmp_path, [], []) == ([], [])


def test_sequences_with_t_and_with_u_are_one():
    letters = b"ACGTACGTACGTacguacguacguACGA"
    digests = hash_sequences(*normalise(np.frombuffer(letters, np.uint8), np.array([12, 24, 28])))
    assert digests[:16] == digests[16:32] == hash_sequence(b"ACGUACGUACGU") != digests[32:]


def test_complements_are_of_every_letter():
    sequences = [LETTERS.decode(), "AACGUR", "", "I", draw_sequence(random.Random(0), 99)]
    expected = [hash_sequence(reverse_complement(s).encode()) for s in sequences]
    assert hash_reverse_complements(*join(sequences)) == b"".join(expected)


@pytest.mark.parametrize("part_records", [100, 1 << 21])
def test_both_strands_count_as_one_if_asked(tmp_path, monkeypatch, part_records):
    monkeypatch.setattr(dedup, "PART_RECORDS", part_records)
    rng = random.Random(5)
    sequences = [draw_sequence(rng, rng.randint(1, 5)) for _ in range(1000)]
    type_ranks = [rng.randrange(3) for _ in sequences]
    keys = [
        min(hash_sequence(strand.encode()) for strand in (sequence, reverse_complement(sequence)))
        for sequence in sequences
    ]
    expected = find_in_dictionary(keys, type_ranks)
    kept, groups = find_unique(tmp_path, sequences, type_ranks, both_strands=True)
    assert groups == [expected[key] for key in sorted(expected)]
    assert {sequences[i] for i in kept}.isdisjoint(
        reverse_complement(sequences[i])
        for i in kept
        if sequences[i] != reverse_complement(sequences[i])
    )


def test_says_which_strand_gave_the_key():
    pair = ["AACGGU", reverse_complement("AACGGU")]
    rows = make_rows(
        hash_sequences(*join(pair)),
        np.ones(2, np.int64),
        0,
        other_strand=hash_reverse_complements(*join(pair)),
    )
    assert len(set(rows["high"].tolist())) == 1
    assert sorted((rows["tag"] & FLIPPED).tolist()) == [0, FLIPPED]
