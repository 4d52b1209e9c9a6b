"""The whole evaluation on synthetic families: known scores, honest thresholds, resume, workers."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from openrinalmo.pipeline.downstream import run_fold as run_fold_module
from openrinalmo.pipeline.downstream.embed import load_checkpoint
from openrinalmo.pipeline.downstream.evaluate import evaluate_families, read_benchmark
from openrinalmo.pipeline.downstream.finetune import FitConfig
from openrinalmo.pipeline.downstream.structure import RankedPairs
from openrinalmo.pipeline.downstream.summary import MEAN_OF_FAMILIES, summarise
from support.families import build_lines, build_toy_config, write_checkpoint, write_structures


@pytest.fixture
def checkpoint(tmp_path):
    return load_checkpoint(write_checkpoint(tmp_path / "run"))


@pytest.fixture
def data(tmp_path):
    return write_structures(tmp_path / "toy_3.tsv", build_lines())


def run(data, checkpoint, config, out, only=()):
    return evaluate_families(read_benchmark(data, config, only), checkpoint, config, out=out)


def numbers_of(results):
    """All but what a clock measured."""
    return [replace(result, fit_seconds=0.0, test_seconds=0.0) for result in results]


def test_every_system_on_every_fold(data, checkpoint, tmp_path):
    results = run(data, checkpoint, build_toy_config(), tmp_path / "out")
    assert [(result.system, result.family) for result in results] == [
        (system, family)
        for system in ("pretrained", "random", "one-hot")
        for family in ("long", "middle", "short")
    ]
    for result in results:
        assert {one.id.partition("-")[0] for one in result.sequences} == {result.family}
        assert (len(result.sequences), result.num_train, result.num_validation) == (6, 8, 4)
        assert result.threshold is not None
        assert 0.01 <= result.threshold <= 0.29
    assert len({tuple(result.sequences) for result in results}) > 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["folds"]


def test_hand_computed_scores_reach_the_summary(tmp_path, checkpoint, monkeypatch):
    """Four pairs known; two RNAs are predicted whole, one with one pair of four off by one step."""
    known = "((((....))))"
    data = write_structures(
        tmp_path / "hand.tsv",
        [
            ("a1", "a", "GGGGAAAACCCC", known),
            ("a2", "a", "GGGCAAAAGCCC", known),
            ("b1", "b", "GGCCAAAAGGCC", known),
        ],
    )
    right = [(0, 11), (1, 10), (2, 9), (3, 8)]
    predicted = {
        "GGGGAAAACCCC": right,
        "GGGCAAAAGCCC": [*right[:3], (3, 7)],
        "GGCCAAAAGGCC": right[:1],
    }
    fake = SimpleNamespace(__version__="0")
    monkeypatch.setattr(run_fold_module, "find_viennarna", lambda: fake)
    monkeypatch.setattr("openrinalmo.pipeline.downstream.evaluate.find_viennarna", lambda: fake)
    monkeypatch.setattr(
        run_fold_module, "fold_mfe", lambda _, sequence: np.array(predicted[sequence])
    )
    config = build_toy_config(systems=("viennarna",))
    cells = summarise(run(data, checkpoint, config, tmp_path / "out"), config.bootstrap)
    f1 = {(cell.scope, cell.scoring): cell.f1 for cell in cells}
    # a: 1 and 3/4 strict, 1 and 1 relaxed. b: precision 1; recall 1/4 strict, so F1 2/5; the
    # one predicted pair (0, 11) is two steps from (1, 10), so relaxed changes nothing.
    assert f1["a", "strict"] == pytest.approx(0.875)
    assert f1["a", "relaxed"] == pytest.approx(1.0)
    assert f1["b", "strict"] == f1["b", "relaxed"] == pytest.approx(0.4)
    assert f1[MEAN_OF_FAMILIES, "strict"] == pytest.approx((0.875 + 0.4) / 2)
    assert f1["mean of sequences", "strict"] == pytest.approx((1 + 0.75 + 0.4) / 3)
    assert f1["pooled pairs", "strict"] == pytest.approx(2 * 8 / (9 + 12))


def test_the_threshold_is_tuned_on_validation_rnas_not_on_the_test(
    data, checkpoint, tmp_path, monkeypatch
):
    """A wrong pair has 0.15 in the other families and 0.25 in the held-out one."""
    structures = {len(structure): (family, structure) for _, family, _, structure in build_lines()}

    def predict(head, representation_LD, sequence, threshold):
        family, structure = structures[len(sequence)]
        stem = [structure.index("("), structure.rindex(")")]
        wrong = [0, len(sequence) - 1]
        return RankedPairs(
            np.array([stem, wrong]), np.array([0.9, 0.25 if family == "long" else 0.15])
        )

    monkeypatch.setattr(run_fold_module, "predict_pairs", predict)
    config = build_toy_config(systems=("one-hot",))
    (result,) = run(data, checkpoint, config, tmp_path / "out", ["long"])
    # The lowest threshold that drops the wrong pair from validation; the test would want 0.25.
    assert result.threshold == 0.15


def test_finished_folds_are_kept_and_an_interrupted_run_goes_on(
    data, checkpoint, tmp_path, monkeypatch
):
    config, out = build_toy_config(systems=("one-hot",)), tmp_path / "out"
    real_fit, fits = run_fold_module.fit_head, Counter()

    def fit_and_die_once(*arguments, **keywords):
        fits["calls"] += 1
        if fits["calls"] == 2:
            raise KeyboardInterrupt
        return real_fit(*arguments, **keywords)

    monkeypatch.setattr(run_fold_module, "fit_head", fit_and_die_once)
    with pytest.raises(KeyboardInterrupt):
        run(data, checkpoint, config, out)
    assert len(list((out / "folds").glob("*.json"))) == 1
    assert not list(out.glob(".representations-*"))
    resumed = run(data, checkpoint, config, out)
    assert fits["calls"] == 4
    assert run(data, checkpoint, config, out) == resumed
    assert fits["calls"] == 4
    afresh = run(data, checkpoint, config, tmp_path / "afresh")
    assert numbers_of(afresh) == numbers_of(resumed)


def test_what_changes_numbers_is_computed_again(data, checkpoint, tmp_path):
    config, out = build_toy_config(), tmp_path / "out"
    run(data, checkpoint, config, out, ["long"])
    count = len(list((out / "folds").glob("*.json")))
    assert count == 3
    run(data, checkpoint, replace(config, workers=1, bootstrap=config.bootstrap), out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 3
    other = load_checkpoint(write_checkpoint(tmp_path / "other", seed=9))
    run(data, other, config, out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 4
    run(data, checkpoint, replace(config, fit=FitConfig(head_steps=4)), out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 7
    data.write_text(data.read_text().replace("long-0", "long-zero"))
    run(data, checkpoint, config, out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 10


def test_folds_that_share_their_training_rnas_share_the_fit(
    data, checkpoint, tmp_path, monkeypatch
):
    lines = [*build_lines(), ("x", "huge", "A" * 60, "." * 60), ("y", "vast", "C" * 60, "." * 60)]
    write_structures(data, lines)
    real_fit, fits = run_fold_module.fit_head, Counter()

    def count(*arguments, **keywords):
        fits["calls"] += 1
        return real_fit(*arguments, **keywords)

    monkeypatch.setattr(run_fold_module, "fit_head", count)
    config = build_toy_config(
        systems=("one-hot",), fit=FitConfig(head_steps=2, max_fit_length_nt=50)
    )
    results = run(data, checkpoint, config, tmp_path / "out")
    assert len(results) == 5
    assert fits["calls"] == 4
    together = [result.threshold for result in results if result.family in ("huge", "vast")]
    alone = run(data, checkpoint, config, tmp_path / "alone", ["vast"])
    assert together == [alone[0].threshold] * 2


def test_processes_give_the_numbers_of_one(data, checkpoint, tmp_path):
    config = build_toy_config(systems=("pretrained", "one-hot"))
    alone = run(data, checkpoint, config, tmp_path / "one", ["long"])
    together = run(data, checkpoint, replace(config, workers=2), tmp_path / "two", ["long"])
    assert numbers_of(together) == numbers_of(alone)


def test_a_broken_result_is_named(data, checkpoint, tmp_path):
    config, out = build_toy_config(systems=("one-hot",)), tmp_path / "out"
    run(data, checkpoint, config, out, ["long"])
    (path,) = (out / "folds").glob("*.json")
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=rf"{path.name} is no fold result .*delete it"):
        run(data, checkpoint, config, out, ["long"])
