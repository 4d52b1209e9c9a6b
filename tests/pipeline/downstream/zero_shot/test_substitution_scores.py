"""The seven conventions against loops that run the model once per masked position."""

import numpy as np
import pytest
import torch

from openrinalmo.model import alphabet
from openrinalmo.model.alphabet import MASK, encode
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin
from openrinalmo.pipeline.downstream.zero_shot.masked_models import build_predict
from openrinalmo.pipeline.downstream.zero_shot.substitution_scores import (
    CONVENTIONS,
    TAKES_INDELS,
    list_terms,
    score_variants,
)

WILD = "GACUGCAUNA"
VARIANTS = {
    "one": "GACUGGAUNA",
    "two": "UACUGCAUNG",
    "neighbours": "CUCUGCAUNA",
    "all": "AGGAAAUGNC",
    "to U": "GUUUGCAUNA",
}
LONGER, SHORTER = "GACUGCAUUNA", "GCUGCAUNA"


@pytest.fixture(scope="module")
def model():
    twin = build_random_twin(EncoderConfig(embed_dim=16, num_blocks=2, num_heads=2), 5)
    with torch.no_grad():  # opinions strong enough to be told apart
        for parameter in twin.parameters():
            parameter.mul_(2)
    return twin


@pytest.fixture(scope="module")
def predict(model):
    return build_predict(model, torch.device("cpu"))


def read(model, letters, masked, position, letter):
    """Log p of one letter at one position (from 0), from a forward pass of its own."""
    ids = encode(letters).long()
    for one in masked:
        ids[one + 1] = MASK
    ends = torch.tensor([0, len(ids)], dtype=torch.int32)
    with torch.inference_mode():
        logits = model(ids, ends, len(ids)).logits_TV[position + 1]
    log_probs = torch.log_softmax(logits.double(), -1)
    return float(log_probs[int(encode(letter)[1])])


def score_by_loop(model, convention, wild, variant):
    """The definitions, written out."""
    where = [i for i, (a, b) in enumerate(zip(wild, variant, strict=False)) if a != b]
    total = 0.0
    if convention == "pseudo-likelihood":
        for sequence, sign in ((variant, 1), (wild, -1)):
            for i, letter in enumerate(sequence):
                total += sign * read(model, sequence, [i], i, letter)
        return total
    if convention == "single-pass":
        for sequence, sign in ((variant, 1), (wild, -1)):
            for i, letter in enumerate(sequence):
                total += sign * read(model, sequence, [], i, letter)
        return total
    for i in where:
        if convention == "wt-fill":
            total += read(model, wild, [i], i, variant[i]) - read(model, wild, [i], i, wild[i])
        elif convention == "mask-fill":
            total += read(model, wild, where, i, variant[i])
            total -= read(model, wild, where, i, wild[i])
        elif convention == "mut-fill":
            total += read(model, variant, [i], i, variant[i])
            total -= read(model, variant, [i], i, wild[i])
        elif convention == "match-fill":
            total += read(model, variant, [i], i, variant[i]) - read(model, wild, [i], i, wild[i])
        else:
            assert convention == "wt-marginal"
            total += read(model, wild, [], i, variant[i]) - read(model, wild, [], i, wild[i])
    return total


@pytest.mark.parametrize("max_tokens", [1, 30, 4096], ids=["alone", "few", "packed"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_scores_are_those_of_a_loop(model, predict, convention, max_tokens):
    scores = score_variants(
        predict, WILD, list(VARIANTS.values()), convention, max_tokens=max_tokens
    )
    expected = [score_by_loop(model, convention, WILD, one) for one in VARIANTS.values()]
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert np.ptp(scores) > 0.1


def test_conventions_differ_where_two_letters_change_and_fills_agree_where_one_does(predict):
    scores = {
        name: score_variants(
            predict, WILD, [VARIANTS["one"], VARIANTS["two"]], name, max_tokens=4096
        )
        for name in CONVENTIONS
    }
    one = {name: round(values[0], 4) for name, values in scores.items()}
    two = {name: round(values[1], 4) for name, values in scores.items()}
    assert len(set(two.values())) == len(CONVENTIONS)
    assert one["wt-fill"] == one["mask-fill"] == one["mut-fill"] == one["match-fill"]
    others = ("wt-fill", "wt-marginal", "pseudo-likelihood", "single-pass")
    assert len({one[name] for name in others}) == 4


@pytest.mark.parametrize("convention", ["wt-fill", "wt-marginal"])
def test_scores_that_add_up(predict, convention):
    first, second = "AACUGCAUNA", "GACUGCAUNC"
    scores = score_variants(
        predict, WILD, [first, second, "AACUGCAUNC"], convention, max_tokens=4096
    )
    assert scores[2] == pytest.approx(scores[0] + scores[1], abs=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_insertions_and_deletions(model, predict, convention):
    scores = score_variants(predict, WILD, [LONGER, WILD, SHORTER], convention, max_tokens=64)
    assert scores[1] == 0
    if convention in TAKES_INDELS:
        expected = [score_by_loop(model, convention, WILD, one) for one in (LONGER, SHORTER)]
        np.testing.assert_allclose(scores[[0, 2]], expected, atol=2e-5)
    else:
        assert np.isnan(scores[[0, 2]]).all()
        with pytest.raises(ValueError, match="cannot score a variant of 11 nt"):
            list_terms(convention, WILD, LONGER)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_u_is_t_and_never_unknown(predict, convention):
    """RNAGym scored RiNALMo with U read as `<unk>`: here the two spellings are one."""
    variant = VARIANTS["to U"]
    terms = list_terms(convention, WILD, variant)
    assert terms == list_terms(convention, WILD.replace("U", "T"), variant.replace("U", "t"))
    assert terms
    assert all(alphabet.UNK not in term.context for term in terms)
    assert all(term.token != alphabet.UNK for term in terms)
    assert alphabet.TOKENS.index("T") in {term.token for term in terms}
    with pytest.raises(ValueError, match="no nucleotide"):
        list_terms(convention, WILD, "GACUGCAUN?")


def test_equal_contexts_run_once(predict):
    seen = []

    def count(ids_T, cu_seqlens, max_seqlen):
        seen.append(len(cu_seqlens) - 1)
        return predict(ids_T, cu_seqlens, max_seqlen)

    variants = [WILD[:3] + letter + WILD[4:] for letter in "ACG"]
    # One letter changes: its place masked is one context for all, and so is the wild type.
    score_variants(count, WILD, variants, "wt-fill", max_tokens=4096)
    score_variants(count, WILD, variants, "mut-fill", max_tokens=4096)
    score_variants(count, WILD, variants, "wt-marginal", max_tokens=4096)
    score_variants(count, WILD, variants, "single-pass", max_tokens=4096)
    assert seen == [1, 1, 1, 4]
    seen.clear()
    assert score_variants(count, WILD, [], "wt-fill", max_tokens=4096).tolist() == []
    assert score_variants(count, WILD, [WILD], "single-pass", max_tokens=4096).tolist() == [0]
    assert seen == []


@pytest.mark.parametrize("wild", ["A", "AC"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_shortest_sequences(model, predict, convention, wild):
    variant = "G" + wild[1:]
    scores = score_variants(predict, wild, [variant], convention, max_tokens=8)
    expected = score_by_loop(model, convention, wild, variant)
    np.testing.assert_allclose(scores, [expected], atol=2e-5)
