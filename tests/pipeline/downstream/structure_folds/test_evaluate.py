"""The whole evaluation on synthetic families: known scores, honest thresholds, resume, workers."""

import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream import structure as structure_module
from openrinalmo.pipeline.downstream.baselines import Folder, encode_one_hot
from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig
from openrinalmo.pipeline.downstream.representations import embed as embed_module
from openrinalmo.pipeline.downstream.representations import representation_files as files_module
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    load_checkpoint,
    open_representations,
)
from openrinalmo.pipeline.downstream.scores.summary import MEAN_OF_FAMILIES, summarise
from openrinalmo.pipeline.downstream.scoring import count_pairs, score_pairs
from openrinalmo.pipeline.downstream.structure import THRESHOLD_GRID, DecoderConfig, rank_pairs
from openrinalmo.pipeline.downstream.structure_folds import run_fold as run_fold_module
from openrinalmo.pipeline.downstream.structure_folds.evaluate import evaluate_benchmark
from openrinalmo.pipeline.downstream.structure_folds.plans import Planner
from openrinalmo.pipeline.downstream.structure_folds.structure_config import FitConfig
from openrinalmo.pipeline.downstream.structure_folds.structure_fit import fit_pair_model
from openrinalmo.pipeline.downstream.structures.dot_bracket import build_dot_bracket
from openrinalmo.pipeline.downstream.tasks.families import read_benchmark
from support.families import build_lines, build_toy_config, write_checkpoint, write_structures

GRADUAL = UnfreezingConfig(schedule="structure", every_epochs=1)


def run(data, checkpoint, config, out, only=()):
    return evaluate_benchmark(read_benchmark(data, config, only), checkpoint, config, out=out)


def numbers_of(results):
    """All but what a clock measured."""
    return [
        replace(result, fit_seconds=0.0, tune_seconds=0.0, test_seconds=0.0) for result in results
    ]


def test_every_system_on_every_fold(data, checkpoint, tmp_path):
    results = run(data, checkpoint, build_toy_config(), tmp_path / "out")
    assert [(result.system, result.part) for result in results] == [
        (system, family)
        for system in ("pretrained", "random", "one-hot")
        for family in ("long", "middle", "short")
    ]
    for result in results:
        assert {one.id.partition("-")[0] for one in result.sequences} == {result.part}
        assert (len(result.sequences), result.num_train, result.num_validation) == (6, 8, 4)
        assert result.threshold is not None
        assert 0.01 <= result.threshold <= 0.29
    assert len({tuple(result.sequences) for result in results}) > 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["folds", "heads"]


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
    marks = {sequence: build_dot_bracket(pairs, 12) for sequence, pairs in predicted.items()}
    fake = Folder(name="ViennaRNA", version="0", fold_to_dot_bracket=marks.__getitem__)
    for module in ("run_fold", "plans"):
        monkeypatch.setattr(
            f"openrinalmo.pipeline.downstream.structure_folds.{module}.find_folder", lambda _: fake
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


def allow_all(sequence, *, canonical_only=True):
    return np.ones((len(sequence), len(sequence)), bool)


def test_the_threshold_is_tuned_on_validation_rnas_not_on_the_test(
    data, checkpoint, tmp_path, monkeypatch
):
    """A wrong pair has 0.15 in the other families and 0.25 in the held-out one."""
    structures = {len(structure): (family, structure) for _, family, _, structure in build_lines()}

    def predict(model, index, length):
        family, structure = structures[length]
        probabilities_LL = np.zeros((length, length))
        probabilities_LL[structure.index("("), structure.rindex(")")] = 0.9
        probabilities_LL[0, length - 1] = 0.25 if family == "long" else 0.15
        return probabilities_LL

    monkeypatch.setattr(run_fold_module, "predict_model", predict)
    monkeypatch.setattr(structure_module, "find_allowed_pairs", allow_all)
    config = build_toy_config(systems=("one-hot",))
    (result,) = run(data, checkpoint, config, tmp_path / "out", ["long"])
    # The lowest threshold that drops the wrong pair from validation; the test would want 0.25.
    assert result.threshold == 0.15


def test_finished_folds_are_kept_and_an_interrupted_run_goes_on(
    data, checkpoint, tmp_path, monkeypatch
):
    config, out = build_toy_config(systems=("one-hot",)), tmp_path / "out"
    real_fit, fits = run_fold_module.fit_pair_model, Counter()

    def fit_and_die_once(*arguments, **keywords):
        fits["calls"] += 1
        if fits["calls"] == 2:
            raise KeyboardInterrupt
        return real_fit(*arguments, **keywords)

    monkeypatch.setattr(run_fold_module, "fit_pair_model", fit_and_die_once)
    with pytest.raises(KeyboardInterrupt):
        run(data, checkpoint, config, out)
    assert len(list((out / "folds").glob("*.json"))) == 1
    assert len(list((out / ".representations").iterdir())) == 1  # for the next run
    resumed = run(data, checkpoint, config, out)
    assert fits["calls"] == 4
    assert sorted(path.name for path in out.iterdir()) == ["folds", "heads"]
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
    longer = replace(config, regime=replace(config.regime, max_steps=4))
    run(data, checkpoint, longer, out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 7
    data.write_text(data.read_text().replace("long-0", "long-zero"))
    run(data, checkpoint, config, out, ["long"])
    assert len(list((out / "folds").glob("*.json"))) == 10


def test_weights_chosen_through_a_decoder_are_of_this_decoder_alone(data, checkpoint, tmp_path):
    regime = RegimeConfig(epochs=4, peak_lr=1e-2, choose="best-validation")
    config = build_toy_config(systems=("one-hot",), regime=regime)
    mea = replace(config, decoder=DecoderConfig(name="mea"))
    afresh = run(data, checkpoint, mea, tmp_path / "afresh", ["long"])
    run(data, checkpoint, config, tmp_path / "out", ["long"])
    after = run(data, checkpoint, mea, tmp_path / "out", ["long"])
    assert len(list((tmp_path / "out" / "heads").iterdir())) == 2
    assert numbers_of(after) == numbers_of(afresh)


def test_precision_of_an_encoder_that_trains_is_in_the_key(data, checkpoint, tmp_path):
    regime = RegimeConfig(regime="full", max_steps=1)
    keys = set()
    for precision in ("auto", "fp32", "bf16"):
        settings = replace(regime, precision=precision)
        config = build_toy_config(systems=("pretrained",), regime=settings)
        benchmark = read_benchmark(data, config, ["long"])
        planner = Planner(
            benchmark=benchmark, checkpoint=checkpoint, config=config, out=tmp_path / "out"
        )
        keys.add(next(planner.plan("pretrained", None)).head)
    assert len(keys) == 3


def test_energies_without_viennarna_are_refused_before_work(
    data, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "RNA", None)
    decoder = DecoderConfig(name="mea", use_energy=True)
    config = build_toy_config(systems=("one-hot",), decoder=decoder)
    with pytest.raises(ValueError, match="use_energy=true needs ViennaRNA"):
        run(data, checkpoint, config, tmp_path / "out", ["long"])
    assert not list((tmp_path / "out").iterdir())


def test_no_rna_to_tune_on_is_refused_before_work(checkpoint, tmp_path, monkeypatch):
    lines = [line for line in build_lines() if line[0] in ("long-0", "short-0")]
    data = write_structures(tmp_path / "two.tsv", lines)
    monkeypatch.setattr(run_fold_module, "fit_pair_model", None)
    with pytest.raises(ValueError, match="no RNA to tune the threshold on for long: raise fit"):
        run(data, checkpoint, build_toy_config(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("regime", "reads_rows"),
    [
        (RegimeConfig(regime="lora", lora=LoraConfig(every=1), max_steps=1), False),
        (RegimeConfig(regime="full", max_steps=1), False),
        (RegimeConfig(regime="full", unfreezing=GRADUAL, epochs=9), True),
    ],
    ids=["lora", "full", "gradual"],
)
def test_an_encoder_that_trains_at_once_embeds_nothing_ahead(
    data, checkpoint, tmp_path, monkeypatch, regime, reads_rows
):
    real, calls = files_module.embed_pack, Counter()

    def count(*arguments):
        calls["packs"] += 1
        return real(*arguments)

    monkeypatch.setattr(files_module, "embed_pack", count)
    config = build_toy_config(systems=("pretrained",), regime=regime)
    run(data, checkpoint, config, tmp_path / "out", ["long"])
    assert bool(calls["packs"]) == reads_rows


def test_embeddings_of_a_killed_run_are_gone_on_with(data, checkpoint, tmp_path, monkeypatch):
    config, out = build_toy_config(systems=("pretrained",)), tmp_path / "out"
    real, calls = embed_module.embed_pack, Counter()

    def die_in_the_second_pack(*arguments):
        calls["packs"] += 1
        if calls["packs"] == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    config = replace(config, embed=EmbedConfig(max_tokens_per_pack=100))
    monkeypatch.setattr(files_module, "embed_pack", die_in_the_second_pack)
    monkeypatch.setattr(files_module, "FLUSH_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(data, checkpoint, config, out)
    (folder,) = (out / ".representations").iterdir()
    resumed = run(data, checkpoint, config, out)
    whole = calls["packs"] - 1
    assert not folder.parent.exists()
    calls.clear()
    calls["packs"] = 2
    afresh = run(data, checkpoint, config, tmp_path / "afresh")
    assert calls["packs"] - 2 == whole
    assert numbers_of(afresh) == numbers_of(resumed)


def test_folds_that_share_their_training_rnas_share_the_fit(
    data, checkpoint, tmp_path, monkeypatch
):
    lines = [*build_lines(), ("x", "huge", "A" * 60, "." * 60), ("y", "vast", "C" * 60, "." * 60)]
    write_structures(data, lines)
    real_fit, fits = run_fold_module.fit_pair_model, Counter()

    def count(*arguments, **keywords):
        fits["calls"] += 1
        return real_fit(*arguments, **keywords)

    monkeypatch.setattr(run_fold_module, "fit_pair_model", count)
    config = build_toy_config(systems=("one-hot",), fit=FitConfig(max_fit_length_nt=50))
    results = run(data, checkpoint, config, tmp_path / "out")
    assert len(results) == 5
    assert fits["calls"] == 4
    together = [result.threshold for result in results if result.part in ("huge", "vast")]
    alone = run(data, checkpoint, config, tmp_path / "alone", ["vast"])
    assert together == [alone[0].threshold] * 2


@pytest.mark.parametrize(
    "regime",
    [build_toy_config().regime, RegimeConfig(regime="lora", lora=LoraConfig(every=1), max_steps=3)],
    ids=["frozen", "lora"],
)
def test_processes_give_the_numbers_of_one(data, checkpoint, tmp_path, regime):
    config = build_toy_config(systems=("pretrained", "one-hot"), regime=regime)
    alone = run(data, checkpoint, replace(config, workers=1), tmp_path / "one", ["long"])
    together = run(data, checkpoint, replace(config, workers=2), tmp_path / "two", ["long"])
    assert numbers_of(together) == numbers_of(alone)


def test_workers_end_with_a_killed_parent(tmp_path):
    code = (
        "import os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from openrinalmo.pipeline.downstream.structure_folds.evaluate import begin_worker\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), initializer=begin_worker)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600).result()\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = Path("/proc", parent.stdout.readline().strip())
        assert worker.is_dir()
        parent.kill()
    with suppress(FileNotFoundError, ProcessLookupError):
        for _ in range(600):
            if "\nState:\tZ" in (worker / "status").read_text():
                return
            time.sleep(0.1)
        pytest.fail(f"{worker.name} lives on")


def test_a_broken_result_is_named(data, checkpoint, tmp_path):
    config, out = build_toy_config(systems=("one-hot",)), tmp_path / "out"
    run(data, checkpoint, config, out, ["long"])
    (path,) = (out / "folds").glob("*.json")
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=rf"{path.name} is no fold result .*delete it"):
        run(data, checkpoint, config, out, ["long"])


def test_the_path_through_saved_heads_is_that_of_its_parts(data, checkpoint, tmp_path):
    """The path through saved heads and decoders gives what its published parts give by hand."""
    config = build_toy_config(systems=("one-hot",))
    benchmark = read_benchmark(data, config, ["long"])
    (result,) = evaluate_benchmark(benchmark, checkpoint, config, out=tmp_path / "out")
    (fold,) = benchmark.folds
    records = dict(enumerate(benchmark.records))
    rows = encode_one_hot([record.sequence for record in records.values()])
    np.save(tmp_path / "rows.npy", rows)
    lengths = {index: len(record.sequence) for index, record in records.items()}
    representations = open_representations(tmp_path / "rows.npy", lengths)
    cpu = torch.device("cpu")
    head = fit_pair_model(
        representations,
        records,
        fold.train,
        config.regime,
        encoder=None,
        folder=tmp_path,
        key="fit",
        device=cpu,
        validate=None,
    ).model.head

    def rank(index, threshold):
        rows_LD = representations.load(index, cpu)
        with torch.inference_mode():
            probabilities_LL = head(rows_LD).sigmoid().numpy()
        return rank_pairs(probabilities_LL, records[index].sequence, threshold)

    ranked = {index: rank(index, 0.01) for index in fold.validation}
    f1 = {
        threshold: np.mean(
            [
                score_pairs(records[index].pairs_P2, ranked[index].above(threshold), True).f1
                for index in fold.validation
            ]
        )
        for threshold in THRESHOLD_GRID
    }
    best = max(THRESHOLD_GRID, key=lambda threshold: (f1[threshold], -threshold))
    assert (result.threshold, result.validation_f1) == (best, pytest.approx(f1[best]))
    for index, one in zip(fold.test, result.sequences, strict=True):
        pairs_P2 = rank(index, best).pairs_P2
        assert one.predicted == build_dot_bracket(pairs_P2, lengths[index])
        assert one.relaxed == count_pairs(records[index].pairs_P2, pairs_P2, relaxed=True)
