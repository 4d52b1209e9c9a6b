"""Groups of sequences that share a stretch, against all pairs compared letter by letter."""

import itertools

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.sequence_tasks.overlapping import group_overlapping
from openrinalmo.pipeline.downstream.tasks.task import Example
from support.sequence_tasks import draw_sequence


def build_examples(sequences, groups=None):
    groups = groups or [""] * len(sequences)
    return [
        Example(id=f"s{number}", sequence=sequence, target=0, group=group)
        for number, (sequence, group) in enumerate(zip(sequences, groups, strict=True))
    ]


def share_stretch(one, other, length):
    stretches = {one[start : start + length] for start in range(len(one) - length + 1)}
    return any(stretch in other and "N" not in stretch for stretch in stretches)


def expect_groups(sequences, length):
    """Ids of the first of each connected set, by joining pairs until nothing changes."""
    first = list(range(len(sequences)))
    pairs = [
        (one, other)
        for one, other in itertools.combinations(range(len(sequences)), 2)
        if share_stretch(sequences[one], sequences[other], length)
    ]
    for _ in sequences:
        for one, other in pairs:
            first[one] = first[other] = min(first[one], first[other])
    return [f"s{one}" if first.count(one) > 1 else "" for one in first]


@pytest.mark.parametrize("length", [1, 7, 16, 20, 33])
def test_groups_equal_those_of_all_pairs(length):
    generator = np.random.default_rng(length)
    genome = draw_sequence(generator, 4000)
    sequences = ["", "A", "N" * 60, genome[:length], genome[1:length]]
    for start in generator.integers(0, 3900, 60).tolist():
        sequence = genome[start : start + int(generator.integers(20, 60))]
        place = int(generator.integers(len(sequence)))
        sequences.append(sequence[:place] + str(generator.choice(["N", "A"])) + sequence[place:])
    grouped = group_overlapping(
        build_examples(sequences), range(len(sequences)), min_shared_nt=length
    )
    found = [example.group for example in grouped]
    assert found == expect_groups(sequences, length)
    assert length == 1 or 0 < sum(map(bool, found)) < len(found)


def test_names_join_too_and_others_keep_theirs():
    a, b, c = (draw_sequence(np.random.default_rng(seed), 60) for seed in range(3))
    sequences = [a, a[20:] + b[:20], b, c, c]
    examples = build_examples(sequences, ["x", "", "y", "y", "alone"])
    grouped = group_overlapping(examples, range(4), min_shared_nt=30)
    # The first two overlap by 40 letters, the next two bear one name, the last is not asked for.
    assert [example.group for example in grouped] == ["s0", "s0", "s2", "s2", "alone"]
    grouped = group_overlapping(examples, range(4), min_shared_nt=20)
    assert [example.group for example in grouped] == ["s0", "s0", "s0", "s0", "alone"]
    assert [example.sequence for example in grouped] == sequences


def test_no_stretch_spans_two_sequences():
    whole = draw_sequence(np.random.default_rng(1), 60)
    examples = build_examples([whole, whole[:30], whole[30:]])
    grouped = group_overlapping(examples, [1, 2], min_shared_nt=31)
    assert [example.group for example in grouped] == ["", "", ""]
    assert group_overlapping([], [], min_shared_nt=31) == []
