"""What base-pair tasks hand to the report: parts, slices, gains, cases, curves, published rows."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.baselines import Folder
from openrinalmo.pipeline.downstream.reports.report import write_report
from openrinalmo.pipeline.downstream.reports.scorecard import build_scorecard
from openrinalmo.pipeline.downstream.reports.scorecard_text import format_text
from openrinalmo.pipeline.downstream.structure_folds.evaluate import evaluate_benchmark
from openrinalmo.pipeline.downstream.structure_folds.structure_report import build_structure_report
from openrinalmo.pipeline.downstream.structures.dot_bracket import build_dot_bracket
from openrinalmo.pipeline.downstream.task_report import read_task_report, write_task_report
from openrinalmo.pipeline.downstream.tasks.families import (
    build_families_config,
    read_benchmark,
)
from openrinalmo.pipeline.downstream.tasks.intra_family import read_intra_family
from openrinalmo.pipeline.downstream.tasks.out_of_family import read_out_of_family
from support.families import build_lines, build_toy_config, write_structures
from support.shared import SHARED, requires_shared

ARCHIVEII = "data/structure/archiveII_3966.tsv.xz"
FOLD_FILE = "data/structure/sinclab_archiveII_fam_folds.csv.xz"
KNOT = ("GGCCAAGGAAGGCCAACC", "((((..[[..))))..]]")
"""Four nested pairs and two that cross them."""


@pytest.fixture
def fold_as(monkeypatch):
    """Let `viennarna` predict a given dot-bracket of each sequence."""

    def patch(marks):
        fake = Folder(name="ViennaRNA", version="0", fold_to_dot_bracket=marks.__getitem__)
        for module in ("run_fold", "plans"):
            monkeypatch.setattr(
                f"openrinalmo.pipeline.downstream.structure_folds.{module}.find_folder",
                lambda _: fake,
            )

    return patch


def build_card(benchmark, checkpoint, config, out):
    results = evaluate_benchmark(benchmark, checkpoint, config, out=out)
    return build_scorecard(benchmark, checkpoint.metadata, config, results)


def values_of(report, metric, system="ViennaRNA"):
    return {
        score.part: score.value
        for score in report.scores
        if (score.metric, score.system) == (metric, system)
    }


def test_slices_by_hand(tmp_path, checkpoint, fold_as):
    sequence, known = KNOT
    wobble = ("GGGAAAAACUC", "(((.....)))")
    odd = ("GGAAAAAAACC", "(((.....)))")
    long = ("A" * 50 + "GGGG" + "A" * 50 + "CCCC", "." * 50 + "((((" + "." * 50 + "))))")
    rows = [("k", "a", sequence, known), ("w", "a", *wobble), ("o", "b", *odd), ("l", "b", *long)]
    data = write_structures(tmp_path / "hand.tsv", rows)
    fold_as(
        {
            sequence: known.replace("[", ".").replace("]", "."),
            wobble[0]: wobble[1],
            odd[0]: "((.......))",
            long[0]: "." * 108,
        }
    )
    config = build_toy_config(systems=("viennarna",))
    card = build_card(read_benchmark(data, config), checkpoint, config, tmp_path / "out")
    report = build_structure_report(card)
    f1 = values_of(report, "F1 strict")
    # k: 4 of 6 pairs, no wrong one: 0.8. w: 1. o: 2 of 3: 0.8. l: 0.
    assert f1["a"] == pytest.approx(0.9)
    assert f1["b"] == pytest.approx(0.4)
    assert f1["mean of families"] == f1["mean of sequences"] == pytest.approx(0.65)
    assert f1["mean of sequences, RNAs with a pseudoknot"] == pytest.approx(0.8)
    assert f1["mean of sequences, 1-100 nt"] == pytest.approx(2.6 / 3)
    assert f1["mean of sequences, 101-200 nt"] == 0
    # The A-A pair of o is no pair a decoder may predict.
    assert f1["mean of sequences, canonical truth"] == pytest.approx((0.8 + 1 + 1 + 0) / 4)
    assert f1["mean of families, canonical truth"] == pytest.approx((0.9 + 0.5) / 2)
    recall = values_of(report, "recall strict")
    assert recall["mean of sequences, pseudoknot pairs"] == 0
    assert recall["pooled pairs"] == pytest.approx((4 + 3 + 2) / (6 + 3 + 3 + 4))
    assert not [part for part in f1 if "201-300" in part or "near" in part]
    primary = [score for score in report.scores if score.is_primary]
    assert [(one.part, one.metric) for one in primary] == [("mean of families", "F1 relaxed")]
    assert primary[0].regime == "none"
    assert report.costs["a: tested nt"] == 29
    assert "a: ViennaRNA, test seconds" in report.costs
    assert (report.gains, report.curves, report.published) == ((), (), ())
    assert [(one.part, one.label, one.id) for one in report.cases] == [
        *(("a", "best", "w"), ("a", "worst", "k")),
        *(("b", "best", "o"), ("b", "worst", "l")),
    ]
    assert report.cases[1].known == known


def test_near_duplicates_are_counted_and_scored_apart(tmp_path, checkpoint, fold_as):
    generator = np.random.default_rng(0)
    fit, test = (["".join(generator.choice(list("ACGU"), 60)) for _ in range(4)] for _ in range(2))
    flat, stem = "." * 60, "((((....))))" + "." * 48
    write_structures(tmp_path / "fit.tsv", [(f"f{n}", "x", one, stem) for n, one in enumerate(fit)])
    rows = [("copy", fit[0]), ("part", fit[1][5:] + "ACGUA"), ("new", test[0]), ("more", test[1])]
    write_structures(tmp_path / "test.tsv", [(name, "y", one, stem) for name, one in rows])
    fold_as({one: stem if name in ("copy", "part") else flat for name, one in rows})
    config = build_toy_config(systems=("viennarna",), validation_fraction=0.5)
    benchmark = read_out_of_family(
        None, config, fit=tmp_path / "fit.tsv", tests={"mine": tmp_path / "test.tsv"}
    )
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    report = build_structure_report(card)
    f1 = values_of(report, "F1 relaxed")
    assert f1["mine"] == pytest.approx(0.5)
    assert f1["mine, no near duplicates"] == 0
    sentence = "Tested RNAs that the fit holds exactly + nearly (8-mers say at least 90% identity)"
    assert f"{sentence}: mine 1 + 1 of 4." in report.notes
    assert f"{sentence}: mine 1 + 1 of 4." in format_text(card)
    assert "mean of families" not in f1


def test_a_whole_evaluation_goes_through_json(tmp_path, checkpoint):
    data = write_structures(tmp_path / "mine.tsv", build_lines())
    config = build_toy_config()
    benchmark = read_intra_family(data, config)
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    report = build_structure_report(card)
    assert read_task_report(write_task_report(report, tmp_path / "tasks")).scores == report.scores
    assert report.signature.startswith("benchmark:mine-intra|")
    assert "|regime:frozen|" in report.signature
    assert "|decoder:greedy|" in report.signature
    systems = ("pretrained", "random encoder", "one-hot")
    assert {(score.system, score.regime) for score in report.scores} == {
        (system, "frozen") for system in systems
    }
    primary = [one for one in report.scores if one.is_primary]
    assert [(one.system, one.part) for one in primary] == [(one, "test") for one in systems]
    gains = {(one.baseline, one.part, one.metric): one for one in report.gains}
    assert len(gains) == 4
    values = values_of(report, "F1 relaxed", "pretrained")
    twin = values_of(report, "F1 relaxed", "random encoder")
    gain = gains["random encoder", "test", "F1 relaxed"]
    assert gain.gain == pytest.approx(values["test"] - twin["test"])
    assert {(one.kind, one.system, one.part) for one in report.curves} == {
        (kind, system, "test") for kind in ("reliability", "precision-recall") for system in systems
    }
    names = {path.name for path in write_report(card, tmp_path / "out")}
    assert "intra-family.txt" in names
    assert "test  " in (tmp_path / "out" / "intra-family.txt").read_text()
    for case in report.cases:
        assert len(case.known) == len(case.predicted) == len(case.sequence)
        assert build_dot_bracket([], 3) == "..."


def test_odd_rnas_are_tested_like_any_other(tmp_path, checkpoint):
    """One to five bases, nothing but N, no pair at all: scored 0 and nowhere in the way."""
    fit = write_structures(tmp_path / "fit.tsv", build_lines(per_family=3))
    rows = [(f"l{n}", "x", "GAAAC"[:n], "....."[:n]) for n in range(1, 6)]
    rows += [("n", "x", "N" * 30, "." * 30), ("m", "x", "N" * 9, "(.......)")]
    test = write_structures(tmp_path / "test.tsv", rows)
    config = build_toy_config(systems=("pretrained", "one-hot", "k-mer"))
    benchmark = read_out_of_family(None, config, fit=fit, tests={"odd": test})
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    report = build_structure_report(card)
    for system in ("pretrained", "one-hot", "k-mer"):
        assert values_of(report, "F1 relaxed", system)["odd"] == 0
    by_id = {one.id: one for one in card.results[0].sequences}
    assert by_id["l1"].predicted == "."
    assert by_id["n"].predicted == "." * 30
    assert by_id["m"].strict.target == 1
    assert [(case.label, case.id) for case in report.cases] == [("best", "m")]


@pytest.mark.parametrize("regime", ["linear", "lora", "full"])
def test_other_regimes_keep_what_they_fit_and_are_named(tmp_path, checkpoint, regime):
    data = write_structures(tmp_path / "mine.tsv", build_lines(per_family=4))
    config = build_toy_config(systems=("pretrained", "one-hot"))
    settings = replace(config.regime, regime=regime, epochs=1)
    if regime == "lora":
        settings = replace(settings, lora=replace(settings.lora, every=1))
    config = replace(config, regime=settings)
    benchmark = read_intra_family(data, config)
    before = copy.deepcopy(checkpoint.encoder.state_dict())
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    after = checkpoint.encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    encoder, one_hot = card.results
    assert encoder.regime == regime
    assert one_hot.regime == ("linear" if regime == "linear" else "frozen")
    assert encoder.rule is not None
    for path in (tmp_path / "out" / "folds").iterdir():
        path.unlink()
    again = evaluate_benchmark(benchmark, checkpoint, config, out=tmp_path / "out")
    assert [one.sequences for one in again] == [one.sequences for one in card.results]


@pytest.mark.slow
@requires_shared(ARCHIVEII, FOLD_FILE)
def test_viennarna_scores_what_others_measured_on_the_fold_file(tmp_path, checkpoint):
    """ViennaRNA 2.8.0, MFE, default parameters: means that were computed outside this project."""
    pytest.importorskip("RNA")
    config = replace(build_families_config("full"), systems=("viennarna",), workers=1)
    benchmark = read_benchmark(SHARED / ARCHIVEII, config, fold_file=SHARED / FOLD_FILE)
    assert sum(len(fold.test) for fold in benchmark.folds) == 3_864
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    f1 = {(cell.scope, cell.scoring): cell.f1 for cell in card.cells}
    assert f1["mean of families", "strict"] == pytest.approx(0.562, abs=0.003)
    assert f1["mean of families", "relaxed"] == pytest.approx(0.585, abs=0.003)
    assert f1["mean of sequences", "strict"] == pytest.approx(0.581, abs=0.003)
    assert f1["mean of sequences", "relaxed"] == pytest.approx(0.608, abs=0.003)


@requires_shared(ARCHIVEII, FOLD_FILE)
def test_viennarna_on_one_family_of_the_fold_file(tmp_path, checkpoint):
    """The 15 23S domains, folded here and scored by hand (F1 of each RNA, then the mean)."""
    pytest.importorskip("RNA")
    config = replace(build_families_config("full"), systems=("viennarna",), workers=1)
    benchmark = read_benchmark(SHARED / ARCHIVEII, config, ["23s"], fold_file=SHARED / FOLD_FILE)
    card = build_card(benchmark, checkpoint, config, tmp_path / "out")
    f1 = {(cell.scope, cell.scoring): cell.f1 for cell in card.cells}
    assert f1["23s", "strict"] == pytest.approx(0.694, abs=0.003)
    assert f1["23s", "relaxed"] == pytest.approx(0.709, abs=0.003)
