"""The files: every score in the CSV, valid JSON, Markdown that no name can break."""

import csv
import json

import pytest

from openrinalmo.pipeline.downstream.reports.scorecard_files import (
    format_markdown,
    format_summary,
    write_scorecard,
)
from support.page_reader import read_page
from support.task_reports import (
    build_map_report,
    build_regression_report,
    build_report,
    build_score,
    build_structure_report,
)

NAMES = ["scorecard.html", "scorecard.md", "scorecard.csv", "scorecard.json"]


def test_every_file_holds_the_numbers(tmp_path):
    reports = [build_structure_report(), build_regression_report(), build_map_report()]
    files = write_scorecard(reports, tmp_path / "new")
    assert [path.name for path in files] == NAMES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(NAMES)
    read_page(files[0].read_text())
    with files[2].open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    scores = [(report, score) for report in reports for score in report.scores]
    assert len(rows) == len(scores)
    for row, (report, score) in zip(rows, scores, strict=True):
        assert (row["task"], row["signature"]) == (report.task, report.signature)
        assert (row["system"], row["part"], row["metric"]) == (
            score.system,
            score.part,
            score.metric,
        )
        assert float(row["value"]) == score.value or score.value != score.value
        assert row["low"] == ("" if score.low is None else repr(score.low))
        assert row["is_primary"] == str(score.is_primary)
    facts = json.loads(files[3].read_text(), parse_constant=pytest.fail)  # no NaN in it
    assert [task["task"] for task in facts["tasks"]] == [report.task for report in reports]
    assert facts["tasks"][1]["scores"][2]["value"] is None
    assert facts["tasks"][0]["scores"][0]["value"] == reports[0].scores[0].value
    assert facts["summary"][0]["gap"]["paired"]["p_value"] == reports[0].gains[147 - 27].p_value


def test_writing_again_gives_the_same_bytes(tmp_path):
    reports = [build_structure_report(), build_map_report()]
    first, second = (
        [path.read_bytes() for path in write_scorecard(reports, tmp_path / name)]
        for name in ("a", "b")
    )
    assert first == second


def test_two_reports_of_a_task_are_refused(tmp_path):
    report = build_report(build_score(0.5))
    with pytest.raises(ValueError, match="got two of toy"):
        write_scorecard([report, report], tmp_path)
    assert not list(tmp_path.iterdir())


def test_markdown_tables_keep_their_columns():
    evil = "a|b<script>\n# x"
    report = build_report(
        build_score(0.5, system=evil, part=evil, is_primary=True),
        build_score(0.75, part=evil, is_primary=True),
        notes=(evil,),
        title=evil,
    )
    text = format_markdown([report])
    assert "<script" not in text
    tables = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables[:3]} == {7}
    assert "**0.750**" in text


def test_summary_for_a_terminal():
    text = format_summary([build_structure_report()])
    assert "Secondary structure, inter-family" in text
    assert "*" not in text
    assert format_summary([build_report()]) == "no task reports a primary score"
