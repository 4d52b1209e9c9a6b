"""Drawings: pairs in the right class, pseudoknots over the layout, RNAs of any length."""

import math
import re

import pytest

from openrinalmo.pipeline.downstream.reports.structure_drawing import (
    classify_pairs,
    draw_arcs,
    draw_planar,
    find_nested,
    lay_out,
)
from openrinalmo.pipeline.downstream.task_report import StructureCase
from support.page_reader import PageReader
from support.task_reports import PSEUDOKNOT, build_layout

viennarna = pytest.importorskip("RNA", reason="needs ViennaRNA: the extra `baselines`")


def build_case(known, predicted=None, sequence=None):
    return StructureCase(
        id="r1",
        part="p",
        system="pretrained",
        label="best",
        sequence=sequence or ("ACGU" * len(known))[: len(known)],
        known=known,
        predicted=known if predicted is None else predicted,
        metric="F1 relaxed",
        f1=0.5,
    )


def count_pairs(svg, colour):
    """Pairs drawn in a colour: moves of its paths."""
    paths = re.findall(rf'<path class="{colour}" d="([^"]*)"', svg)
    return [path.count("M") for path in paths]


def find_points(svg):
    """The backbone's points as text."""
    (points,) = re.findall(r'<polyline points="([^"]*)"', svg)
    return points.split()


def check(svg):
    reader = PageReader()
    reader.feed(svg)
    assert not reader.open_tags
    assert "nan" not in svg
    assert "inf" not in svg


def test_pairs_by_class():
    classes = classify_pairs(build_case("((...))..", "(.....).."))
    assert classes.hit == [(0, 6)]
    assert classes.missed == [(1, 5)]
    assert classes.wrong == []
    classes = classify_pairs(build_case("(...)....", "....(...)"))
    assert (classes.hit, classes.missed, classes.wrong) == ([], [(0, 4)], [(4, 8)])


def test_every_pair_is_drawn_once_on_each_side():
    case = build_case("(((...)))(...)", "((.....))[..].")
    classes = classify_pairs(case)
    arcs, planar = draw_arcs(case), draw_planar(case, viennarna)
    check(arcs)
    check(planar)
    hits, missed, wrong = map(len, classes)
    assert (hits, missed, wrong) == (2, 2, 1)
    assert count_pairs(arcs, "blue") == [hits, hits]  # known above, predicted below
    assert count_pairs(arcs, "grey") == [missed]
    assert count_pairs(arcs, "vermilion") == [wrong]
    assert count_pairs(planar, "blue") == [hits]
    assert count_pairs(planar, "grey") == [missed]
    assert count_pairs(planar, "vermilion") == [wrong]


def test_a_pseudoknot_is_laid_out_without_and_drawn_with_it():
    sequence, known = PSEUDOKNOT
    case = build_case(known, sequence=sequence)
    nested = find_nested(known)
    assert len(nested) == known.count("(")
    assert all(known[i] == "(" for i, _ in nested)
    planar = draw_planar(case, viennarna)
    check(planar)
    assert count_pairs(planar, "blue") == [known.count("(") + known.count("[")]
    layout = lay_out(case, viennarna)
    plain = [
        (point.X, point.Y)
        for point in viennarna.naview_xy_coordinates(known.replace("[", ".").replace("]", "."))
    ]
    assert layout == plain[: len(sequence)]


def test_brackets_that_do_not_cross_are_laid_out_too():
    assert sorted(find_nested("([...])<...>")) == [(0, 6), (1, 5), (7, 11)]


@pytest.mark.parametrize("known", ["[..(..]..)", "(..[..)..]"])
def test_the_other_of_two_crossing_brackets_is_left_out(known):
    assert find_nested(known) == [(known.index("("), known.index(")"))]


@pytest.mark.parametrize(
    "known",
    ["", ".", "..", "()", "...", "(.)", "....", "(..)", "(())", "()()", ".....", "(...)", "((.))"],
)
def test_short_rnas(known):
    for predicted in (known, "." * len(known)):
        case = build_case(known, predicted)
        check(draw_arcs(case))
        check(draw_planar(case, viennarna))
    assert len(lay_out(case, viennarna)) == len(known)
    assert all(math.isfinite(x + y) for x, y in lay_out(case, viennarna))


def test_long_rnas_stay_inside_the_picture():
    case = build_case("(" * 400 + "." * 1200 + ")" * 400)
    planar = draw_planar(case, viennarna)
    ((width, height),) = re.findall(r'viewBox="0 0 (\S+) (\S+)"', planar)
    width, height = float(width), float(height)
    points = find_points(planar)
    assert len(points) == 2000
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= width
        assert 0 <= y <= height
    check(draw_arcs(case))


def test_turning_a_long_one_does_not_mirror_it():
    def turn(points):
        (ax, ay), (bx, by), (cx, cy) = points
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    tall = [(0.0, 0.0), (10.0, 50.0), (0.0, 100.0)]
    layout = build_layout(tall.__getitem__)
    svg = draw_planar(build_case("..."), layout)
    drawn = [tuple(map(float, point.split(","))) for point in find_points(svg)]
    assert drawn[2][0] != pytest.approx(drawn[0][0])  # it lies down
    assert (turn(drawn) > 0) == (turn(tall) > 0)


def test_a_structure_of_another_length_is_refused():
    with pytest.raises(ValueError, match="case r1 of p: 5 nt, but its predicted structure has 4"):
        draw_arcs(build_case("(...)", "...."))
