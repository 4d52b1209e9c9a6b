"""The decoder against golden arrays and against a decoder written the slow, published way."""

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.structure import (
    THRESHOLD_GRID,
    build_contact_map,
    decode_greedy,
    find_allowed_pairs,
    rank_pairs,
    read_contact_map,
)
from support.published_decoding import decode_as_published
from support.shared import SHARED, requires_shared

GOLDEN = "parity/upstream_structure.npz"


def random_case(seed, *, length=30, levels=None):
    """Symmetric probabilities and a sequence; few `levels` make many ties."""
    generator = np.random.default_rng(seed)
    sequence = "".join(
        generator.choice(list("ACGUTNg"), length, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.05])
    )
    upper = np.triu(generator.random((length, length)) ** 3, 1)
    if levels:
        upper = np.round(upper * levels) / levels
    return upper + upper.T, sequence


@requires_shared(GOLDEN)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_golden_structure_of_the_published_decoder(kind):
    golden = np.load(SHARED / GOLDEN)
    probabilities = golden["probabilities"]
    if kind == "torch":
        probabilities = torch.from_numpy(probabilities)
    decoded = decode_greedy(
        probabilities, str(golden["sequence"]), float(golden["decode_threshold"])
    )
    assert isinstance(decoded, torch.Tensor) == (kind == "torch")
    np.testing.assert_array_equal(np.asarray(decoded), golden["decoded"])


@pytest.mark.parametrize("levels", [None, 4, 40])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_decoder_at_every_threshold_from_one_pass(seed, levels):
    probabilities, sequence = random_case(seed, levels=levels)
    ranked = rank_pairs(probabilities, sequence, THRESHOLD_GRID[0])
    assert len(ranked.pairs_P2) > 3
    for threshold in (*THRESHOLD_GRID, 0.5, 0.9):
        slow = decode_as_published(probabilities, sequence, threshold)
        np.testing.assert_array_equal(decode_greedy(probabilities, sequence, threshold), slow)
        from_grid = build_contact_map(ranked.above(threshold), len(sequence))
        np.testing.assert_array_equal(from_grid, slow)


def test_equals_the_slow_decoder_where_the_matrix_is_not_symmetric():
    probabilities = np.random.default_rng(9).random((25, 25))
    sequence = "GC" * 12 + "A"
    np.testing.assert_array_equal(
        decode_greedy(probabilities, sequence, 0.3),
        decode_as_published(probabilities, sequence, 0.3),
    )


def test_the_more_probable_pair_wins_and_its_rival_finds_no_partner():
    sequence = "GAAAACAAAAC"
    probabilities = np.zeros((11, 11))
    probabilities[0, 5] = probabilities[5, 0] = 0.6
    probabilities[0, 10] = probabilities[10, 0] = 0.7
    assert read_contact_map(decode_greedy(probabilities, sequence, 0.1)).tolist() == [[0, 10]]


def test_threshold_is_exclusive():
    probabilities = np.zeros((5, 5), np.float32)
    probabilities[0, 4] = probabilities[4, 0] = 0.2
    assert decode_greedy(probabilities, "GAAAC", 0.2).sum() == 0
    assert decode_greedy(probabilities, "GAAAC", 0.19).sum() == 2


def test_bfloat16_and_no_pairs():
    probabilities = torch.full((6, 6), 0.5, dtype=torch.bfloat16)
    decoded = decode_greedy(probabilities, "GAAAAC", 0.1)
    assert decoded.dtype == torch.int8
    assert decoded.sum() == 2
    assert decode_greedy(probabilities, "AAAAAA", 0.1).sum() == 0


def test_allowed_pairs():
    allowed = find_allowed_pairs("GAAAUTCnNacguT")
    expected = slow_decode_mask("GAAAUTCnNacguT")
    np.testing.assert_array_equal(allowed, expected)
    assert allowed[0, 4]
    assert not find_allowed_pairs("gaaac").any()
    assert not find_allowed_pairs("GAAC").any()


def slow_decode_mask(sequence):
    canonical = {frozenset("AU"), frozenset("GC"), frozenset("GU")}
    return np.array(
        [
            [
                abs(i - j) >= 4 and frozenset((a + b).replace("T", "U")) in canonical
                for j, b in enumerate(sequence)
            ]
            for i, a in enumerate(sequence)
        ]
    )


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"must be \(4, 4\) for a sequence of 4 nt"):
        decode_greedy(np.zeros((5, 5)), "GAAC", 0.1)
