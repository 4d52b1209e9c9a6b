"""Predictions as a table: what is read back gives every score again, and pairs two checkpoints."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.reports.comparison import compare_folders
from openrinalmo.pipeline.downstream.representations.embed import load_checkpoint
from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.sequence_tasks.predictions import read_predictions
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_config import SequenceConfig
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_eval import evaluate_sequence_task
from openrinalmo.pipeline.downstream.task_report import write_task_report
from openrinalmo.pipeline.downstream.tasks.classification import ClassificationTask
from openrinalmo.pipeline.downstream.tasks.ribosome_load import RibosomeLoadTask
from openrinalmo.pipeline.downstream.tasks.splice import SpliceTask
from support.families import write_checkpoint
from support.intervals import ends_of
from support.sequence_tasks import write_loads, write_rfam, write_splice

CONFIG = SequenceConfig(
    preset="toy",
    systems=("pretrained", "one-hot", "k-mer"),
    regimes=("linear",),
    kmer_nt=2,
    device="cpu",
    head_fit=RegimeConfig(epochs=1, batch_sequences=8),
    bootstrap=BootstrapConfig(num_resamples=50),
)


def evaluate(task, data, folder, seed):
    checkpoint = load_checkpoint(write_checkpoint(folder / "weights", seed=seed))
    report = evaluate_sequence_task(task, checkpoint, CONFIG, data=data, out=folder / task.name)
    write_task_report(report, folder)
    return report


@pytest.mark.parametrize(
    ("build_task", "write"),
    [
        (lambda: SpliceTask("donor"), write_splice),
        (RibosomeLoadTask, write_loads),
        (lambda: ClassificationTask("rfam-type"), write_rfam),
    ],
    ids=["splice", "ribosome-load", "rfam-type"],
)
def test_read_back_they_give_the_scores_and_pair_two_checkpoints(tmp_path, build_task, write):
    task, data = build_task(), write(tmp_path / "data")
    report = evaluate(task, data, tmp_path / "a", seed=0)
    classes = report.settings["classes"]
    known = read_predictions(task.kind, classes, tmp_path / "a" / task.name)
    for score in report.scores:
        one = known[score.system, score.regime, score.part]
        num_units = len(set(one.groups) - {""}) + one.groups.count("")
        assert (num_units, any(one.groups)) == (score.units, score.unit == "groups")
        again = task.score(one.outputs_NO, one.targets_N)[score.metric]
        assert again == pytest.approx(score.value, abs=1e-9)

    other = evaluate(task, data, tmp_path / "b", seed=5)
    ((compared,), _) = compare_folders(tmp_path / "a", tmp_path / "b", {task.name: build_task})
    values = {(one.system, one.part, one.metric): one.value for one in other.scores}
    assert compared.conflicts == ()
    for one in compared.scores:
        first = one.first
        if one.paired is None:
            assert not first.is_primary or one.difference == 0
        else:
            assert (first.system, first.is_primary) == ("pretrained", True)
            gain = values[first.system, first.part, first.metric] - first.value
            assert one.paired.gain == pytest.approx(gain)
            assert one.paired.unit == first.unit
            assert np.less_equal(*ends_of(one.paired))
    assert any(one.paired for one in compared.scores)


def test_a_table_of_other_classes_is_refused(tmp_path):
    task = ClassificationTask("rfam-type")
    report = evaluate(task, write_rfam(tmp_path / "data"), tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"sequences\.csv is no table of predictions of this task"):
        read_predictions(task.kind, report.settings["classes"][:1], tmp_path / task.name)
