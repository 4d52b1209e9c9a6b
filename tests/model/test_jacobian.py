"""The categorical Jacobian against one mutant at a time, shared out, and planted couplings."""

import pytest
import torch
from torch import Tensor

from openrinalmo.model import alphabet
from openrinalmo.model.alphabet import NUCLEOTIDES, encode
from openrinalmo.model.contacts import compute_precision, score_jacobian
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.jacobian import compute_jacobians
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.model.weights import build_random_twin

CONFIG = EncoderConfig(embed_dim=32, num_blocks=2, num_heads=4)
SEQUENCES = ("GGGAAACCNC", "U", "ACGUA", "NN")
RNAS = [encode(sequence) for sequence in SEQUENCES]


class Counted:
    """A model as `predict`, and the packs it saw."""

    def __init__(self) -> None:
        self.model: MaskedLM = build_random_twin(CONFIG, seed=3)
        self.packs: list[tuple[Tensor, Tensor, int]] = []

    @torch.no_grad()
    def __call__(self, ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        self.packs.append((ids_T, cu_seqlens, max_seqlen))
        return self.model(ids_T, cu_seqlens, max_seqlen).logits_TV


def compute_naively(predict, ids: Tensor) -> Tensor:
    """Every one of the four letters in every place, one forward pass each."""

    def read(tokens: Tensor) -> Tensor:
        cu_seqlens = torch.tensor([0, len(tokens)], dtype=torch.int32)
        return predict(tokens, cu_seqlens, len(tokens))[1:-1][:, list(NUCLEOTIDES)]

    length = len(ids) - 2
    jacobian = torch.zeros(length, 4, length, 4)
    for i in range(length):
        for a, nucleotide in enumerate(NUCLEOTIDES):
            mutant = ids.clone()
            mutant[1 + i] = nucleotide
            jacobian[i, a] = read(mutant) - read(ids)
    return jacobian


@pytest.mark.parametrize("max_tokens", [1, 40, 10_000])
def test_packed_mutants_equal_one_at_a_time(max_tokens):
    predict = Counted()
    jacobians = compute_jacobians(predict, RNAS, max_tokens=max_tokens)
    for ids, jacobian in zip(RNAS, jacobians, strict=True):
        torch.testing.assert_close(jacobian, compute_naively(predict, ids), atol=2e-6, rtol=1e-4)


def test_packs_keep_the_budget_and_hold_no_mask_and_no_padding():
    predict = Counted()
    compute_jacobians(predict, RNAS, max_tokens=40)
    num_sequences = 0
    for ids, cu_seqlens, max_seqlen in predict.packs:
        assert len(ids) == int(cu_seqlens[-1]) <= 40
        assert int(cu_seqlens.diff().max()) == max_seqlen
        assert cu_seqlens.dtype == torch.int32
        assert not bool(torch.isin(ids, torch.tensor([alphabet.MASK, alphabet.PAD])).any())
        num_sequences += len(cu_seqlens) - 1
    # Each RNA once as it is, three changes a nucleotide, four an N.
    assert num_sequences == 4 + 3 * (9 + 1 + 5) + 4 * (1 + 2)


@pytest.mark.parametrize("world_size", [2, 3, 50])
def test_shares_of_ranks_sum_to_the_whole_after_equally_many_calls(world_size):
    whole = compute_jacobians(Counted(), RNAS, max_tokens=40)
    shares, num_calls = [], set()
    for rank in range(world_size):
        predict = Counted()
        shares.append(
            compute_jacobians(predict, RNAS, max_tokens=40, rank=rank, world_size=world_size)
        )
        num_calls.add(len(predict.packs))
    assert len(num_calls) == 1
    for number, jacobian in enumerate(whole):
        summed = torch.stack([share[number] for share in shares]).sum(0)
        assert torch.equal(summed, jacobian)


def test_a_window_without_cls_and_eos_is_changed_everywhere():
    predict = Counted()
    (jacobian,) = compute_jacobians(predict, [encode("GACU")[1:-1]], max_tokens=100)
    assert jacobian.shape == (4, 4, 4, 4)
    changed = torch.tensor([[letter != own for letter in "ACGU"] for own in "GACU"])
    assert torch.equal(jacobian.abs().sum((2, 3)) > 0, changed)


def test_nothing_to_do_is_done():
    predict = Counted()
    assert compute_jacobians(predict, [], max_tokens=10) == []
    (jacobian,) = compute_jacobians(predict, [encode("")], max_tokens=10)
    assert jacobian.shape == (0, 4, 0, 4)
    assert score_jacobian(jacobian).shape == (0, 0)


def test_planted_couplings_are_found():
    """A model that expects the complement of the partner, and of nothing else."""
    length = 30
    partner = torch.arange(length)
    for i, j in ((0, 29), (1, 28), (2, 27), (8, 17), (9, 16), (10, 15)):
        partner[i], partner[j] = j, i
    complement = {5: 8, 6: 7, 7: 6, 8: 5}

    def predict(ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        logits = torch.zeros(len(ids_T), alphabet.VOCAB_SIZE)
        for start in cu_seqlens[:-1].tolist():
            letters = ids_T[start + 1 : start + 1 + length].long()
            for place in range(length):
                # A bias of the place and the own letter's effect must not matter.
                logits[start + 1 + place, 5:9] = 0.1 * place
                logits[start + 1 + place, letters[place]] += 0.5
                if partner[place] != place:
                    logits[start + 1 + place, complement[int(letters[partner[place]])]] += 2.0
        return logits

    (jacobian,) = compute_jacobians(predict, [encode("GACUU" * 6)], max_tokens=512)
    is_paired = torch.zeros(length, length, dtype=torch.bool)
    is_paired[torch.arange(length), partner] = True
    is_paired.fill_diagonal_(False)
    assert compute_precision(score_jacobian(jacobian), is_paired) == 1
