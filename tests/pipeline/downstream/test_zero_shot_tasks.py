"""Zero-shot structure, mutation effects, embeddings: from file to report, resume, odd settings."""

import importlib.util
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from openrinalmo.model.weights import load_masked_lm
from openrinalmo.pipeline.downstream.baselines import find_viennarna
from openrinalmo.pipeline.downstream.devices import choose_device
from openrinalmo.pipeline.downstream.representations.embed import EmbedConfig, embed_sequences
from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.scores.unit_table import read_table
from openrinalmo.pipeline.downstream.tasks import mutation_effects, zero_shot_structure
from openrinalmo.pipeline.downstream.tasks.embeddings import evaluate_embeddings
from openrinalmo.pipeline.downstream.tasks.mutation_effects import evaluate_mutation_effects
from openrinalmo.pipeline.downstream.tasks.zero_shot_structure import evaluate_zero_shot_structure
from openrinalmo.pipeline.downstream.zero_shot import rna_vectors
from openrinalmo.pipeline.downstream.zero_shot.contact_report import (
    BEST_MAP,
    JACOBIAN,
    METRICS,
    PROBE,
)
from openrinalmo.pipeline.downstream.zero_shot.substitution_scores import CONVENTIONS
from openrinalmo.pipeline.downstream.zero_shot.zero_shot_settings import (
    EFFECT_PRESETS,
    EMBEDDING_PRESETS,
    STRUCTURE_PRESETS,
    EmbeddingsConfig,
    MutationEffectsConfig,
    ZeroShotStructureConfig,
    choose_preset,
)
from support.families import build_lines, write_checkpoint, write_structures

BOOTSTRAP = BootstrapConfig(num_resamples=20)
STRUCTURE = ZeroShotStructureConfig(
    preset="toy",
    systems=("pretrained", "random encoder", "letters"),
    rnas_per_family=3,
    fit_rnas=3,
    tune_rnas=3,
    device="cpu",
    bootstrap=BOOTSTRAP,
)
EFFECTS = MutationEffectsConfig(
    preset="toy", rnas_per_family=2, pairs_per_rna=2, device="cpu", bootstrap=BOOTSTRAP
)
EMBEDDINGS = EmbeddingsConfig(
    preset="toy", min_family_size=3, projection="PCA", device="cpu", bootstrap=BOOTSTRAP
)
ASSAY = """assay,wild_type,variant,effect
x,GACUGCAUCA,A2G,0.1
x,,C3U,0.5
x,,"A2G,C3U",0.9
x,,GACUGAUCA,-1
y,GGGAAACCC,G1A,3
y,,G1C,2
y,,G2C,
y,,WT,5
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_masked_lm(write_checkpoint(tmp_path_factory.mktemp("run")))


@pytest.fixture
def data(tmp_path):
    return write_structures(tmp_path / "toy.tsv", build_lines())


@pytest.fixture
def assays(tmp_path):
    path = tmp_path / "assays.csv"
    path.write_text(ASSAY)
    return path


def numbers_of(report):
    """All but what a clock measured."""
    return replace(report, costs={})


def refuse(*_, **__):
    raise AssertionError("computed again")


def test_structure_scores_every_system_in_every_way(data, loaded, tmp_path):
    report = evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "out")
    rows = {(one.system, one.regime, one.part, one.metric): one for one in report.scores}
    regimes = {(one.system, one.regime) for one in report.scores}
    assert regimes == {
        *((system, way) for system in STRUCTURE.systems[:2] for way in (JACOBIAN, BEST_MAP, PROBE)),
        ("letters", "none"),
    }
    parts = ("long", "middle", "short", "mean of families", "mean of sequences")
    assert len(rows) == len(report.scores) == 7 * len(parts) * len(METRICS)
    assert all(0 <= one.value <= 1 for one in report.scores)
    # Hairpins of nothing but a stem are what the letters show.
    assert rows["letters", "none", "long", "F1 strict"].value > 0.7
    primary = [(one.system, one.regime, one.metric) for one in report.scores if one.is_primary]
    assert primary == [
        ("pretrained", JACOBIAN, METRICS[0]),
        ("random encoder", JACOBIAN, METRICS[0]),
        ("letters", "none", METRICS[0]),
    ]
    gains = [(one.system, one.baseline, one.part, one.metric) for one in report.gains]
    assert len(set(gains)) == len(gains)
    own, other = (f"{one} ({PROBE})" for one in ("pretrained", "random encoder"))
    assert (own, "letters", "mean of families", "AUC") in gains
    assert (own, other, "mean of sequences", "F1 relaxed") in gains
    assert [case.label for case in report.cases] == ["best", "median", "worst"]
    check_table(report, tmp_path / "out" / "sequences.csv")


def check_table(report, path):
    """Every value of a mean of families is the mean of the table's rows."""
    rows = read_table(path, ("system", "regime", "part", "id"))
    assert len({(row["system"], row["regime"], row["id"]) for row in rows}) == len(rows)
    means = [one for one in report.scores if one.part == "mean of families"]
    assert means
    for score in means:
        by_family = defaultdict(list)
        for row in rows:
            if (row["system"], row["regime"]) == (score.system, score.regime):
                by_family[row["part"]].append(float(row[score.metric]))
        assert np.mean([np.mean(some) for some in by_family.values()]) == pytest.approx(score.value)


def test_structure_without_a_family_is_refused(data, loaded, tmp_path):
    first, *lines = data.read_text().splitlines()
    blank = lines[-1].split("\t")
    blank[first.split("\t").index("family")] = ""
    data.write_text("\n".join([first, *lines[:-1], "\t".join(blank)]) + "\n")
    with pytest.raises(ValueError, match="family"):
        evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "out")


def test_structure_goes_on_where_it_stopped(data, loaded, tmp_path, monkeypatch):
    whole = evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "whole")
    compute = zero_shot_structure.compute_jacobian_scores
    calls = []

    def stop_after_four(*args, **settings):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(args[1])
        return compute(*args, **settings)

    monkeypatch.setattr(zero_shot_structure, "compute_jacobian_scores", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "out")
    again = []

    def count(*args, **settings):
        again.append(args[1])
        return compute(*args, **settings)

    monkeypatch.setattr(zero_shot_structure, "compute_jacobian_scores", count)
    resumed = evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "out")
    assert numbers_of(resumed) == numbers_of(whole)
    kept = list((tmp_path / "out" / "results" / "jacobians").iterdir())
    assert len(calls) == 4
    assert len(again) == len(kept) - 4

    monkeypatch.setattr(zero_shot_structure, "compute_jacobian_scores", refuse)
    monkeypatch.setattr(zero_shot_structure, "compute_attention_features", refuse)
    repeated = evaluate_zero_shot_structure(data, loaded, STRUCTURE, out=tmp_path / "out")
    assert numbers_of(repeated) == numbers_of(whole)


def test_structure_by_viennarna(data, loaded, tmp_path):
    if find_viennarna() is None:
        pytest.skip("ViennaRNA is not installed")
    config = replace(STRUCTURE, systems=("ViennaRNA",))
    report = evaluate_zero_shot_structure(data, loaded, config, out=tmp_path)
    [long] = [one for one in report.scores if (one.part, one.metric) == ("long", "F1 relaxed")]
    assert long.value > 0.7
    assert report.cases == report.gains == ()


def test_pack_sizes_and_places_change_no_signature(data, loaded, tmp_path):
    config = replace(STRUCTURE, systems=("letters",))
    signatures = [
        evaluate_zero_shot_structure(data, loaded, one, out=tmp_path).signature
        for one in (config, replace(config, max_tokens_per_pack=7), replace(config, seed=1))
    ]
    assert signatures[0] == signatures[1] != signatures[2]


def test_mutation_effects_of_assays_and_of_structures(data, assays, loaded, tmp_path):
    report = evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path, assays=assays)
    spearman = {
        (one.system, one.regime, one.part): one for one in report.scores if one.metric == "Spearman"
    }
    assert len(spearman) == (2 * len(CONVENTIONS) + 1) * 3
    units = {key[1]: one.units for key, one in spearman.items() if key[::2] == ("pretrained", "x")}
    assert units == {
        f"zero-shot: {name}": 4 if name in ("pseudo-likelihood", "single-pass") else 3
        for name in CONVENTIONS
    }
    # By hand: x counts 1, 1, 2 changes for 0.1, 0.5, 0.9; y counts 1, 1, 0 for 3, 2, 5.
    assert spearman["mutation count", "none", "x"].value == pytest.approx(-(3**0.5) / 2)
    assert spearman["mutation count", "none", "y"].value == pytest.approx(3**0.5 / 2)
    primary = [(one.system, one.regime, one.part) for one in report.scores if one.is_primary]
    assert primary == [
        ("pretrained", "zero-shot: wt-fill", "mean of assays"),
        ("random encoder", "zero-shot: wt-fill", "mean of assays"),
        ("mutation count", "none", "mean of assays"),
    ]
    epistasis = [
        one.value
        for one in report.scores
        if one.metric == "AUC of epistasis" and one.regime.endswith(("wt-fill", "wt-marginal"))
    ]
    assert set(epistasis) == {0.5}
    assert any("Assay x: 1 variants insert or delete" in note for note in report.notes)
    assert "Assay y: 1 rows without a measured effect are left out." in report.notes
    check_table(report, tmp_path / "sequences.csv")
    variants = [
        row
        for row in read_table(tmp_path / "variants.csv", ())
        if (row["system"], row["convention"]) == ("pretrained", "wt-fill")
    ]
    assert [(row["assay"], row["variant"], row["effect"]) for row in variants] == [
        *(("x", "A2G", "0.1"), ("x", "C3U", "0.5"), ("x", "A2G,C3U", "0.9")),
        *(("x", "GACUGAUCA", "-1.0"), ("y", "G1A", "3.0"), ("y", "G1C", "2.0"), ("y", "WT", "5.0")),
    ]
    scores = [row["score"] for row in variants]
    assert scores[3] == ""  # a letter is deleted
    # Under wt-fill single changes add up, and the wild type is 0.
    assert float(scores[2]) == pytest.approx(float(scores[0]) + float(scores[1]), abs=1e-6)
    assert float(scores[6]) == 0


def test_mutation_effects_without_assays_and_once_only(data, loaded, tmp_path, monkeypatch):
    report = evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path)
    primary = [(one.system, one.regime, one.metric) for one in report.scores if one.is_primary]
    assert primary == [
        ("pretrained", "zero-shot: mut-fill", "AUC of epistasis"),
        ("random encoder", "zero-shot: mut-fill", "AUC of epistasis"),
    ]
    assert not any(one.metric == "Spearman" for one in report.scores)
    monkeypatch.setattr(mutation_effects, "score_variants", refuse)
    again = evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path)
    assert numbers_of(again) == numbers_of(report)


def test_mutation_effects_go_on_where_they_stopped(data, assays, loaded, tmp_path, monkeypatch):
    whole = evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path / "w", assays=assays)
    score = mutation_effects.score_variants
    calls = []

    def stop_after_nine(*args, **settings):
        if len(calls) == 9:
            raise KeyboardInterrupt
        calls.append(args)
        return score(*args, **settings)

    monkeypatch.setattr(mutation_effects, "score_variants", stop_after_nine)
    with pytest.raises(KeyboardInterrupt):
        evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path / "o", assays=assays)
    monkeypatch.setattr(mutation_effects, "score_variants", score)
    resumed = evaluate_mutation_effects(data, loaded, EFFECTS, out=tmp_path / "o", assays=assays)
    assert numbers_of(resumed) == numbers_of(whole)


def test_embeddings_of_every_system(data, loaded, tmp_path, monkeypatch):
    report = evaluate_embeddings(data, loaded, EMBEDDINGS, out=tmp_path)
    rows = {(one.system, one.part, one.metric): one for one in report.scores}
    assert {one.system for one in report.scores} == set(EMBEDDINGS.systems)
    for system in EMBEDDINGS.systems:
        for family in ("long", "middle", "short"):
            assert rows[system, family, "kNN accuracy"].units == 6
        for metric in ("ARI", "NMI"):
            assert -1 <= rows[system, "all families", metric].value <= 1
    primary = [(one.system, one.part, one.metric) for one in report.scores if one.is_primary]
    assert primary == [
        (system, "mean of families", "kNN accuracy") for system in EMBEDDINGS.systems
    ]
    assert [(curve.system, curve.kind, len(curve.x)) for curve in report.curves] == [
        (system, "scatter", 18) for system in EMBEDDINGS.systems
    ]
    assert sorted(report.curves[0].labels) == sorted(["long", "middle", "short"] * 6)
    check_table(report, tmp_path / "sequences.csv")
    monkeypatch.setattr(rna_vectors, "pool_means", refuse)
    assert numbers_of(evaluate_embeddings(data, loaded, EMBEDDINGS, out=tmp_path)) == numbers_of(
        report
    )


def test_embeddings_are_means_over_letters_alone_or_packed(loaded):
    sequences = ["GACU", "A", "GGGAAACCCUUU"]
    device = choose_device("cpu")
    packed = rna_vectors.pool_means(loaded.model.encoder, sequences, EmbedConfig(), device=device)
    for row, sequence in zip(packed, sequences, strict=True):
        alone = embed_sequences(loaded.model.encoder, [sequence], EmbedConfig(), device=device)
        np.testing.assert_allclose(row, alone.mean(0), atol=1e-6)


def test_embeddings_without_a_library_for_the_map(data, loaded, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sklearn" else find_spec(name, *rest),
    )
    config = replace(EMBEDDINGS, projection="t-SNE", systems=("k-mer",))
    report = evaluate_embeddings(data, loaded, config, out=tmp_path)
    assert report.curves == ()
    assert report.scores
    assert any("scikit-learn is not installed" in note for note in report.notes)


def test_a_map_of_fewer_points_holds_every_family(data, loaded, tmp_path):
    config = replace(EMBEDDINGS, systems=("k-mer",), max_map_points=6)
    [curve] = evaluate_embeddings(data, loaded, config, out=tmp_path).curves
    assert sorted(curve.labels) == ["long", "long", "middle", "middle", "short", "short"]


@pytest.mark.parametrize("presets", [STRUCTURE_PRESETS, EFFECT_PRESETS, EMBEDDING_PRESETS])
def test_presets_say_their_names(presets):
    names = ["quick", "budget", "full"]
    assert [choose_preset(presets, name).preset for name in names] == list(presets) == names
    with pytest.raises(ValueError, match="quick, budget, full; got 'fast'"):
        choose_preset(presets, "fast")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (STRUCTURE, {"systems": ()}, "systems must name each row once"),
        (STRUCTURE, {"fit_rnas": 0}, "fit_rnas must be positive, got 0"),
        (STRUCTURE, {"rnas_per_family": -1}, "rnas_per_family must not be negative"),
        (EFFECTS, {"conventions": ("wt-fill",) * 2}, "conventions must name each once"),
        (EFFECTS, {"conventions": ("wt-fill",)}, "primary_compensation_convention must be one of"),
        (EFFECTS, {"pairs_per_rna": 0}, "pairs_per_rna must be positive, got 0"),
        (EMBEDDINGS, {"kmer_nt": 7}, "kmer_nt must be between 1 and 6, got 7"),
        (EMBEDDINGS, {"neighbours": 0}, "neighbours must be positive, got 0"),
        (EMBEDDINGS, {"max_families": -1}, "max_families must not be negative"),
        (EMBEDDINGS, {"max_map_points": 2}, "max_map_points must be 3 or more, got 2"),
        *((some, {"seed": -1}, "seed must not be negative") for some in (STRUCTURE, EFFECTS)),
    ],
)
def test_settings_that_are_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)


def test_kmers_of_one_size_are_counted():
    counted = rna_vectors.count_kmers(["ACGUACG", "AC", "NNNN", ""], 3)
    assert counted.shape == (4, 64)
    place = {"ACG": 0 * 16 + 1 * 4 + 2, "CGU": 16 + 2 * 4 + 3, "GUA": 2 * 16 + 3 * 4, "UAC": 49}
    assert {name: counted[0, at] for name, at in place.items()} == pytest.approx(
        {"ACG": 0.4, "CGU": 0.2, "GUA": 0.2, "UAC": 0.2}
    )
    assert not counted[1:].any()
