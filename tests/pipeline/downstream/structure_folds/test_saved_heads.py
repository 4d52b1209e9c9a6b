"""Fitted heads: kept with all that they are, used again, and refused on another fold."""

from dataclasses import replace

import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    embed_sequences,
    load_checkpoint,
)
from openrinalmo.pipeline.downstream.structure import DecoderConfig, decode
from openrinalmo.pipeline.downstream.structure_folds import run_fold as run_fold_module
from openrinalmo.pipeline.downstream.structure_folds.evaluate import evaluate_benchmark
from openrinalmo.pipeline.downstream.structure_folds.saved_heads import (
    find_head,
    list_mismatches,
    load_head,
    rebuild_encoder,
)
from openrinalmo.pipeline.downstream.structure_folds.structure_config import FitConfig
from openrinalmo.pipeline.downstream.structures.dot_bracket import build_dot_bracket
from openrinalmo.pipeline.downstream.tasks.families import read_benchmark
from support.families import build_toy_config, write_checkpoint

CONFIG = build_toy_config(systems=("pretrained",))


@pytest.fixture
def first(data, checkpoint, tmp_path):
    """Results of a run whose heads lie in out/heads."""
    benchmark = read_benchmark(data, CONFIG)
    return evaluate_benchmark(benchmark, checkpoint, CONFIG, out=tmp_path / "out")


def refuse_to_fit(*arguments, **keywords):
    raise AssertionError("a head was fitted")


def heads_by_family(folder):
    loaded = {path: load_head(path) for path in sorted(folder.glob("*.safetensors"))}
    return {saved.facts.held_out: path for path, saved in loaded.items()}


def test_a_head_says_what_it_is(first, checkpoint, tmp_path):
    heads = heads_by_family(tmp_path / "out" / "heads")
    assert sorted(heads) == [("long",), ("middle",), ("short",)]
    saved = load_head(heads["long",])
    (result,) = (one for one in first if one.part == "long")
    assert saved.facts.system == "pretrained"
    assert saved.facts.encoder == checkpoint.sha256
    assert saved.facts.fitted_families == ("middle", "short")
    assert saved.facts.data.startswith("toy ")
    assert saved.fit.rule == result.rule
    assert (saved.fit.num_train, saved.fit.rule.num_validation) == (8, 4)
    assert saved.fit.rule.families == ("middle", "short")
    assert not saved.head.training


def test_kept_heads_are_used_again(first, data, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(run_fold_module, "fit_pair_model", refuse_to_fit)
    config = replace(CONFIG, max_test_per_part=2)
    fewer = evaluate_benchmark(
        read_benchmark(data, config), checkpoint, config, out=tmp_path / "out"
    )
    for one, whole in zip(fewer, first, strict=True):
        assert one.rule == whole.rule
        assert set(one.sequences) < set(whole.sequences)


def test_another_decoder_is_tuned_on_the_kept_head(first, data, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(run_fold_module, "fit_pair_model", refuse_to_fit)
    config = replace(CONFIG, decoder=DecoderConfig(name="matching"))
    results = evaluate_benchmark(
        read_benchmark(data, config), checkpoint, config, out=tmp_path / "out"
    )
    assert {one.rule and one.rule.decoder.name for one in results} == {"matching"}
    assert {one.rule and one.rule.decoder.name for one in first} == {"greedy"}


def test_given_heads_give_the_numbers_of_their_run(first, data, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(run_fold_module, "fit_pair_model", refuse_to_fit)
    benchmark, out = read_benchmark(data, CONFIG), tmp_path / "other"
    heads = tmp_path / "out" / "heads"
    results = evaluate_benchmark(benchmark, checkpoint, CONFIG, out=out, heads=heads)
    assert [one.sequences for one in results] == [one.sequences for one in first]
    assert not (out / "heads").exists()


def test_the_head_of_another_fold_is_refused(first, data, checkpoint, tmp_path):
    wrong = heads_by_family(tmp_path / "out" / "heads")["short",]
    benchmark = read_benchmark(data, CONFIG, ["long"])
    with pytest.raises(
        ValueError, match=r"was fitted on long \(held out: short\), so its score there would"
    ):
        evaluate_benchmark(benchmark, checkpoint, CONFIG, out=tmp_path / "b", heads=wrong)
    assert not list(tmp_path.glob("b/folds/*"))


def test_other_encoders_rnas_and_files_are_refused(first, data, checkpoint, tmp_path):
    heads = tmp_path / "out" / "heads"
    benchmark = read_benchmark(data, CONFIG)

    def evaluate(benchmark, checkpoint, heads, config=CONFIG):
        return evaluate_benchmark(benchmark, checkpoint, config, out=tmp_path / "c", heads=heads)

    other = load_checkpoint(write_checkpoint(tmp_path / "other", seed=9))
    with pytest.raises(ValueError, match="was fitted on another encoder"):
        evaluate(benchmark, other, heads)
    fewer = replace(CONFIG, fit=FitConfig(max_fit_sequences=5))
    with pytest.raises(ValueError, match="was fitted on other RNAs .* preset or seed are not"):
        evaluate(read_benchmark(data, fewer), checkpoint, heads, fewer)
    with pytest.raises(FileNotFoundError, match="no saved head in"):
        evaluate(benchmark, checkpoint, tmp_path / "run" / "none")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(next(heads.iterdir()).read_bytes()[:100])
    with pytest.raises(ValueError, match=r"broken\.safetensors is no saved base-pair head"):
        evaluate(benchmark, checkpoint, broken)
    with pytest.raises(ValueError, match=r"no saved base-pair head .* format is 'openrinalmo-1'"):
        evaluate(benchmark, checkpoint, tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize("regime", ["linear", "lora", "full"])
def test_what_other_regimes_fit_is_kept_and_given_alike(
    data, checkpoint, tmp_path, monkeypatch, regime
):
    """Who was held out, the encoder and the regime stand beside adapters and weights too."""
    settings = replace(CONFIG.regime, regime=regime, epochs=2, max_steps=0)
    if regime == "lora":
        settings = replace(settings, lora=LoraConfig(rank=2, every=1))
    config = replace(CONFIG, regime=settings)
    benchmark = read_benchmark(data, config)
    first = evaluate_benchmark(benchmark, checkpoint, config, out=tmp_path / "out")
    heads = tmp_path / "out" / "heads"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["folds", "heads"]
    saved = load_head(heads_by_family(heads)["long",])
    assert (saved.facts.regime, saved.facts.encoder) == (regime, checkpoint.sha256)
    weights = checkpoint.encoder.state_dict()
    assert bool(saved.encoder) == settings.trains_encoder
    if regime == "full":
        assert any(not torch.equal(one, weights[name]) for name, one in saved.encoder.items())

    monkeypatch.setattr(run_fold_module, "fit_pair_model", refuse_to_fit)
    # What the head was fitted with is its own; this run says what is read and held out.
    claimed = replace(config, regime=replace(RegimeConfig(regime=regime), epochs=7))
    given = evaluate_benchmark(benchmark, checkpoint, claimed, out=tmp_path / "b", heads=heads)
    assert [one.sequences for one in given] == [one.sequences for one in first]
    assert [one.settings for one in given] == [one.settings for one in first]
    with pytest.raises(ValueError, match=rf"was fitted with regime\.regime={regime}, .*not frozen"):
        evaluate_benchmark(benchmark, checkpoint, CONFIG, out=tmp_path / "c", heads=heads)
    other = load_checkpoint(write_checkpoint(tmp_path / "other", seed=9))
    with pytest.raises(ValueError, match="was fitted on another encoder"):
        evaluate_benchmark(benchmark, other, config, out=tmp_path / "c", heads=heads)
    wrong = heads_by_family(heads)["short",]
    alone = read_benchmark(data, config, ["long"])
    with pytest.raises(ValueError, match=r"was fitted on long \(held out: short\)"):
        evaluate_benchmark(alone, checkpoint, config, out=tmp_path / "c", heads=wrong)


@pytest.mark.parametrize("regime", ["lora", "full"])
def test_a_fitted_encoder_is_exported_as_a_plain_one(data, checkpoint, tmp_path, regime):
    """Its rows are those that the head was scored on: the head alone scores the same on them."""
    settings = replace(CONFIG.regime, regime=regime, max_steps=6)
    if regime == "lora":
        settings = replace(settings, lora=LoraConfig(rank=2, every=1))
    config = replace(CONFIG, regime=settings)
    benchmark = read_benchmark(data, config, ["long"])
    (result,) = evaluate_benchmark(benchmark, checkpoint, config, out=tmp_path / "out")
    saved = load_head(next((tmp_path / "out" / "heads").iterdir()))
    before = checkpoint.encoder.state_dict()
    encoder = rebuild_encoder(saved, checkpoint.encoder)
    assert encoder.state_dict().keys() == before.keys()
    assert any(not torch.equal(one, before[name]) for name, one in encoder.state_dict().items())
    for index, scored in zip(benchmark.folds[0].test, result.sequences, strict=True):
        sequence = benchmark.records[index].sequence
        rows = embed_sequences(encoder, [sequence], EmbedConfig(), device=torch.device("cpu"))
        with torch.no_grad():
            probabilities_LL = saved.head(torch.from_numpy(rows)).sigmoid().numpy()
        pairs_P2 = decode(probabilities_LL, sequence, saved.fit.rule.decoder)
        assert build_dot_bracket(pairs_P2, len(sequence)) == scored.predicted


def test_of_heads_of_several_fits_one_is_taken_by_its_settings(data, checkpoint, tmp_path):
    benchmark = read_benchmark(data, CONFIG, ["long"])
    longer = replace(CONFIG, regime=replace(CONFIG.regime, max_steps=CONFIG.regime.max_steps + 1))
    scored = {}
    for config in (CONFIG, longer):
        out = tmp_path / "out"
        scored[config.regime.max_steps] = evaluate_benchmark(benchmark, checkpoint, config, out=out)
    heads = tmp_path / "out" / "heads"
    assert len(list(heads.iterdir())) == 2
    for config in (CONFIG, longer):
        (given,) = evaluate_benchmark(
            benchmark, checkpoint, config, out=tmp_path / "given", heads=heads
        )
        assert given.settings == scored[config.regime.max_steps][0].settings
    other = replace(CONFIG, regime=replace(CONFIG.regime, max_steps=CONFIG.regime.max_steps + 2))
    with pytest.raises(ValueError, match=r"heads of several fits for long .*differ in max_steps"):
        evaluate_benchmark(benchmark, checkpoint, other, out=tmp_path / "c", heads=heads)


def test_of_many_the_error_speaks_of_the_head_of_this_fold(first, checkpoint, tmp_path):
    heads = heads_by_family(tmp_path / "out" / "heads")
    for held_out, path in heads.items():
        facts = load_head(path).facts
        wanted = replace(facts, fit_sha256="other RNAs", encoder="another encoder")
        with pytest.raises(
            ValueError, match=rf"{path.name} was fitted on another encoder .* other"
        ):
            find_head(path.parent, wanted, "")
        one_hot = replace(facts, system="one-hot")
        with pytest.raises(ValueError, match=rf"with {held_out[0]} held out\. {path.name} reads"):
            find_head(path.parent, one_hot, "")


def test_a_head_comes_back_bit_for_bit(first, tmp_path):
    path = heads_by_family(tmp_path / "out" / "heads")["long",]
    saved = load_head(path)
    again = load_head(find_head(path.parent, saved.facts, saved.fit.settings))
    rows_LD = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(saved.head(rows_LD), again.head(rows_LD))
    assert list_mismatches(saved.facts, again.facts) == []
