"""The signature of a base-pair task changes with all that decides its numbers, and with no more."""

from dataclasses import replace

import pytest

from openrinalmo.pipeline.downstream.baselines import Folder
from openrinalmo.pipeline.downstream.reports.comparison import find_conflicts
from openrinalmo.pipeline.downstream.reports.scorecard import build_scorecard
from openrinalmo.pipeline.downstream.reports.structure_signature import build_signature
from openrinalmo.pipeline.downstream.representations.embed import load_checkpoint
from openrinalmo.pipeline.downstream.scores.signature import parse_signature
from openrinalmo.pipeline.downstream.structure_folds.evaluate import evaluate_benchmark
from openrinalmo.pipeline.downstream.structure_folds.plans import choose_precision
from openrinalmo.pipeline.downstream.structure_folds.structure_report import build_structure_report
from openrinalmo.pipeline.downstream.tasks.families import read_benchmark
from support.families import build_lines, build_toy_config, write_checkpoint, write_structures


@pytest.fixture
def evaluate(tmp_path):
    """A scorecard of the synthetic families under some settings."""
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "run"))
    data = write_structures(tmp_path / "toy.tsv", build_lines(per_family=3))

    def run(config, *, out="out", heads=None):
        benchmark = read_benchmark(data, config)
        folder = tmp_path / out
        results = evaluate_benchmark(benchmark, checkpoint, config, out=folder, heads=heads)
        return build_scorecard(benchmark, checkpoint.metadata, config, results)

    return run


def read_facts(card):
    return parse_signature(build_signature(card))


def test_changes_with_what_matters(evaluate):
    card = evaluate(build_toy_config(systems=("one-hot",)))
    signature = build_signature(card)
    assert signature.startswith(f"benchmark:toy-fam|data:{card.benchmark.sha256[:8]}|folds:3|")
    assert f"|ckpt:{card.checkpoint['sha256'][:8]}|" in signature
    assert "|precision:fp32|truth:all-pairs|empty:zero|bs:50@0.95,seed0|" in signature
    assert "|fit:3x2@0.01,all,<=512nt|" in signature
    config, regime = card.config, card.config.regime
    others = [
        replace(card, config=replace(config, seed=5)),
        replace(card, config=replace(config, max_test_per_part=3)),
        replace(card, config=replace(config, fit=replace(config.fit, max_fit_sequences=9))),
        replace(card, config=replace(config, bootstrap=replace(config.bootstrap, seed=9))),
        replace(card, config=replace(config, bootstrap=replace(config.bootstrap, level=0.9))),
        replace(card, config=replace(config, near_identity=0.8)),
        replace(card, config=replace(config, regime=replace(regime, regime="lora"))),
        replace(card, benchmark=replace(card.benchmark, is_partial=True)),
        replace(card, checkpoint={"sha256": "00" * 32}),
    ]
    assert len({signature, *map(build_signature, others)}) == 1 + len(others)
    alike = [
        replace(config, workers=7),
        replace(config, systems=("pretrained", "one-hot")),
        replace(config, embed=replace(config.embed, max_tokens_per_pack=100)),
        replace(config, regime=replace(regime, save_every_seconds=1.0)),
    ]
    assert {build_signature(replace(card, config=one)) for one in alike} == {signature}


def test_heads_that_are_loaded_bring_their_own_fit(evaluate, tmp_path):
    config = build_toy_config(systems=("pretrained",))
    fitted = evaluate(config)
    heads = tmp_path / "out" / "heads"
    claimed = replace(config, regime=replace(config.regime, max_steps=3000, peak_lr=5e-4))
    first = evaluate(claimed, out="loaded", heads=heads)
    loaded = evaluate(claimed, out="loaded", heads=heads)  # its results are read back
    for card in (first, loaded):
        facts, own = read_facts(card), read_facts(fitted)
        assert facts["fit"] == own["fit"] == "3x2@0.01,all,<=512nt"
        assert facts["config"] == own["config"]
        assert len(facts.pop("heads")) == 8
        assert facts == own
    reports = [build_structure_report(card) for card in (fitted, loaded)]
    assert reports[1].settings["regime"]["max_steps"] == 3
    (conflict,) = find_conflicts(*reports)
    assert conflict.startswith("heads: absent and ")
    both = evaluate(replace(claimed, systems=("pretrained", "one-hot")), out="both", heads=heads)
    assert read_facts(both)["fit"] == "3x2@0.01+3000x2@0.0005,all,<=512nt"


def test_programs_are_named_with_their_versions(evaluate, monkeypatch):
    config = build_toy_config(systems=("viennarna", "squarna-fast"))

    def install(version):
        for module in ("run_fold", "plans"):
            monkeypatch.setattr(
                f"openrinalmo.pipeline.downstream.structure_folds.{module}.find_folder",
                lambda system: Folder(
                    name=system,
                    version=f"{system} {version}",
                    fold_to_dot_bracket=lambda sequence: "." * len(sequence),
                ),
            )

    install(1)
    facts = [read_facts(evaluate(config)) for _ in range(2)]  # computed, then read back
    assert facts[0] == facts[1]
    assert facts[0]["programs"] == "ViennaRNA=viennarna 1;SQUARNA (fast)=squarna-fast 1"
    assert facts[0]["fit"].startswith("none,")
    install(2)
    again = read_facts(evaluate(config))
    assert again["programs"] == "ViennaRNA=viennarna 2;SQUARNA (fast)=squarna-fast 2"
    assert {name for name in again if again[name] != facts[0][name]} == {"programs"}


def test_the_energies_of_a_decoder_have_a_version(evaluate):
    viennarna = pytest.importorskip("RNA")
    config = build_toy_config(systems=("one-hot",))
    decoder = replace(config.decoder, name="mea", use_energy=True)
    facts = read_facts(evaluate(replace(config, decoder=decoder)))
    assert facts["decoder"] == f"mea+energy,w1,viennarna {viennarna.__version__}"
    assert "programs" not in facts


def test_precision_is_what_auto_means_here(monkeypatch):
    config = build_toy_config()
    trained = replace(config, regime=replace(config.regime, regime="lora"))
    assert choose_precision(trained) == "fp32"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    on_gpu = replace(trained, device="auto")
    assert choose_precision(on_gpu) == "bf16"
    assert choose_precision(replace(config, device="auto")) == "fp32"  # nothing but a head trains
    fp32 = replace(on_gpu, regime=replace(on_gpu.regime, precision="fp32"))
    assert choose_precision(fp32) == "fp32"
