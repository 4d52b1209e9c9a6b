"""The fit of a head learns what can be learnt, is a function of its seed, goes on where it was."""

import numpy as np
import pytest
import torch

from openrinalmo.model.heads import BasePairHead, base_pair_loss
from openrinalmo.pipeline.downstream.baselines import encode_one_hot
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.representations.embed import Representations
from openrinalmo.pipeline.downstream.scoring import score_pairs
from openrinalmo.pipeline.downstream.structure import build_contact_map, rank_pairs
from openrinalmo.pipeline.downstream.structure_folds.structure_config import FitConfig
from openrinalmo.pipeline.downstream.structure_folds.structure_fit import fit_pair_model
from openrinalmo.pipeline.downstream.structures.records import read_structures
from support.families import build_lines, write_structures

CPU = torch.device("cpu")


@pytest.fixture
def toy(tmp_path):
    records = dict(enumerate(read_structures(write_structures(tmp_path / "a.tsv", build_lines()))))
    sequences = [record.sequence for record in records.values()]
    ends = np.cumsum([len(sequence) for sequence in sequences])
    spans = {
        index: slice(end - len(sequences[index]), end) for index, end in enumerate(ends.tolist())
    }
    return Representations(rows_TD=encode_one_hot(sequences), spans=spans), records


def fit_head(toy, train, config, folder, *, validate=None):
    representations, records = toy
    return fit_pair_model(
        representations,
        records,
        list(train),
        config,
        encoder=None,
        folder=folder,
        key="fit",
        device=CPU,
        validate=validate,
    )


@torch.inference_mode()
def predict_pairs(head, representation_LD, sequence):
    return rank_pairs(head(representation_LD).sigmoid().numpy(), sequence, 0.2).pairs_P2


def f1_of(head, representations, records, indices):
    return np.mean(
        [
            score_pairs(
                records[index].pairs_P2,
                predict_pairs(head, representations.load(index, CPU), records[index].sequence),
                relaxed=True,
            ).f1
            for index in indices
        ]
    )


def test_a_head_learns_hairpins(toy, tmp_path):
    representations, records = toy
    config = RegimeConfig(max_steps=60, batch_sequences=2, peak_lr=5e-3)
    fitted = fit_head(toy, range(18), config, tmp_path / "a")
    untrained = fit_head(toy, [0], RegimeConfig(max_steps=1), tmp_path / "b")
    assert np.mean(fitted.log.losses[-10:]) < 0.5 * np.mean(fitted.log.losses[:5])
    assert f1_of(fitted.model.head, representations, records, range(18)) > 0.7
    assert f1_of(untrained.model.head, representations, records, range(18)) < 0.3


def test_same_seed_same_head_and_global_random_state_is_untouched(toy, tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = (
        fit_head(toy, range(6), RegimeConfig(max_steps=4, seed=seed), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.log.losses == second.log.losses
    assert first.log.losses != other.log.losses
    weights = (one.model.head.parameters() for one in (first, second))
    for one, two in zip(*weights, strict=True):
        assert torch.equal(one, two)


def test_a_killed_fit_goes_on_where_its_state_was_saved(toy, tmp_path, monkeypatch):
    config = RegimeConfig(epochs=2, batch_sequences=2, save_every_steps=1)
    whole = fit_head(toy, range(6), config, tmp_path / "whole")
    calls = []

    def die_in_the_fifth_step(*arguments):
        calls.append(arguments)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return base_pair_loss(*arguments)

    name = "openrinalmo.pipeline.downstream.structure_folds.structure_fit.base_pair_loss"
    monkeypatch.setattr(name, die_in_the_fifth_step)
    with pytest.raises(KeyboardInterrupt):
        fit_head(toy, range(6), config, tmp_path / "killed")
    resumed = fit_head(toy, range(6), config, tmp_path / "killed")
    assert len(calls) == 9 + 2 * 2  # two steps of two RNAs were left
    assert resumed.log.losses == whole.log.losses
    weights = (one.model.head.parameters() for one in (resumed, whole))
    for one, two in zip(*weights, strict=True):
        assert torch.equal(one, two)


def test_packs_change_no_number_and_batches_may_be_limited_by_tokens(toy, tmp_path):
    """Hairpins have 18, 22 and 28 nt: 60 tokens are two or three of them."""
    whole = fit_head(toy, range(18), RegimeConfig(epochs=1, batch_sequences=6), tmp_path / "a")
    packs = RegimeConfig(epochs=1, batch_sequences=6, max_tokens_per_pack=40)
    packed = fit_head(toy, range(18), packs, tmp_path / "b")
    assert packed.log.losses == pytest.approx(whole.log.losses, rel=1e-5)
    tokens = RegimeConfig(epochs=1, batch_sequences=0, batch_tokens=60)
    limited = fit_head(toy, range(18), tokens, tmp_path / "c")
    assert 6 <= len(limited.log.losses) <= 9


def test_a_step_averages_the_losses_of_its_rnas(toy, tmp_path):
    """One update on two RNAs equals a hand-written one: mean loss, Adam, pair-rate start."""
    representations, records = toy
    config = RegimeConfig(max_steps=1, batch_sequences=2, peak_lr=1e-3)
    fitted = fit_head(toy, [0, 7], config, tmp_path)

    torch.manual_seed(config.seed)
    head = BasePairHead(4)
    lengths = [len(records[index].sequence) for index in (0, 7)]
    pairs = sum(len(records[index].pairs_P2) for index in (0, 7)) + 1
    rest = sum(n * (n - 1) // 2 for n in lengths) - pairs + 2
    head.get_parameter("conv_out.bias").data.fill_(np.log(pairs / rest))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    losses = [
        base_pair_loss(
            head(representations.load(index, CPU)),
            torch.from_numpy(build_contact_map(records[index].pairs_P2, length)),
        )
        for index, length in zip((0, 7), lengths, strict=True)
    ]
    loss = torch.stack(losses).mean()
    loss.backward()
    optimizer.step()
    assert fitted.log.losses == pytest.approx([loss.item()], rel=1e-5)
    for actual, expected in zip(fitted.model.head.parameters(), head.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_nothing_to_fit_on_is_refused(toy, tmp_path):
    with pytest.raises(ValueError, match="no example to fit on: the training set is empty"):
        fit_head(toy, [], RegimeConfig(), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"max_fit_length_nt": 0},
        {"max_fit_sequences": -1},
        {"max_validation_sequences": -1},
    ],
    ids=str,
)
def test_settings_are_checked(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"fit\.{name} must be .*{value}"):
        FitConfig(**change)
