"""Intervals of a part's scores: over what was held out, and none where there is nothing to draw."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig, estimate_metric
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_report import (
    ScoredPart,
    estimate_metrics,
)
from openrinalmo.pipeline.downstream.tasks.splice import SpliceTask
from openrinalmo.pipeline.downstream.tasks.task import Example, Split, TaskData


def test_one_sequence_has_no_interval():
    scored = ScoredPart(targets_N=np.array([1.0]))
    estimates = estimate_metrics(
        SpliceTask("donor"), np.array([[2.0]]), scored, BootstrapConfig(num_resamples=10)
    )
    assert {(one.low, one.high) for one in estimates.values()} == {(None, None)}


def test_what_was_held_out_whole_is_resampled_whole():
    groups = ["a", "a", "b", "c", "c", ""]
    examples = [
        Example(id=str(i), sequence="ACGU", target=float(i), group=group)
        for i, group in enumerate(groups)
    ]
    data = TaskData(name="toy", sources={}, examples=examples)

    def read(train, *test, found=()):
        split = Split(name="s", train=train, validation=(), tests={"t": test}, groups=found)
        return ScoredPart.read(data, split, "t")

    held_out = read((0, 1), 2, 3, 4, 5)
    assert (held_out.num_units, held_out.unit) == (3, "groups")
    assert held_out.groups_N is not None
    assert len(set(held_out.groups_N[1:3])) == 1
    known = read((0,), 1, 3, 4)  # the fit has a member of the scored group
    assert (known.num_units, known.unit) == (3, "sequences")
    assert read((0,), 2, 3, 5).unit == "sequences"  # no two of one group
    overlapping = read((0, 1), 2, 3, 5, found=("a", "a", "x", "x", "", ""))
    assert (overlapping.num_units, overlapping.unit) == (2, "groups")  # as the split found them


def test_intervals_are_those_of_one_metric_alone():
    task = SpliceTask("donor")
    generator = np.random.default_rng(0)
    targets = (generator.random(40) < 0.5).astype(float)
    outputs = (targets + generator.normal(size=40))[:, None]
    config = BootstrapConfig(num_resamples=100)
    together = estimate_metrics(task, outputs, ScoredPart(targets_N=targets), config)
    for metric in ("F1", "AUC", "MCC"):
        alone = estimate_metric(
            lambda outputs, targets, metric=metric: task.score(outputs, targets)[metric],
            [outputs, targets],
            config,
        )
        assert together[metric] == pytest.approx(alone)


def test_a_metric_without_a_value_is_left_out_and_said():
    task = SpliceTask("donor")
    estimates = estimate_metrics(
        task, np.ones((3, 1)), ScoredPart(targets_N=np.ones(3)), BootstrapConfig(num_resamples=5)
    )
    assert np.isnan(estimates["AUC"].mean)
    assert estimates["F1"] == (1.0, 1.0, 1.0)
