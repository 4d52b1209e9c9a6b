"""Scores of a report against means worked out in the open."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig, estimate_mean
from openrinalmo.pipeline.downstream.scores.pair_scores import (
    ScoreConfig,
    build_scored_rna,
    compute_values,
    group_by_family,
    score_families,
    score_pooled,
    score_sequences,
)
from openrinalmo.pipeline.downstream.scoring import score_pairs
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket

STRUCTURES = [
    ("tRNA", "((((....))))", "((((....))))"),
    ("tRNA", "((((....))))", ".(((....)))."),
    ("5s", "((..(....)))", "(((.(...))))"),
    ("5s", "............", "............"),
    ("5s", "((((....))))", "............"),
]
CONFIG = ScoreConfig(
    system="pretrained", regime="frozen", bootstrap=BootstrapConfig(num_resamples=100)
)


def rnas():
    return [
        build_scored_rna(
            parse_dot_bracket(known),
            parse_dot_bracket(predicted),
            id=str(number),
            family=family,
            length_nt=len(known),
        )
        for number, (family, known, predicted) in enumerate(STRUCTURES)
    ]


def f1_of_each(relaxed):
    return [
        score_pairs(parse_dot_bracket(known), parse_dot_bracket(predicted), relaxed).f1
        for _, known, predicted in STRUCTURES
    ]


@pytest.mark.parametrize("scoring", ["relaxed", "strict"])
def test_means_over_sequences_and_families(scoring):
    f1 = f1_of_each(scoring == "relaxed")
    assert compute_values(rnas(), f"F1 {scoring}").tolist() == f1
    by_metric = {score.metric: score for score in score_sequences(rnas(), CONFIG, part="all")}
    assert len(by_metric) == 10
    score = by_metric[f"F1 {scoring}"]
    assert (score.value, score.low, score.high) == estimate_mean(f1, CONFIG.bootstrap)
    assert (score.units, score.unit, score.part) == (5, "sequences", "all")
    families = {score.metric: score for score in score_families(rnas(), CONFIG)}
    score = families[f"F1 {scoring}"]
    assert score.value == pytest.approx((np.mean(f1[:2]) + np.mean(f1[2:])) / 2)
    assert score.low is not None
    assert score.high is not None
    assert score.low <= score.value <= score.high
    assert (score.units, score.unit, score.part) == (2, "families", "mean of families")


def test_pooled_pairs():
    by_metric = {score.metric: score for score in score_pooled(rnas(), CONFIG, part="pooled")}
    known = sum(structure.count("(") for _, structure, _ in STRUCTURES)
    predicted = sum(structure.count("(") for _, _, structure in STRUCTURES)
    hits = sum(
        len(
            set(map(tuple, parse_dot_bracket(a).tolist()))
            & set(map(tuple, parse_dot_bracket(b).tolist()))
        )
        for _, a, b in STRUCTURES
    )
    assert by_metric["precision strict"].value == hits / predicted
    assert by_metric["recall strict"].value == hits / known
    assert by_metric["F1 strict"].low is None
    assert by_metric["F1 strict"].units == known
    assert by_metric["F1 relaxed"].value > by_metric["F1 strict"].value


def test_empty_policy_reaches_the_scores():
    kind = ScoreConfig(
        system="s", regime="none", bootstrap=BootstrapConfig(num_resamples=10), empty="one"
    )
    for metric in ("F1 strict", "MCC relaxed"):
        zero, one = (
            compute_values(rnas(), metric, empty=config.empty)[3] for config in (CONFIG, kind)
        )
        assert (zero, one) == (0, 1)
    means = [score_sequences(rnas(), config, part="p")[0].value for config in (CONFIG, kind)]
    assert means[1] == pytest.approx(means[0] + 1 / 5)


def test_one_metric_is_primary():
    scores = score_sequences(rnas(), CONFIG, part="all", is_primary=True)
    assert [score.metric for score in scores if score.is_primary] == ["F1 relaxed"]
    assert not any(score.is_primary for score in score_families(rnas(), CONFIG))


def test_groups_keep_order():
    grouped = group_by_family(rnas(), np.array([0.0, 1, 2, 3, 4]))
    assert {family: values.tolist() for family, values in grouped.items()} == {
        "tRNA": [0, 1],
        "5s": [2, 3, 4],
    }
    assert list(grouped) == ["tRNA", "5s"]


@pytest.mark.parametrize("metric", ["F1", "F2 strict", "F1 loose"])
def test_unknown_metrics_are_refused(metric):
    with pytest.raises(ValueError, match="no metric"):
        compute_values(rnas(), metric)
