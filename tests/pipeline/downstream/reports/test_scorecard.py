"""The report says what the fold results say: summaries, gains, tables, files, picture."""

import csv
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from openrinalmo.data_prep.audits.audit_lines import write_audit
from openrinalmo.data_prep.shards import hash_manifest
from openrinalmo.pipeline.downstream.decoders.thresholds import DecodingRule
from openrinalmo.pipeline.downstream.reports.report import write_report
from openrinalmo.pipeline.downstream.reports.scorecard import (
    build_scorecard,
    build_signature,
    find_audit,
    format_text,
)
from openrinalmo.pipeline.downstream.scores.bootstrap import estimate_mean
from openrinalmo.pipeline.downstream.scores.summary import compare_systems, summarise
from openrinalmo.pipeline.downstream.scoring import PairCounts
from openrinalmo.pipeline.downstream.structure import DecoderConfig
from openrinalmo.pipeline.downstream.structure_folds.fold_results import FoldResult, SequenceResult
from openrinalmo.pipeline.downstream.structure_folds.folds import Benchmark, Fold
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from support.corpora import make_corpus
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
    expected = estimate_mean([0.8, 0.5], config)
    assert (over_families.f1_low, over_families.f1_high) == pytest.approx(expected[1:])
    assert cells["pretrained", "pooled pairs", "strict"].f1_low is None


def test_gain_is_paired(results):
    config = build_toy_config().bootstrap
    (gain,) = compare_systems(results, "pretrained", config)
    assert gain.baseline == "viennarna"
    differences = np.array([0.5, -0.2, 0.6, -0.1])
    assert gain.over_sequences == pytest.approx(estimate_mean(differences, config))
    assert gain.over_families.mean == pytest.approx((0.3 - 0.1) / 2)


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


def test_signature_changes_with_what_matters(card):
    signature = build_signature(card)
    assert signature.startswith("benchmark:toy-fam|data:abababab|folds:2|")
    assert "|ckpt:3f2a3f2a|" in signature
    config = card.config
    others = [
        replace(card, config=replace(config, seed=5)),
        replace(card, config=replace(config, max_test_per_part=3)),
        replace(card, config=replace(config, fit=replace(config.fit, head_steps=9))),
        replace(card, config=replace(config, fit=replace(config.fit, max_fit_sequences=9))),
        replace(card, config=replace(config, bootstrap=replace(config.bootstrap, seed=9))),
        replace(card, benchmark=replace(card.benchmark, is_partial=True)),
        replace(card, checkpoint={"sha256": "00" * 32}),
    ]
    assert len({signature, *map(build_signature, others)}) == 8
    assert build_signature(replace(card, config=replace(config, workers=7))) == signature


def test_files_agree_with_each_other(card, tmp_path):
    files = {path.name: path for path in write_report(card, tmp_path / "out")}
    assert sorted(files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    facts = json.loads(files["families.json"].read_text())
    assert facts["signature"] == build_signature(card)
    assert facts["config"]["fit"]["head_steps"] == card.config.fit.head_steps
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


def test_the_audit_is_that_of_this_benchmark_against_the_very_corpus(card, tmp_path):
    corpus = make_corpus(tmp_path, num_clusters=20)
    trained = {
        **card.checkpoint,
        "run_config": json.dumps({"data": str(corpus)}),
        "manifest_sha256": hash_manifest(corpus),
    }
    of_run = replace(card, checkpoint=trained)
    assert "do not say which corpus" in find_audit(replace(card, checkpoint={"sha256": "ab"}))
    assert f"make audit CORPUS={corpus} BENCHMARKS=…" in find_audit(of_run)
    entry = {"sha256": card.benchmark.sha256, "corpus": hash_manifest(corpus), "line": "audit:1|x"}
    write_audit(corpus, entry)
    assert find_audit(of_run) == "audit:1|x"
    assert "Audit: audit:1|x" in format_text(of_run)
    write_audit(corpus, {**entry, "sha256": "of another benchmark"})
    assert find_audit(of_run) == "audit:1|x"
    other = replace(card, checkpoint={**trained, "manifest_sha256": "0" * 64})
    assert f"{corpus}, the corpus of this checkpoint, is not there" in find_audit(other)
