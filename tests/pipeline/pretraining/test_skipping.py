import random

import pytest

from openrinalmo.pipeline.pretraining.batches import BatchConfig
from openrinalmo.pipeline.pretraining.skipping import SkippedPacks


def test_numbers_are_those_of_leaving_out_one_by_one():
    rng = random.Random(0)
    for _ in range(50):
        skipped, left_out = SkippedPacks(), set()
        for _ in range(rng.randrange(6)):
            first = rng.randrange(40)
            end = first + rng.randrange(8)
            skipped = skipped.add(first, end)
            left_out |= set(range(first, end))
        shown = [number for number in range(100) if number not in left_out]
        assert [skipped.number(place) for place in range(40)] == shown[:40]
        held = [number for first, end in skipped.as_lists() for number in range(first, end)]
        assert held == sorted(left_out)
        assert SkippedPacks.from_lists(skipped.as_lists()) == skipped
        gaps = zip(skipped.ranges, skipped.ranges[1:], strict=False)
        assert all(a[1] < b[0] for a, b in gaps)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", []),
        ("  ", []),
        ("12", [[12, 13]]),
        ("12,40-45", [[12, 13], [40, 46]]),
        (" 40 - 45 , 0", [[0, 1], [40, 46]]),
        ("3-5,5-9,10", [[3, 11]]),
        ("7-7", [[7, 8]]),
    ],
)
def test_a_setting_is_read_with_both_ends_of_a_range(text, ranges):
    assert SkippedPacks.parse(text).as_lists() == ranges


@pytest.mark.parametrize("text", ["a", "5-3", "1,,2", "1-", "-4", "1:3", "1.5"])
def test_what_is_no_range_is_refused_by_the_settings_name(text):
    with pytest.raises(ValueError, match=r"batches.skip_packs must be .*12,40-45; got"):
        BatchConfig(micro_batch_tokens=8, global_batch_tokens=8, skip_packs=text)


def test_a_run_that_goes_on_takes_packs_to_come_and_refuses_packs_it_showed():
    known = SkippedPacks.parse("4-6")
    assert known.join(SkippedPacks.parse("4-6,20"), next_number=12).as_lists() == [[4, 7], [20, 21]]
    assert known.join(SkippedPacks.parse("12"), next_number=12).as_lists() == [[4, 7], [12, 13]]
    assert known.join(SkippedPacks(), next_number=12) == known
    for late in ("3", "7-20", "11", "3-9"):
        with pytest.raises(ValueError, match="before 12, where this run goes on"):
            known.join(SkippedPacks.parse(late), next_number=12)


def test_a_backward_range_is_refused():
    with pytest.raises(ValueError, match="packs 5 to 3 are no range"):
        SkippedPacks().add(5, 3)
