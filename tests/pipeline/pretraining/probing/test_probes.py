"""Structure probes: their RNAs, what they score, the same on any number of ranks."""

import lzma
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from openrinalmo.data_prep.sample import SAMPLE_STRUCTURES
from openrinalmo.model.attention_maps import AttentionRecord
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin
from openrinalmo.pipeline.pretraining.probing import probes
from openrinalmo.pipeline.pretraining.probing.probe_images import draw_pair_map
from openrinalmo.pipeline.pretraining.probing.probe_set import read_is_paired, read_probe_set
from openrinalmo.pipeline.pretraining.probing.probes import (
    ProbeConfig,
    ProbeResult,
    StructureProbes,
)
from openrinalmo.pipeline.ranks import Ranks

CONFIG = ProbeConfig(
    rnas_per_family=2, jacobian_rnas_per_family=1, max_length_nt=120, max_tokens_per_pack=2_000
)
ALONE = Ranks(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))


class PlainEngine:
    """A whole model where the probes expect an engine's."""

    def __init__(self, *, num_blocks: int = 1) -> None:
        config = EncoderConfig(embed_dim=16, num_blocks=num_blocks, num_heads=2)
        self.model = build_random_twin(config, seed=0).train()
        self.num_calls = 0

    def train(self, mode: bool = True) -> None:
        self.model.train(mode)

    def predict_all(self, ids_T, cu_seqlens, max_seqlen):
        assert not self.model.training
        self.num_calls += 1
        return self.model(ids_T, cu_seqlens, max_seqlen).logits_TV


def test_the_rnas_are_those_of_the_sample_and_no_family_is_fitted_and_scored():
    rnas = read_probe_set(rnas_per_family=3, max_length_nt=200)
    families = [[rna.family for rna in part] for part in (rnas.fit, rnas.held_out)]
    assert families[0] == ["5S_rRNA"] * 3 + ["Cobalamin"] * 3 + ["U2"] * 3
    assert families[1] == ["tRNA"] * 3 + ["U1"] * 3 + ["Vault"] * 3
    with lzma.open(SAMPLE_STRUCTURES, "rt") as file:
        rows = {line.split("\t")[0]: line.rstrip("\n").split("\t") for line in file}
    for rna in (*rnas.fit, *rnas.held_out):
        _, family, sequence, structure = rows[rna.id]
        assert (rna.family, rna.sequence) == (family, sequence)
        assert len(sequence) <= 200
        assert set(sequence) <= set("ACGU")
        assert int(rna.is_paired_LL.sum()) == sum(mark != "." for mark in structure)
        assert bool((rna.is_paired_LL.sum(0) <= 1).all())
        i, j = rna.is_paired_LL.triu().nonzero().T
        assert bool((j - i >= 4).all())
    assert len({rna.id for rna in (*rnas.fit, *rnas.held_out)}) == 18
    again = read_probe_set(rnas_per_family=3, max_length_nt=200)
    assert [rna.id for rna in again.held_out] == [rna.id for rna in rnas.held_out]
    # More than there are is all there are.
    many = read_probe_set(rnas_per_family=10_000, max_length_nt=160)
    assert sum(rna.family == "U1" for rna in many.held_out) == 19


def test_brackets_of_three_kinds_are_pairs():
    pairs = read_is_paired("([.{)].}").triu().nonzero().tolist()
    assert pairs == [[0, 4], [1, 5], [3, 7]]


def test_a_length_that_leaves_no_rna_is_refused():
    with pytest.raises(ValueError, match="probes.max_length_nt=70 leaves no RNA of 5S_rRNA"):
        StructureProbes(replace(CONFIG, max_length_nt=70))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("every_validations", -1), ("jacobian_rnas_per_family", -1), ("rnas_per_family", 0)],
)
def test_settings_without_a_meaning_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"probes.{setting}"):
        ProbeConfig(**{setting: value})


def test_an_untrained_model_scores_like_chance_and_goes_on_training():
    engine = PlainEngine(num_blocks=2)
    before = {name: value.clone() for name, value in engine.model.state_dict().items()}
    state = torch.get_rng_state()
    result = StructureProbes(CONFIG).run(engine, ALONE)

    assert engine.model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in engine.model.state_dict().items():
        assert torch.equal(value, before[name])
    for name in ("attention_precision", "jacobian_precision", "best_head_precision"):
        assert 0 <= result.scalars[name] < 0.2
    assert result.scalars["best_head"] in range(4)
    by_family = result.by_family["attention_precision_per_family"]
    assert list(by_family) == ["tRNA", "Vault"]
    mean = sum(by_family.values()) / 2
    assert result.scalars["attention_precision"] == pytest.approx(mean)
    kinds = ("attention", "jacobian")
    assert set(result.images) == {f"{kind}/{rna}" for kind in kinds for rna in ("tRNA", "Vault")}
    for image in result.images.values():
        assert image.dtype == np.uint8
        assert image.shape == (len(image), len(image), 3)


@pytest.mark.parametrize("world_size", [2, 3])
def test_any_number_of_ranks_gives_the_same_result_after_equally_many_calls(
    monkeypatch, world_size
):
    expected = StructureProbes(CONFIG).run(PlainEngine(), ALONE)
    shares: list[list[torch.Tensor]] = []

    def keep(share: torch.Tensor) -> torch.Tensor:
        shares[-1].append(share.clone())
        return share

    def add_the_others(share: torch.Tensor) -> torch.Tensor:
        return share + sum(others.pop(0) for others in shares)

    def run(rank: int) -> ProbeResult:
        engine = PlainEngine()
        ranks = replace(ALONE, rank=rank, world_size=world_size)
        result = StructureProbes(CONFIG).run(engine, ranks)
        num_calls.append(engine.num_calls)
        return result

    num_calls: list[int] = []
    for rank in range(1, world_size):
        shares.append([])
        monkeypatch.setattr(probes, "sum_over_ranks", keep)
        assert run(rank) == ({}, {}, {})
    monkeypatch.setattr(probes, "sum_over_ranks", add_the_others)
    result = run(0)
    assert len(set(num_calls)) == 1
    assert result[:2] == expected[:2]
    for tag, image in expected.images.items():
        assert np.array_equal(result.images[tag], image)


def test_a_model_whose_attention_is_the_structure_is_found_out(monkeypatch):
    """Maps of which one holds the pairs: the probe finds it in families it was not fitted to."""
    rnas = read_probe_set(rnas_per_family=2, max_length_nt=120)
    structure_of = {
        rna.ids_T.numpy().tobytes(): rna.is_paired_LL for rna in (*rnas.fit, *rnas.held_out)
    }

    def read_planted(self, ids_T, *, sequence=0):
        gen = torch.Generator().manual_seed(len(ids_T))
        is_paired_LL = structure_of[ids_T.numpy().tobytes()]
        noise = torch.rand(3, *is_paired_LL.shape, generator=gen)
        noise[1] += 2 * is_paired_LL
        return noise / noise.sum(-1, keepdim=True)

    monkeypatch.setattr(AttentionRecord, "read_maps", read_planted)
    result = StructureProbes(CONFIG).run(PlainEngine(), ALONE)
    assert result.scalars["attention_precision"] == 1
    assert result.scalars["attention_auc"] == 1
    assert result.scalars["best_head"] == 1
    assert result.scalars["best_head_precision"] == 1


def test_a_model_that_broke_is_reported_and_does_not_stop_the_run(caplog):
    engine = PlainEngine()
    with torch.no_grad():
        engine.model.encoder.embedding.weight.fill_(math.nan)
    result = StructureProbes(CONFIG).run(engine, ALONE)
    assert math.isnan(result.scalars["attention_precision"])
    assert math.isnan(result.scalars["jacobian_precision"])
    assert "not finite" in caplog.text


def test_without_jacobian_there_is_one_call_an_rna():
    engine = PlainEngine()
    result = StructureProbes(replace(CONFIG, jacobian_rnas_per_family=0)).run(engine, ALONE)
    assert engine.num_calls == 6  # two of 5S rRNA, tRNA and Vault each
    assert "jacobian_precision" not in result.scalars


def test_baselines_know_no_model():
    baselines = StructureProbes(CONFIG).compute_baselines()
    rnas = read_probe_set(rnas_per_family=2, max_length_nt=120).held_out
    densities = {"tRNA": [], "Vault": []}
    for rna in rnas:
        length = len(rna.sequence)
        counted = sum(length - distance for distance in range(4, length))
        densities[rna.family].append(int(rna.is_paired_LL.sum()) / 2 / counted)
    expected = sum(sum(each) / 2 for each in densities.values()) / 2
    assert baselines["random_precision"] == pytest.approx(expected)
    assert baselines["random_auc"] == 0.5
    assert baselines["letters_auc"] > 0.75  # complementary letters say a lot
    assert baselines["letters_precision"] > baselines["positions_precision"]


@pytest.mark.parametrize("length", [1, 12, 300])
def test_pictures_show_predictions_above_and_pairs_below_the_diagonal(length):
    strength = np.zeros((length, length))
    is_paired = np.zeros((length, length), bool)
    if length > 2:
        strength[1, 9] = strength[9, 1] = 1.0
        is_paired[2, 8] = is_paired[8, 2] = True
    picture = draw_pair_map(strength, is_paired)
    assert picture.shape == (len(picture), len(picture), 3)
    assert len(picture) >= 600
    if length > 2:
        cell = (len(picture) - 24) // length
        centre = [12 + place * cell + cell // 2 for place in range(length)]
        assert picture[centre[1], centre[9]].tolist() == [8, 29, 88]
        assert picture[centre[9], centre[1]].tolist() == [255, 255, 255]
        assert picture[centre[8], centre[2]].tolist() == [213, 94, 0]
        assert picture[centre[2], centre[8]].tolist() == [255, 255, 255]
        assert picture[12 + 2 * cell, 12 + 8 * cell].tolist() == [213, 94, 0]  # its frame


def test_pictures_clip_what_is_no_strength():
    strength = np.array([[0.0, math.nan], [0.0, 0.0]])
    assert draw_pair_map(strength, np.zeros((2, 2), bool)).max() == 255
    strength[0, 1] = 7.0
    assert [8, 29, 88] in draw_pair_map(strength, np.zeros((2, 2), bool)).reshape(-1, 3).tolist()
