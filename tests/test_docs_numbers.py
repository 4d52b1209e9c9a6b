"""Scores in README and docs are those of the committed rows."""

import csv
import re
from pathlib import Path

import pytest

from openrinalmo.pipeline.downstream.structure_folds.structure_config import LABELS

ROOT = Path(__file__).parents[1]
SCORE = re.compile(r"-?\d\.\d{3} \[-?\d\.\d\d -?\d\.\d\d\]")
SYSTEMS = ("pretrained", "random encoder", "one-hot", "k-mer")


def read_tables(path):
    """Tables of a Markdown file: header cells and rows of cells."""
    tables, rows = [], []
    for line in [*(ROOT / path).read_text().splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            tables.append((rows[0], rows[2:]))
            rows = []
    return tables


def read_rows(path):
    with (ROOT / "benchmarks" / path).open(newline="") as lines:
        return list(csv.DictReader(lines))


def format_score(value, low, high):
    return f"{float(value):.3f} [{float(low):.2f} {float(high):.2f}]" if low else ""


def find_table(path, first):
    """The table whose first row begins with these words."""
    return next(table for table in read_tables(path) if table[1][0][0].startswith(first))


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("`families`, ArchiveII", "scorecards/tiny-budget.csv"),
        ("`families`, F1 relaxed", "scorecards/tiny-sample-quick.csv"),
    ],
)
def test_scores_of_tasks(first, rows):
    known = read_rows(rows)
    header, lines = find_table("docs/downstream.md", first)
    task = ""
    num_checked = 0
    for line in lines:
        task = line[0].split("`")[1] if "`" in line[0] else task
        for system, cell in zip(header[1:], line[1:], strict=True):
            for score in SCORE.findall(cell):
                name = system if system in SYSTEMS else cell.partition(score)[0].strip()
                scores = {
                    format_score(row["value"], row["low"], row["high"])
                    for row in known
                    if row["task"] == task and row["system"].startswith(name)
                }
                assert score in scores, (task, name)
                num_checked += 1
    assert num_checked > 20


def test_scores_of_held_out_families():
    known = {
        (LABELS[row["system"]], row["scope"]): row
        for row in read_rows("families/archiveii-budget.csv")
        if row["scoring"] == "relaxed"
    }
    header, lines = find_table("README.md", "mean of families")
    for line, scope in zip(lines, ("mean of families", "mean of sequences"), strict=True):
        for system, cell in zip(header[1:], line[1:], strict=True):
            assert cell in {
                format_score(row["f1"], row["f1_low"], row["f1_high"])
                for (name, part), row in known.items()
                if part == scope and name.startswith(system)
            }, (system, scope)
