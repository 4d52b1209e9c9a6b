"""The report says what the fold results say: summaries, gains, tables, files, picture."""

import csv
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.decoders.thresholds import DecodingRule
from openrinalmo.pipeline.downstream.reports.report import write_report
from openrinalmo.pipeline.downstream.reports.scorecard import build_scorecard
from openrinalmo.pipeline.downstream.reports.scorecard_files import write_scorecard
from openrinalmo.pipeline.downstream.reports.scorecard_text import format_text
from openrinalmo.pipeline.downstream.reports.structure_signature import build_signature
from openrinalmo.pipeline.downstream.scores.bootstrap import (
    estimate_mean,
    estimate_mean_of_families,
)
from openrinalmo.pipeline.downstream.scores.summary import compare_systems, summarise
from openrinalmo.pipeline.downstream.scoring import PairCounts
from openrinalmo.pipeline.downstream.structure import DecoderConfig
from openrinalmo.pipeline.downstream.structure_folds.fold_results import FoldResult, SequenceResult
from openrinalmo.pipeline.downstream.structure_folds.folds import Benchmark, Fold
from openrinalmo.pipeline.downstream.structure_folds.structure_config import LABELS
from openrinalmo.pipeline.downstream.structure_folds.structure_report import build_structure_report
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from support.families import build_toy_config

HITS = {
    ("pretrained", "5S & co"): [9, 7, 8],
    ("pretrained", "tRNA"): [5],
    ("viennarna", "5S & co"): [4, 9, 2],
    ("viennarna", "tRNA"): [6],
}
"""Of ten predicted and ten known pairs of each RNA: so F1 is a tenth of it."""


def build_result(system, family, hits):
    sequences = tuple(
        SequenceResult(
            id=f"{family}-{number}",
            length_nt=40,
            predicted="." * 40,
            strict=PairCounts(predicted=10, predicted_hits=hit - 1, target=10, target_hits=hit - 1),
            relaxed=PairCounts(predicted=10, predicted_hits=hit, target=10, target_hits=hit),
        )
        for number, hit in enumerate(hits)
    )
    rule = None
    if system != "viennarna":
        rule = DecodingRule(
            decoder=DecoderConfig(threshold=0.07),
            metric="F1 relaxed",
            value=0.5,
            grid=(0.07,),
            families=("other",),
            num_validation=1,
            tuned_on="0" * 16,
        )
    return FoldResult(key="0", system=system, part=family, sequences=sequences, rule=rule)


@pytest.fixture
def results():
    return [build_result(*names, hits) for names, hits in HITS.items()]


def build_records():
    """Four tested RNAs, one to train on and one to validate on: all unlike each other."""
    generator = np.random.default_rng(0)
    pairs_P2 = np.array([(place, 39 - place) for place in range(10)])
    ids = [
        f"{family}-{n}" for (_, family), hits in list(HITS.items())[:2] for n in range(len(hits))
    ]
    return [
        StructureRecord(
            id=name,
            family=name.partition("-")[0],
            sequence="".join(generator.choice(list("ACGU"), 40)),
            pairs_P2=pairs_P2,
        )
        for name in (*ids, "other-0", "other-1")
    ]


@pytest.fixture
def card(results):
    folds = [
        Fold(
            part=family,
            held_out_family=family,
            test=test,
            train=(4,),
            validation=(5,),
            num_shared=3,
            num_repeats=4,
            num_test_repeats=0,
        )
        for family, test in (("5S & co", (0, 1, 2)), ("tRNA", (3,)))
    ]
    benchmark = Benchmark(
        task="families",
        title="Toy",
        name="toy",
        sources={"toy.tsv": "ab" * 32},
        records=build_records(),
        folds=folds,
    )
    metadata = {"file": "model.safetensors", "sha256": "3f2a" * 16, "step": "7"}
    return build_scorecard(benchmark, metadata, build_toy_config(), results)


def test_summaries_by_hand(results):
    config = build_toy_config().bootstrap
    cells = {(c.system, c.scope, c.scoring): c for c in summarise(results, config)}
    assert cells["pretrained", "5S & co", "relaxed"].f1 == pytest.approx(0.8)
    assert cells["pretrained", "mean of families", "relaxed"].f1 == pytest.approx(0.65)
    assert cells["pretrained", "mean of sequences", "relaxed"].f1 == pytest.approx(29 / 40)
    assert cells["pretrained", "pooled pairs", "strict"].recall == pytest.approx(25 / 40)
    over_families = cells["pretrained", "mean of families", "relaxed"]
    expected = estimate_mean_of_families([[0.9, 0.7, 0.8], [0.5]], config)
    assert (over_families.f1_low, over_families.f1_high) == pytest.approx(expected[1:])
    assert cells["pretrained", "pooled pairs", "strict"].f1_low is None


def test_gain_is_paired(results):
    config = build_toy_config().bootstrap
    (gain,) = compare_systems(results, "pretrained", config)
    assert gain.baseline == "viennarna"
    differences = np.array([0.5, -0.2, 0.6, -0.1])
    assert gain.over_sequences == pytest.approx(estimate_mean(differences, config))
    assert gain.over_families.mean == pytest.approx((0.3 - 0.1) / 2)
    expected = estimate_mean_of_families([differences[:3], differences[3:]], config)
    assert gain.over_families == pytest.approx(expected)


def test_text_has_both_tables_provenance_and_signature(card):
    text = format_text(card)
    relaxed, strict = text.split("Strict F1")
    assert [line.split()[-2:] for line in relaxed.splitlines() if line.startswith("pooled")] == [
        ["0.725", "0.525"]
    ]
    assert "0.625" in strict
    assert "tRNA" in relaxed
    assert "2 fam." in relaxed
    assert "pretrained less ViennaRNA, relaxed F1: +0.200" in text
    assert "6 RNAs whose sequence is in the held-out family, 8 repeats" in text
    assert "pretrained 0.07 0.07" in text
    assert "may have seen the family's sequences in pretraining" in text
    assert text.splitlines()[-1] == build_signature(card)


def test_files_agree_with_each_other(card, tmp_path):
    files = {path.name: path for path in write_report(card, tmp_path / "out")}
    assert sorted(files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    facts = json.loads(files["families.json"].read_text())
    assert facts["signature"] == build_signature(card)
    assert facts["config"]["regime"]["max_steps"] == card.config.regime.max_steps
    with files["families.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["f1"]) for row in rows] == [cell["f1"] for cell in facts["scores"]]
    assert {row["threshold"] for row in rows if row["scope"] == "tRNA"} == {"0.07", ""}
    with files["sequences.csv"].open() as file:
        sequences = list(csv.DictReader(file))
    assert len(sequences) == 8
    of_trna = [row for row in sequences if row["part"] == "tRNA"]
    assert [float(row["relaxed_f1"]) for row in of_trna] == [0.5, 0.6]
    assert {row["signature"] for row in rows + sequences} == {build_signature(card)}
    markdown = files["families.md"].read_text()
    assert "![F1 of each part](families.svg)" in markdown
    assert markdown.count("| tRNA |") == 2
    assert markdown.count("| 5S &amp; co |") == 2  # a family's name is no markup


def test_one_number_has_one_interval_in_all_files(card, tmp_path):
    """`families.csv` is of the cells, `scorecard.csv` of the report's scores."""
    write_report(card, tmp_path / "families")
    report = build_structure_report(card)
    write_scorecard([report], tmp_path)
    with (tmp_path / "families" / "families.csv").open() as file:
        cells = list(csv.DictReader(file))
    with (tmp_path / "scorecard.csv").open() as file:
        scores = {(s["system"], s["part"], s["metric"]): s for s in csv.DictReader(file)}
    assert len(cells) == 2 * 2 * 5
    for cell in cells:
        score = scores[LABELS[cell["system"]], cell["scope"], f"F1 {cell['scoring']}"]
        assert [score[name] for name in ("low", "high")] == [cell["f1_low"], cell["f1_high"]]
        assert float(score["value"]) == pytest.approx(float(cell["f1"]), abs=1e-12)
    assert {cell["f1_low"] for cell in cells if cell["num_sequences"] == "1"} == {""}
    (shown,) = card.gains
    gains = {gain.part: gain for gain in report.gains if gain.metric == "F1 relaxed"}
    for part, estimate in (
        ("mean of families", shown.over_families),
        ("mean of sequences", shown.over_sequences),
    ):
        one = gains[part]
        assert (one.gain, one.low, one.high) == pytest.approx(estimate)


def test_the_level_is_not_rounded(card):
    bootstrap = replace(card.config.bootstrap, level=0.999)
    precise = replace(card, config=replace(card.config, bootstrap=bootstrap))
    assert "the 99.9 % bootstrap interval" in format_text(precise)


def test_small_thresholds_are_whole(card):
    rule = replace(card.results[0].rule, decoder=DecoderConfig(threshold=0.002))
    results = [replace(card.results[0], rule=rule), *card.results[1:]]
    assert "pretrained 0.002 0.07" in format_text(replace(card, results=results))


def test_picture_is_whole_and_bars_have_the_height_of_f1(card, tmp_path):
    write_report(card, tmp_path)
    svg = ElementTree.parse(tmp_path / "families.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    heights = {
        bar.findtext(f"{space}title"): float(bar.get("height", "nan"))
        for bar in svg.iter(f"{space}rect")
        if bar.find(f"{space}title") is not None
    }
    assert heights["pretrained, 5S & co: 0.800"] == pytest.approx(160)
    assert heights["ViennaRNA, tRNA: 0.600"] == pytest.approx(120)
    assert len(heights) == 16


def test_no_results_are_refused(card):
    with pytest.raises(ValueError, match="no system ran"):
        build_scorecard(card.benchmark, card.checkpoint, card.config, [])
