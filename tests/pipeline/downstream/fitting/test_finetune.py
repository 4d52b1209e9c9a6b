"""The fit learns what can be learnt, is a function of its seed."""

import numpy as np
import pytest
import torch

from openrinalmo.model.heads import BasePairHead, base_pair_loss
from openrinalmo.pipeline.downstream.baselines import encode_one_hot
from openrinalmo.pipeline.downstream.fitting.finetune import FitConfig, fit_head
from openrinalmo.pipeline.downstream.representations.embed import Representations
from openrinalmo.pipeline.downstream.scoring import score_pairs
from openrinalmo.pipeline.downstream.structure import build_contact_map, rank_pairs
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


def test_a_head_learns_hairpins(toy):
    representations, records = toy
    config = FitConfig(head_steps=60, rnas_per_step=2, peak_lr=5e-3)
    fitted = fit_head(representations, records, range(18), config, device=CPU)
    untrained = fit_head(representations, records, [0], FitConfig(head_steps=1), device=CPU)
    assert np.mean(fitted.losses[-10:]) < 0.5 * np.mean(fitted.losses[:5])
    assert f1_of(fitted.head, representations, records, range(18)) > 0.7
    assert f1_of(untrained.head, representations, records, range(18)) < 0.3


def test_same_seed_same_head_and_global_random_state_is_untouched(toy):
    representations, records = toy
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = (
        fit_head(representations, records, range(6), FitConfig(head_steps=4, seed=seed), device=CPU)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.losses == second.losses
    assert first.losses != other.losses
    for one, two in zip(first.head.parameters(), second.head.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_step_averages_the_losses_of_its_rnas(toy):
    """One update on two RNAs equals a hand-written one: mean loss, Adam, pair-rate start."""
    representations, records = toy
    config = FitConfig(head_steps=1, rnas_per_step=2, peak_lr=1e-3)
    fitted = fit_head(representations, records, [0, 7], config, device=CPU)

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
    assert fitted.losses == pytest.approx([loss.item()], rel=1e-5)
    for actual, expected in zip(fitted.head.parameters(), head.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_nothing_to_fit_on_is_refused(toy):
    representations, records = toy
    with pytest.raises(ValueError, match="no RNA to fit the head on"):
        fit_head(representations, records, [], FitConfig(), device=CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"head_steps": 0},
        {"rnas_per_step": 0},
        {"max_fit_length_nt": 0},
        {"max_fit_sequences": -1},
        {"max_validation_sequences": -1},
        {"peak_lr": 0.0},
        {"final_lr_ratio": 0.0},
    ],
    ids=str,
)
def test_settings_are_checked(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"fit\.{name} must be .*{value}"):
        FitConfig(**change)
