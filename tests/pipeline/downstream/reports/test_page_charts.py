"""Charts: what is measured is where it is drawn."""

import re

import pytest

from openrinalmo.pipeline.downstream.reports.chart import COLOURS as BY_SYSTEM
from openrinalmo.pipeline.downstream.reports.page_charts import (
    COLOURS,
    UNKNOWN,
    Axis,
    Bar,
    build_axis,
    draw_bars,
    draw_curves,
    shorten_label,
)
from openrinalmo.pipeline.downstream.reports.page_html import LIGHT
from openrinalmo.pipeline.downstream.reports.page_map import MAP_COLOURS, draw_map, list_families
from openrinalmo.pipeline.downstream.reports.scorecard_tables import sort_systems
from openrinalmo.pipeline.downstream.structure_folds.structure_config import LABELS
from openrinalmo.pipeline.downstream.task_report import Curve

NAN = float("nan")


def build_bar(value, **more):
    return Bar(**{"label": "a", "colour": "blue", "value": value, **more})


def test_every_system_has_a_colour_of_its_own_and_a_place():
    assert COLOURS.keys() == set(LABELS.values())
    assert len(set(COLOURS.values())) == len(LABELS)
    assert {*COLOURS.values(), UNKNOWN} <= LIGHT.keys()
    assert UNKNOWN not in COLOURS.values()
    assert BY_SYSTEM.keys() == LABELS.keys()
    assert len(set(BY_SYSTEM.values())) == len(LABELS)
    assert sort_systems(["letters", *reversed(LABELS.values())]) == [*LABELS.values(), "letters"]


@pytest.mark.parametrize(
    ("label", "short"),
    [
        ("ViennaRNA", "ViennaRNA"),
        ("EternaFold (LinearPartition)", "EternaFold (LinearP…"),
        ("pretrained, zero-shot: Jacobian", "pretrained, Jacobian"),
        ("random encoder, zero-shot: match-fill", "random …, match-fill"),
        ("pretrained, zero-shot: pseudo-likelihood", "p…, pseudo-likelihood"),
    ],
)
def test_labels_that_are_cut_keep_what_tells_them_apart(label, short):
    assert shorten_label(label) == short


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ((), (0, 1)),
        ((0.2, 1.0), (0, 1)),
        ((NAN,), (0, 1)),
        ((-0.2, 0.9), (-0.2, 1)),
        ((-41.0, 0.6), (-0.75, 0.75)),
        ((-3.0,), (-3, 0)),
        ((1.2,), (0, 1.5)),
        ((7200.0, 3.0), (0, 7500)),
        ((0.0, -0.0), (0, 1)),
    ],
)
def test_axis(values, ends):
    axis = build_axis([build_bar(value) for value in values])
    assert (axis.low, axis.high) == pytest.approx(ends)


def test_axis_holds_the_intervals():
    assert build_axis([build_bar(0.9, low=0.8, high=1.3)]).high == 1.5


def test_bars_begin_at_zero_and_end_at_their_value():
    axis = Axis(low=-1.0, high=1.0)
    svg = draw_bars([build_bar(0.5), build_bar(-0.25), build_bar(-9.0)], axis, "x")
    rects = re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    zero, unit = axis.place(0.0), axis.place(1.0) - axis.place(0.0)
    for (x, width), value in zip(rects, (0.5, -0.25, -1.0), strict=True):
        assert float(width) == pytest.approx(abs(value) * unit, abs=0.1)
        assert float(x) == pytest.approx(zero + min(value, 0) * unit, abs=0.1)
    assert svg.count("«") == 1
    assert "-9.000" in svg


def test_a_whisker_spans_its_interval():
    axis = Axis(low=0.0, high=1.0)
    svg = draw_bars([build_bar(0.5, low=0.4, high=0.7)], axis, "x")
    ((start, end),) = re.findall(r'<path d="M([\d.]+) [\d.]+v6m0 -3H([\d.]+)', svg)
    assert float(start) == pytest.approx(axis.place(0.4), abs=0.1)
    assert float(end) == pytest.approx(axis.place(0.7), abs=0.1)


def test_points_of_a_curve():
    curve = Curve(
        kind="reliability",
        system="pretrained",
        part="p",
        x=(0.0, 0.5, NAN, 1.0),
        y=(1.0, 0.5, 0.5, 0.0),
        sizes=(100.0, 25.0, 1.0, 0.0),
    )
    svg = draw_curves([curve], x_name="x", y_name="y", has_diagonal=True)
    (points,) = re.findall(r'<polyline points="([^"]*)"', svg)
    (left, top), (x, y), (right, bottom) = (
        map(float, point.split(",")) for point in points.split()
    )
    assert (x, y) == pytest.approx(((left + right) / 2, (top + bottom) / 2))
    assert top < bottom
    radii = [float(r) for r in re.findall(r' r="([\d.]+)"', svg)]
    assert radii == pytest.approx([7.0, 4.5, 2.0])  # areas as the counts


def test_families_of_a_map_by_size():
    labels = tuple("abcdefghi"[place] for place in range(9) for _ in range(20 - place))
    count = len(labels)
    curve = Curve(
        kind="scatter",
        system="s",
        part="p",
        labels=labels,
        x=tuple(map(float, range(count))),
        y=tuple(float(place % 7) for place in range(count)),
    )
    families = list_families(curve)
    assert [name for name, *_ in families] == list("abcdefghi")
    assert [colour for _, colour, _ in families] == [*MAP_COLOURS, "grey", "grey"]
    svg = draw_map(curve)
    assert svg.count("h0") == count
    named = re.findall(r'paint-order="stroke">([^<]*)<', svg)
    assert set(named) <= set("abcdefg")


def test_a_map_keeps_distances():
    curve = Curve(kind="scatter", system="s", part="p", x=(0.0, 10.0, 0.0), y=(0.0, 0.0, 5.0))
    places = re.findall(r"M([\d.]+) ([\d.]+)h0", draw_map(curve))
    (ax, ay), (bx, _), (_, cy) = [(float(x), float(y)) for x, y in places]
    assert bx - ax == pytest.approx(2 * (cy - ay), abs=0.2)
