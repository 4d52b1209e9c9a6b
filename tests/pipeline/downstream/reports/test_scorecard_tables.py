"""Summary, gap and tables against what is plain to see."""

import pytest

from openrinalmo.pipeline.downstream.reports.scorecard_tables import (
    build_metric_table,
    build_summary,
    find_best,
    format_gain,
    format_interval,
    format_p,
    format_value,
    list_systems,
)
from openrinalmo.pipeline.downstream.task_report import PairedGain
from support.task_reports import build_report, build_score

NAN = float("nan")


def build_gain(gain, **more):
    settings = {
        "system": "pretrained",
        "baseline": "random encoder",
        "part": "all",
        "metric": "F1",
        "low": gain - 0.1,
        "high": gain + 0.1,
        "p_value": 0.01,
    }
    return PairedGain(**{**settings, "gain": gain, **more})


def test_a_row_for_each_regime_and_baselines_in_each():
    report = build_report(
        build_score(0.5, regime="frozen", is_primary=True),
        build_score(0.7, regime="lora", is_primary=True),
        build_score(0.3, system="random encoder", regime="frozen", is_primary=True),
        build_score(0.4, system="one-hot", regime="frozen", is_primary=True),
        build_score(0.6, system="ViennaRNA", is_primary=True),
        build_score(0.9, part="another"),
        gains=(build_gain(0.2), build_gain(0.1, part="another")),
    )
    frozen, lora = build_summary([report])
    assert (frozen.regime, lora.regime) == ("frozen", "lora")
    assert list_systems([frozen, lora]) == ["pretrained", "random encoder", "one-hot", "ViennaRNA"]
    assert frozen.gap is not None
    assert frozen.gap.paired is not None
    assert frozen.gap.gain == pytest.approx(0.2)
    assert frozen.gap.paired.p_value == 0.01
    assert lora.gap is None  # its twin was not fine-tuned
    assert lora.scores["one-hot"].value == 0.4
    assert lora.scores["ViennaRNA"].value == 0.6
    assert find_best(frozen.scores) == {"ViennaRNA"}
    assert find_best(lora.scores) == {"pretrained"}


def test_a_gain_of_another_regime_is_not_taken():
    report = build_report(
        *(
            build_score(value, system=system, regime=regime, is_primary=True)
            for system, regime, value in (
                ("pretrained", "frozen", 0.5),
                ("random encoder", "frozen", 0.3),
                ("pretrained", "full", 0.8),
                ("random encoder", "full", 0.5),
            )
        ),
        gains=(build_gain(0.2),),
    )
    frozen, full = build_summary([report])
    assert frozen.gap is not None
    assert full.gap is not None
    assert frozen.gap.paired is not None
    assert full.gap.paired is None
    assert full.gap.gain == pytest.approx(0.3)


def test_gains_that_name_their_regime_stand_beside_their_gap():
    """As sequence tasks with several regimes name them: two regimes may even gain alike."""
    regimes = ("frozen", "linear")
    report = build_report(
        *(
            build_score(value, system=system, regime=regime, is_primary=True)
            for regime in regimes
            for system, value in (("pretrained", 0.5), ("random encoder", 0.25))
        ),
        gains=tuple(
            build_gain(
                0.25,
                system=f"pretrained ({regime})",
                baseline=f"random encoder ({regime})",
                p_value=p_value,
            )
            for regime, p_value in zip(regimes, (0.01, 0.02), strict=True)
        ),
    )
    rows = {row.regime: row.gap.paired for row in build_summary([report]) if row.gap}
    assert {regime: one and one.p_value for regime, one in rows.items()} == {
        "frozen": 0.01,
        "linear": 0.02,
    }


def test_best_is_least_of_errors_all_of_equals_and_never_nan():
    scores = {name: build_score(value, metric="MSE") for name, value in (("a", 2.0), ("b", 1.0))}
    assert find_best(scores) == {"b"}
    scores = {name: build_score(value) for name, value in (("a", 1.0), ("b", 1.0), ("c", NAN))}
    assert find_best(scores) == {"a", "b"}
    assert find_best({"a": build_score(1.0), "b": build_score(NAN)}) == set()
    assert find_best({}) == set()


def test_rows_of_a_metric():
    report = build_report(
        build_score(0.1, system="stranger", part="y"),
        build_score(0.2, system="pretrained", regime="frozen", part="x"),
        build_score(0.3, system="pretrained", regime="lora", part="y"),
        build_score(0.4, metric="AUC", part="z"),
    )
    table = build_metric_table(report, "F1")
    assert table.parts == ("y", "x")
    assert [label for label, _ in table.rows] == [
        "pretrained, frozen",
        "pretrained, lora",
        "stranger",
    ]
    assert {part: score.value for part, score in table.rows[1][1].items()} == {"y": 0.3}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (NAN, "n/a"),
        (float("inf"), "∞"),
        (-0.0001, "0.000"),
        (0.12345, "0.123"),
        (-1.5, "-1.500"),
        (12345.6, "12,346"),
    ],
)
def test_values(value, text):
    assert format_value(value) == text


def test_gains_intervals_and_p():
    assert [format_gain(x) for x in (0.1, -0.1, 0.0, NAN, float("inf"))] == [
        "+0.100",
        "-0.100",
        "0.000",
        "n/a",
        "∞",
    ]
    assert format_interval(0.1, None) == format_interval(NAN, 0.2) == ""
    assert format_interval(0.1, 0.2) == "[0.100, 0.200]"
    assert [format_p(x) for x in (0.5, 0.00012, 0.00001, NAN)] == [
        "0.5",
        "0.00012",
        "< 0.0001",
        "n/a",
    ]
