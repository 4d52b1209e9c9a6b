"""The page: balanced, loads nothing, escaped, its numbers those of the reports."""

from dataclasses import replace

import pytest

from openrinalmo.pipeline.downstream.reports.page_html import DARK, LIGHT
from openrinalmo.pipeline.downstream.reports.scorecard_page import format_scorecard
from openrinalmo.pipeline.downstream.reports.task_section import format_cost
from openrinalmo.pipeline.downstream.task_report import Curve, PublishedScore, StructureCase
from support.page_reader import read_page
from support.task_reports import (
    build_layout,
    build_map_report,
    build_regression_report,
    build_report,
    build_score,
    build_structure_report,
)

EVIL = '<script>alert("x")</script>&"'


ROW_LAYOUT = build_layout(lambda place: (15.0 * place, 0.0))


def find_row(table, name):
    return next(row for row in table if row[0][0].startswith(name))


def test_everything_on_one_page():
    report = build_structure_report()
    reports = [report, build_regression_report(), build_map_report()]
    page = read_page(format_scorecard(reports, ROW_LAYOUT))
    words = " ".join(page.words)
    for expected in (
        *("Secondary structure, inter-family", "Mean ribosome loading", report.signature),
        *("515 RNAs of the fit are copies", "fit.peak_lr", "83.2 s", "20.6 min", "3.82 GiB"),
        *(
            "Paired gains",
            "Reliability",
            "Precision against recall",
            "worst of pretrained: rna-310",
            "120000",
        ),
        *("3 published numbers have no counterpart", "RiNALMo 650 M", "fine-tuned on the other"),
    ):
        assert expected in words, expected


def test_numbers_are_the_reports():
    report = build_structure_report()
    page = read_page(format_scorecard([report], None))
    by_key = {(s.system, s.part, s.metric): s for s in report.scores}
    summary, full = page.tables[0], page.tables[1]
    primary = by_key["pretrained", "mean of families", "F1 relaxed"]
    control = by_key["random encoder", "mean of families", "F1 relaxed"]
    row = find_row(summary, "Secondary structure")
    assert summary[0][1:4] == [["pretrained"], ["random encoder"], ["gap", summary[0][3][1]]]
    assert row[1] == [f"{primary.value:.3f}", f"[{primary.low:.3f}, {primary.high:.3f}]"]
    assert row[3][0] == f"+{primary.value - control.value:.3f}"
    parts = [cell[0] for cell in full[0][1:]]
    for system in ("pretrained", "SQUARNA", "CONTRAfold"):
        cells = find_row(full, system)
        for part, cell in zip(parts, cells[1:], strict=True):
            score = next(
                s
                for s in report.scores
                if s.system.startswith(system) and (s.part, s.metric) == (part, "F1 relaxed")
            )
            assert cell[0] == f"{score.value:.3f}"
    published = find_row(full, "RNA-FM")
    assert published[0] == ["RNA-FM", "published [1]"]
    assert published[1 + parts.index("tRNA")] == ["0.700"]
    assert published[1 + parts.index("pooled pairs")] == ["–"]


def test_published_numbers_stand_by_their_own_metric_only():
    row = PublishedScore(system="Rival", part="all", metric="F1 strict", value=0.5, source="p")
    report = build_report(
        build_score(0.4, metric="F1 relaxed", is_primary=True),
        build_score(0.3, metric="F1 strict"),
        published=(row, replace(row, system="Elsewhere", part="other")),
    )
    page = read_page(format_scorecard([report], None))
    (table,) = [t for t in page.tables if any(cell[0][:1] == ["Rival"] for cell in t)]
    assert find_row(table, "pretrained")[1][0] == "0.300"
    assert "Elsewhere" not in " ".join(page.words)


def test_every_text_is_escaped():
    report = build_report(
        build_score(0.5, system=EVIL, part=EVIL, metric=EVIL, regime=EVIL, is_primary=True),
        build_score(0.4, system="pretrained", part=EVIL, metric=EVIL, unit=EVIL, is_primary=True),
        task=EVIL,
        title=EVIL,
        signature=EVIL,
        notes=(EVIL,),
        published=(PublishedScore(system=EVIL, part=EVIL, metric=EVIL, value=0.1, source=EVIL),),
        cases=(
            StructureCase(
                id=EVIL,
                part=EVIL,
                system="pretrained",
                label=EVIL,
                sequence="G<>&C",
                known="(...)",
                predicted=".....",
                metric="F1 relaxed",
                f1=0.0,
            ),
        ),
        curves=tuple(
            Curve(kind=kind, system=EVIL, part=EVIL, x=(0.1, 0.2), y=(0.1, 0.2), labels=labels)
            for kind, labels in (
                ("reliability", ()),
                ("precision-recall", ()),
                ("scatter", (EVIL, "b")),
                (EVIL, ()),
            )
        ),
        costs={EVIL: 1.0},
        settings={EVIL: {EVIL: EVIL}},
        checkpoint={EVIL: EVIL, "run": EVIL},
    )
    text = format_scorecard([report], ROW_LAYOUT)
    read_page(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    "report",
    [
        build_report(),
        build_report(build_score(0.5)),
        build_report(build_score(float("nan"), is_primary=True)),
        build_report(build_score(float("inf"), is_primary=True, low=float("nan"), high=1.0)),
        build_report(build_score(-3.0, is_primary=True), build_score(0.0, system="one-hot")),
        build_report(build_score(0.0, metric="MSE", is_primary=True)),
        build_report(build_score(1e9, metric="MSE", is_primary=True)),
        build_report(curves=(Curve(kind="scatter", system="a", part="b", x=(), y=()),)),
        build_report(
            curves=(
                Curve(kind="scatter", system="a", part="b", x=(1.0,), y=(float("nan"),)),
                Curve(kind="scatter", system="a", part="c", x=(1.0,), y=(2.0,)),
                Curve(kind="reliability", system="a", part="b", x=(float("nan"),), y=(0.5,)),
                Curve(kind="reliability", system="a", part="b", x=(0.5,), y=(0.5,), sizes=(0.0,)),
                Curve(kind="precision-recall", system="a", part="b", x=(), y=()),
            )
        ),
        build_report(
            cases=(
                StructureCase(
                    id="e",
                    part="p",
                    system="a",
                    label="worst",
                    sequence="",
                    known="",
                    predicted="",
                    metric="F1 strict",
                    f1=0.0,
                ),
            )
        ),
    ],
    ids=[
        "nothing",
        "no primary",
        "nan",
        "inf",
        "negative",
        "zero",
        "large",
        "no points",
        "odd points",
        "empty RNA",
    ],
)
def test_degenerate_reports(report):
    read_page(format_scorecard([report], ROW_LAYOUT))
    read_page(format_scorecard([report], None))


def test_no_reports():
    assert "nothing was evaluated" in format_scorecard([], None)
    read_page(format_scorecard([], None))


def test_absence_is_said():
    words = " ".join(read_page(format_scorecard([build_regression_report()], None)).words)
    assert "not measured" in words  # no random encoder
    words = " ".join(read_page(format_scorecard([build_report(build_score(0.5))], None)).words)
    assert "No primary score: Task toy." in words
    text = format_scorecard([build_structure_report()], None)
    assert "need ViennaRNA" in text


def test_light_and_dark_have_the_same_colours():
    assert LIGHT.keys() == DARK.keys()
    text = format_scorecard([build_structure_report()], None)
    used = {part.partition(")")[0] for part in text.split("var(--")[1:]}
    assert used <= LIGHT.keys()


def test_costs_by_their_names():
    assert format_cost("fit_seconds", 59.96) == "60.0 s"
    assert format_cost("fit_seconds", 3600) == "60.0 min"
    assert format_cost("rows_bytes", 2**20) == "1.0 MiB"
    assert format_cost("rows_bytes", 3 * 2**30) == "3.00 GiB"
    assert format_cost("tokens", 12345) == "12,345"
