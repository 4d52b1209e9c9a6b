from pathlib import Path

import pytest

from openrinalmo.pipeline.downstream.all_tasks import (
    ALTERNATIVES,
    SEQUENCE_TASKS,
    TASKS,
    WITHOUT_DATA,
    check_names,
    evaluate_tasks,
    list_all,
)
from support.families import write_checkpoint


@pytest.mark.parametrize("name", SEQUENCE_TASKS)
def test_a_task_of_sequences_bears_the_name_it_is_asked_by(name):
    assert SEQUENCE_TASKS[name]().name == name


def test_all_is_every_task_but_the_alternatives():
    assert set(list_all(Path("data"))) | set(ALTERNATIVES) == set(TASKS)
    assert not set(list_all(Path("data"))) & set(ALTERNATIVES)
    assert list_all(None) == list(WITHOUT_DATA)
    check_names(list_all(None))


@pytest.mark.parametrize("names", [[], ["families", "families"], ["Families"], ["all"]])
def test_unknown_repeated_and_no_names_are_refused(names):
    with pytest.raises(ValueError, match="task"):
        check_names(names)


def test_names_are_checked_before_the_checkpoint_is_read(tmp_path):
    with pytest.raises(ValueError, match="no task folding"):
        evaluate_tasks(tmp_path / "none", ["folding"], "quick", None, tmp_path)


@pytest.mark.slow
def test_every_task_of_the_sample_reports_under_its_name(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "run")
    names = [name for name in list_all(None) if name != "families"]
    reports = evaluate_tasks(checkpoint, names, "quick", None, tmp_path / "out")
    assert [report.task for report in reports] == names
    for report in reports:
        assert (tmp_path / "out" / f"{report.task}.json").is_file()
        systems = {score.system for score in report.scores}
        assert {"pretrained", "random encoder"} <= systems
        assert any(score.is_primary for score in report.scores)
        assert f"ckpt:{reports[0].checkpoint['sha256'][:8]}" in report.signature
