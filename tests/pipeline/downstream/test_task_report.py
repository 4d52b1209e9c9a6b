import json

import pytest

from openrinalmo.pipeline.downstream.task_report import (
    Curve,
    PairedGain,
    PublishedScore,
    Score,
    StructureCase,
    TaskReport,
    read_task_report,
    write_task_report,
)

REPORT = TaskReport(
    task="splice-donor",
    title="Splice sites: donor",
    signature="data:abc|seed:0",
    scores=(
        Score(system="one-hot", regime="none", part="worm", metric="F1", value=0.5, units=3),
        Score(
            system="pretrained",
            regime="frozen",
            part="worm",
            metric="F1",
            value=0.7,
            low=0.6,
            high=0.8,
            is_primary=True,
        ),
    ),
    gains=(
        PairedGain(
            system="pretrained",
            baseline="one-hot",
            part="worm",
            metric="F1",
            gain=0.2,
            low=0.1,
            high=0.3,
            p_value=0.01,
        ),
    ),
    published=(PublishedScore(system="X", part="worm", metric="F1", value=0.9, source="table 1"),),
    notes=("none shared",),
    cases=(
        StructureCase(
            id="r1",
            part="5s",
            system="pretrained",
            label="best",
            sequence="GAAAC",
            known="(...)",
            predicted=".....",
            metric="F1 relaxed",
            f1=0.0,
        ),
    ),
    curves=(Curve(kind="scatter", system="k-mer", part="all", x=(0.0,), y=(1.0,), labels=("5s",)),),
    costs={"fit_seconds": 1.5},
    settings={"fit": {"steps": 3}},
    checkpoint={"sha256": "ff"},
)


def test_a_report_comes_back_as_it_was(tmp_path):
    path = write_task_report(REPORT, tmp_path)
    assert path.name == "splice-donor.json"
    assert read_task_report(path) == REPORT
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99}', '{"version": 1, "scores": 3}'])
def test_anything_else_is_refused_by_name(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is no task report"):
        read_task_report(path)


def test_an_unknown_field_is_refused(tmp_path):
    path = write_task_report(REPORT, tmp_path)
    stored = json.loads(path.read_text())
    stored["scores"][0]["colour"] = "red"
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="colour"):
        read_task_report(path)
