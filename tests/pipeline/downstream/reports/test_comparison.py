"""Two scorecards: equal signatures are subtracted, others named; paired where rows are there."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.reports.comparison import (
    compare_folders,
    compare_reports,
    find_conflicts,
    read_reports,
)
from openrinalmo.pipeline.downstream.reports.comparison_page import format_comparison, format_text
from openrinalmo.pipeline.downstream.scores.unit_table import write_table
from openrinalmo.pipeline.downstream.task_report import write_task_report
from support.intervals import ends_of
from support.page_reader import read_page
from support.task_reports import build_report, build_score

ENTRY = Path(__file__).resolve().parents[4] / "pipeline" / "compare.py"
FAMILIES = ("5s", "srp", "tRNA")


def build_pair():
    """Two reports that differ in the checkpoint alone, and in their numbers."""
    first = build_report(
        build_score(0.5, is_primary=True),
        build_score(0.4, system="ViennaRNA", is_primary=True),
        build_score(0.1, part="gone"),
        signature="benchmark:toy|seed:0|ckpt:aaaa|v:0.1.0",
    )
    second = replace(
        first,
        scores=(
            build_score(0.65, is_primary=True),
            build_score(0.4, system="ViennaRNA", is_primary=True),
        ),
        signature="benchmark:toy|seed:0|ckpt:bbbb|v:0.1.0",
    )
    return first, second


def pair_nothing(first, second):
    """No results by sequence."""


def build_structure_pair(folder, *, gain=0.1, column="strict_f1", level="0.95"):
    """Two scorecard folders of the same RNAs; returns rows of A and B."""
    draws = np.random.default_rng(0)
    values = [(f, f"{f}-{n}", float(draws.uniform(0.2, 0.6))) for f in FAMILIES for n in range(9)]
    moved = [(f, n, v + gain + float(draws.normal(0, 0.01))) for f, n, v in values]
    for name, rows in (("a", values), ("b", moved)):
        by_family = {f: [v for family, _, v in rows if family == f] for f in FAMILIES}
        parts = {f: np.mean(v) for f, v in by_family.items()}
        parts["mean of families"] = np.mean(list(parts.values()))
        parts["mean of sequences"] = np.mean([v for *_, v in rows])
        signature = f"benchmark:toy|seed:0|bs:200@{level},seed0|ckpt:{name}"
        report = build_report(
            *(
                build_score(float(value), part=part, metric="F1 strict", is_primary="mean" in part)
                for part, value in parts.items()
            ),
            build_score(0.5, part="pooled pairs", metric="F1 strict"),
            signature=signature,
        )
        write_task_report(report, folder / name)
        about = {"system": "pretrained", "signature": signature}
        write_table(
            folder / name / "toy" / "sequences.csv",
            (about | {"part": family, "id": one, column: value} for family, one, value in rows),
        )
    return values, moved


def test_equal_but_for_the_checkpoint():
    task = compare_reports(*build_pair(), pair_nothing)
    assert task.conflicts == ()
    assert [round(one.difference, 9) for one in task.scores] == [0.15, 0.0]
    assert (task.num_only_first, task.num_only_second) == (1, 0)
    page = read_page(format_comparison([task], ("A", "B"), []))
    summary = page.tables[0]
    assert summary[1][0] == ["Task toy", "pretrained, frozen", "F1, all"]
    assert [cell[0] for cell in summary[1][1:]] == ["0.500", "0.650", "+0.150", "–"]
    assert len(summary) == 2  # ViennaRNA has not changed
    assert "1 scores are in A alone." in " ".join(page.words)


@pytest.mark.parametrize(
    ("changed", "conflict"),
    [
        ("benchmark:toy|seed:1|ckpt:bbbb|v:0.1.0", "seed: 0 and 1"),
        ("benchmark:toy|ckpt:bbbb|v:0.1.0", "seed: 0 and absent"),
        ("benchmark:toy|seed:0|ckpt:bbbb|v:0.1.0|extra:1", "extra: absent and 1"),
        ("", "benchmark: toy and absent"),
    ],
)
def test_other_differences_are_named_and_nothing_subtracted(changed, conflict):
    first, second = build_pair()
    task = compare_reports(first, replace(second, signature=changed), pair_nothing)
    assert conflict in task.conflicts
    text = format_text([task], [])
    assert "+0.150" not in text
    assert conflict in text
    html = format_comparison([task], ("A", "B"), [])
    read_page(html)
    assert "+0.150" not in html
    assert html.count('<tr class="grey">') == 3  # one in the summary, two in the task


def test_heads_belong_to_a_checkpoint():
    """Given or not is a difference, which ones is none."""
    fitted, given, others = (
        build_report(signature=f"seed:0{heads}|ckpt:{ckpt}")
        for heads, ckpt in (("", "a"), ("|heads:1234", "b"), ("|heads:5678", "c"))
    )
    assert find_conflicts(given, others) == []
    assert find_conflicts(fitted, given) == ["heads: absent and 1234"]


def test_settings_that_differ_are_named():
    fit = {"head_steps": 12, "peak_lr": 0.003}
    first = build_report(
        signature="config:aa|seed:0|ckpt:a",
        settings={"systems": ["pretrained"], "seed": 0, "fit": fit, "workers": 1},
    )
    second = replace(
        first,
        signature="config:bb|seed:5|ckpt:b",
        settings={"systems": [], "seed": 5, "fit": {**fit, "head_steps": 9}, "workers": 2},
    )
    assert find_conflicts(first, second) == ["seed: 0 and 5", "fit.head_steps: 12 and 9"]
    # Of whole sequences, settings stand beside facts of the fits.
    nested = [
        replace(one, settings={"config": one.settings, "fits": {"a": {"seconds": number}}})
        for number, one in enumerate((first, second))
    ]
    assert find_conflicts(*nested) == ["seed: 0 and 5", "fit.head_steps: 12 and 9"]
    unnamed = replace(second, settings=first.settings, signature="config:bb|seed:0|ckpt:b")
    assert find_conflicts(first, unnamed) == ["config: aa and bb"]


def test_another_version_of_a_program_greys_its_row_alone():
    first, second = build_pair()
    first = replace(first, signature=first.signature + "|programs:ViennaRNA=viennarna 2.7;Gone=1")
    moved = tuple(replace(one, value=one.value + 0.1) for one in second.scores)
    second = replace(
        second, scores=moved, signature=second.signature + "|programs:ViennaRNA=viennarna 2.8;New=1"
    )
    task = compare_reports(first, second, pair_nothing)
    assert task.conflicts == ()
    assert [one.conflict for one in task.scores] == ["", "viennarna 2.7 and viennarna 2.8"]
    html = format_comparison([task], ("A", "B"), [])
    assert html.count('<tr class="grey">') == 2  # in the summary and in the task
    assert "+0.250" in html
    assert "+0.100" not in html
    text = format_text([task], [])
    assert "Task toy, ViennaRNA: not comparable, viennarna 2.7 and viennarna 2.8" in text


@pytest.mark.parametrize("column", ["strict_f1", "F1 strict"])
def test_paired_where_there_are_rows(tmp_path, column):
    values, moved = build_structure_pair(tmp_path, column=column)
    ((task,), notes) = compare_folders(tmp_path / "a", tmp_path / "b", {})
    assert notes == ["A is unnamed weights", "B is unnamed weights"]
    by_part = {one.first.part: one for one in task.scores}
    for part in ("5s", "mean of sequences"):
        differences = [
            second - first
            for (family, _, first), (*_, second) in zip(values, moved, strict=True)
            if part in (family, "mean of sequences")
        ]
        paired = by_part[part].paired
        assert paired is not None
        assert paired.gain == pytest.approx(np.mean(differences))
        low, high = ends_of(paired)
        assert low < paired.gain < high
        # All differences are of one sign: only all and none flipped are as extreme.
        assert paired.p_value <= max(2 / 2 ** len(differences), 2e-4) + 1e-9
    families = by_part["mean of families"].paired
    assert families is not None
    assert families.unit == "families"
    assert families.p_value == pytest.approx(2 / 8)  # three families: exact
    assert by_part["pooled pairs"].paired is None
    read_page(format_comparison([task], ("A", "B"), []))


def test_not_paired_on_other_sequences_or_other_means(tmp_path):
    build_structure_pair(tmp_path)
    path = tmp_path / "b" / "toy" / "sequences.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    ((task,), _) = compare_folders(tmp_path / "a", tmp_path / "b", {})
    assert all(one.paired is None for one in task.scores)
    path.write_text("".join([*lines[:-1], lines[-1].rpartition(",")[0] + ",0.0\n"]))
    ((task,), _) = compare_folders(tmp_path / "a", tmp_path / "b", {})
    paired = {one.first.part for one in task.scores if one.paired}
    assert paired == {"5s", "srp"}  # the others' rows no longer give their means


def test_rows_without_a_name_are_refused(tmp_path):
    build_structure_pair(tmp_path)
    path = tmp_path / "b" / "toy" / "sequences.csv"
    path.write_text(path.read_text().replace(",part,id", ",group,id"))
    with pytest.raises(ValueError, match=r"sequences\.csv has no column part"):
        compare_folders(tmp_path / "a", tmp_path / "b", {})


def test_rows_of_another_report_are_not_taken(tmp_path):
    build_structure_pair(tmp_path)
    path = tmp_path / "b" / "toy" / "sequences.csv"
    path.write_text(path.read_text().replace("ckpt:b", "ckpt:c"))
    ((task,), _) = compare_folders(tmp_path / "a", tmp_path / "b", {})
    assert all(one.paired is None for one in task.scores)


def test_reports_of_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_reports(tmp_path / "none")
    (tmp_path / "scorecard.json").write_text('{"summary": []}')
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no task report"):
        read_reports(tmp_path)
    write_task_report(build_report(build_score(0.5)), tmp_path)
    assert list(read_reports(tmp_path)) == ["toy"]
    (tmp_path / "toy.json").write_text('{"task": "toy"}')
    with pytest.raises(ValueError, match=r"toy\.json is no task report"):
        read_reports(tmp_path)
    (tmp_path / "toy.json").write_text("{")
    with pytest.raises(ValueError, match=r"toy\.json is no JSON"):
        read_reports(tmp_path)


def test_intervals_are_of_the_level_that_is_signed(tmp_path):
    widths = []
    for level in ("0.95", "0.5"):
        folder = tmp_path / level
        build_structure_pair(folder, level=level)
        ((task,), _) = compare_folders(folder / "a", folder / "b", {})
        low, high = ends_of(next(one.paired for one in task.scores if one.paired))
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_the_entry(tmp_path):
    build_structure_pair(tmp_path)
    write_task_report(build_report(build_score(0.1), task="alone"), tmp_path / "a")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-P", ENTRY, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("a", "b")
    assert done.returncode == 0, done.stderr
    assert "only in a: alone" in done.stdout
    assert "mean of families" in done.stdout
    read_page((tmp_path / "b" / "compare.html").read_text())
    failed = run("a", "c")
    assert failed.returncode == 1
    assert "compare.py: no folder c" in failed.stderr
    assert "Traceback" not in failed.stderr
