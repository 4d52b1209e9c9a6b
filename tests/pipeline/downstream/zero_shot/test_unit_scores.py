"""Rows and differences of families against means by hand; Spearman of assays with odd values."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES
from openrinalmo.pipeline.downstream.zero_shot.assay_scores import (
    MEAN_OF_ASSAYS,
    build_assay_gain,
    build_assay_scores,
    count_mutations,
)
from openrinalmo.pipeline.downstream.zero_shot.unit_scores import build_gains, build_scores
from openrinalmo.pipeline.downstream.zero_shot.variant_tables import Assay, Variant

CONFIG = BootstrapConfig(num_resamples=50)


def test_rows_of_families_and_both_means():
    values = {"a": [1.0, 0.0], "b": [1.0, 1.0, 1.0, 0.0]}
    rows = build_scores(values, CONFIG, system="s", regime="r", metric="m", is_primary=True)
    found = {row.part: (row.value, row.units, row.unit, row.is_primary) for row in rows}
    assert found == {
        "a": (0.5, 2, "sequences", False),
        "b": (0.75, 4, "sequences", False),
        MEAN_OF_FAMILIES: (0.625, 2, "families", True),
        MEAN_OF_SEQUENCES: (pytest.approx(4 / 6), 6, "sequences", False),
    }
    for row in rows:
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high


def test_gains_of_families_and_of_sequences():
    own, theirs = {"a": [1.0, 0.5], "b": [1.0]}, {"a": [0.0, 0.5], "b": [0.5]}
    by_part = {
        gain.part: gain
        for gain in build_gains(own, theirs, CONFIG, system="s", baseline="t", metric="m")
    }
    assert by_part[MEAN_OF_FAMILIES].gain == 0.5
    assert by_part[MEAN_OF_FAMILIES].p_value == 0.5  # both signs alike: 2 of 4
    assert by_part[MEAN_OF_SEQUENCES].gain == pytest.approx(0.5)
    assert by_part[MEAN_OF_SEQUENCES].unit == "sequences"
    with pytest.raises(ValueError, match="not scored on the same RNAs"):
        build_gains(own, {"a": [0.0]}, CONFIG, system="s", baseline="t", metric="m")


def make_assay(name, sequences, effects):
    variants = [
        Variant(sequence, sequence, effect)
        for sequence, effect in zip(sequences, effects, strict=True)
    ]
    return Assay(name=name, wild_type="ACGU", variants=tuple(variants))


def test_spearman_of_assays_and_their_mean():
    first = make_assay("x", ["ACGA", "ACGC", "ACGG", "ACG"], [1.0, 2.0, 3.0, 9.0])
    second = make_assay("y", ["ACGA", "ACGC", "ACGG"], [1.0, 2.0, 3.0])
    values = {
        "x": np.array([0.1, 0.2, 0.3, np.nan]),  # a deletion has no score
        "y": np.array([7.0, 7.0, 7.0]),  # nothing said
    }
    rows = build_assay_scores(
        [first, second], values, CONFIG, system="s", regime="r", is_primary=True
    )
    found = {row.part: (row.value, row.units, row.unit, row.is_primary) for row in rows}
    assert found == {
        "x": (pytest.approx(1), 3, "variants", False),
        "y": (0, 3, "variants", False),
        MEAN_OF_ASSAYS: (pytest.approx(0.5), 2, "assays", True),
    }
    without = build_assay_scores(
        [first], {"x": np.array([1, 2, np.nan, np.nan])}, CONFIG, system="s", regime="r"
    )
    assert without == []


def test_gain_is_over_assays_with_the_same_variants():
    assays = [make_assay(name, ["ACGA", "ACGC", "ACGG"], [1.0, 2.0, 3.0]) for name in "xy"]
    up, down = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    own = build_assay_scores(assays, {"x": up, "y": up}, CONFIG, system="s", regime="r")
    theirs = build_assay_scores(assays, {"x": down, "y": up}, CONFIG, system="t", regime="r")
    [gain] = build_assay_gain(own, theirs, CONFIG, system="s", baseline="t")
    assert (gain.gain, gain.part, gain.unit) == (pytest.approx(1), MEAN_OF_ASSAYS, "assays")
    assert build_assay_gain(own, [], CONFIG, system="s", baseline="t") == []


def test_counted_mutations():
    assay = make_assay("x", ["ACGU", "ACGA", "UGCA", "ACG"], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(count_mutations(assay), [0, -1, -4, np.nan])
