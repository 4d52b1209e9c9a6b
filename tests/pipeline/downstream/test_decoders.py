"""Decoders that weigh all pairs, against every structure of short RNAs; all decoders' odd cases."""

from typing import get_args

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.structure import (
    DecoderConfig,
    DecoderName,
    build_contact_map,
    decode,
    decode_greedy,
    decode_grid,
    find_allowed_pairs,
    read_contact_map,
)
from support.all_structures import iter_matchings, iter_nested
from support.pair_probabilities import draw_probabilities

NAMES = get_args(DecoderName)
SEQUENCE = "GACGUAAGCUUC"


def candidates_of(sequence, *, canonical_only=True):
    allowed = find_allowed_pairs(sequence, canonical_only=canonical_only)
    return [tuple(pair) for pair in np.argwhere(np.triu(allowed)).tolist()]


def objective(name, probabilities, candidates, pairs, threshold):
    """What a structure is worth, as the papers write it."""
    if name != "mea":
        return sum(probabilities[i, j] - threshold for i, j in pairs)
    gamma = 1 / threshold - 1
    unpaired = np.ones(len(probabilities))
    for i, j in candidates:
        unpaired[[i, j]] -= probabilities[i, j]
    unpaired = np.maximum(unpaired, 0)
    free = set(range(len(probabilities))) - {base for pair in pairs for base in pair}
    return sum(2 * gamma * probabilities[i, j] for i, j in pairs) + sum(unpaired[list(free)])


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("name", ["matching", "matching-nested", "mea"])
def test_is_the_best_of_all_structures(name, threshold):
    candidates = candidates_of(SEQUENCE)
    enumerate_all = iter_matchings if name == "matching" else iter_nested
    structures = [tuple(sorted(pairs)) for pairs in enumerate_all(candidates)]
    found = set()
    for seed in range(4):
        probabilities = draw_probabilities(len(SEQUENCE), seed) ** 2
        values = {
            pairs: objective(name, probabilities, candidates, pairs, threshold)
            for pairs in structures
        }
        decoded = decode(probabilities, SEQUENCE, DecoderConfig(name=name, threshold=threshold))
        pairs = tuple(tuple(pair) for pair in decoded.tolist())
        assert values[pairs] == pytest.approx(max(values.values()), abs=1e-9)
        found.add(pairs)
    assert len(found) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_without_rivals_is_taken_above_the_threshold(name):
    probabilities = np.zeros((6, 6))
    probabilities[0, 5] = probabilities[5, 0] = 0.4
    assert decode(probabilities, "GAAAAC", DecoderConfig(name=name, threshold=0.39)).tolist() == [
        [0, 5]
    ]
    assert decode(probabilities, "GAAAAC", DecoderConfig(name=name, threshold=0.41)).size == 0


def test_matching_finds_what_greedy_and_nesting_cannot():
    sequence = "GGCAAAAGCC"
    probabilities = np.zeros((10, 10))
    for (i, j), value in {(0, 8): 0.6, (0, 9): 0.5, (1, 8): 0.5, (2, 7): 0.3}.items():
        probabilities[i, j] = probabilities[j, i] = value
    decoded = {
        name: decode(probabilities, sequence, DecoderConfig(name=name, threshold=0.1)).tolist()
        for name in NAMES
    }
    assert decoded["greedy"] == [[0, 8], [2, 7]]
    assert decoded["matching"] == decoded["matching-nested"] == [[0, 9], [1, 8], [2, 7]]
    knot = np.zeros((12, 12))
    knot[0, 7] = knot[3, 11] = 0.9
    knot += knot.T
    assert len(decode(knot, "GAAGAAACAAAC", DecoderConfig(name="matching"))) == 2
    assert len(decode(knot, "GAAGAAACAAAC", DecoderConfig(name="matching-nested"))) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sequence", ["", "A", "GC", "GAC", "GAAC", "GAAAC", "N" * 9, "AAAAAAAA"])
def test_short_and_unpairable(name, sequence):
    length = len(sequence)
    decoded = decode(np.full((length, length), 0.9), sequence, DecoderConfig(name=name))
    assert decoded.shape == ((1, 2) if sequence == "GAAAC" else (0, 2))
    assert decoded.dtype == np.int64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_gives_a_structure(name, dtype):
    generator = np.random.default_rng(5)
    sequence = "".join(generator.choice(list("ACGUTN"), 50))
    probabilities = torch.from_numpy(draw_probabilities(50, 5) ** 4).to(dtype)
    pairs = decode(probabilities, sequence, DecoderConfig(name=name, threshold=0.2))
    assert len(pairs) > 5
    assert len(set(pairs.ravel().tolist())) == pairs.size
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (np.diff(pairs[:, 0]) > 0).all()
    assert find_allowed_pairs(sequence)[pairs[:, 0], pairs[:, 1]].all()
    same_values = probabilities.double()
    if name != "greedy":
        np.testing.assert_array_equal(
            decode(same_values, sequence, DecoderConfig(name=name, threshold=0.2)), pairs
        )


@pytest.mark.parametrize("name", NAMES)
def test_any_bases_pair_where_asked(name):
    probabilities = np.zeros((6, 6))
    probabilities[0, 5] = probabilities[5, 0] = 0.9
    config = DecoderConfig(name=name, canonical_only=False)
    assert decode(probabilities, "AAAAAA", config).tolist() == [[0, 5]]
    assert decode(probabilities, "AAAAAA", DecoderConfig(name=name)).size == 0
    close = np.ones((4, 4))
    assert decode(close, "AAAA", config).size == 0


def test_greedy_is_the_published_decoder():
    for seed in range(5):
        generator = np.random.default_rng(seed)
        sequence = "".join(generator.choice(list("ACGU"), 40))
        probabilities = draw_probabilities(40, seed)
        pairs = decode(probabilities, sequence, DecoderConfig(threshold=0.25))
        np.testing.assert_array_equal(
            build_contact_map(pairs, 40), decode_greedy(probabilities, sequence, 0.25)
        )
        np.testing.assert_array_equal(pairs, read_contact_map(build_contact_map(pairs, 40)))


@pytest.mark.parametrize("use_energy", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_grid_is_its_thresholds_one_by_one(name, use_energy):
    if use_energy:
        pytest.importorskip("RNA")
        name = "mea"
    generator = np.random.default_rng(8)
    sequence = "".join(generator.choice(list("ACGU"), 60))
    probabilities = draw_probabilities(60, 8) ** 6
    config = DecoderConfig(name=name, use_energy=use_energy)
    thresholds = (0.4, 0.05, 0.2)
    grid = decode_grid(probabilities, sequence, config, thresholds)
    for threshold, pairs in zip(thresholds, grid, strict=True):
        alone = DecoderConfig(name=name, use_energy=use_energy, threshold=threshold)
        np.testing.assert_array_equal(pairs, decode(probabilities, sequence, alone))
    assert len(grid[0]) < len(grid[1])


def test_energy_decides_where_scores_do_not():
    viennarna = pytest.importorskip("RNA")
    sequence = "GGGGCCUUAGCUCAGCUGGUAGAGCGCCUGCUUUGCAAGCAGGAGGUCAUCGGUUCGAUCCCGAUAGGCUCCACCA"
    config = DecoderConfig(name="mea", use_energy=True, threshold=0.5)
    pairs = decode(np.full((len(sequence),) * 2, 0.1), sequence, config)
    compound = viennarna.fold_compound(sequence)
    compound.pf()
    likely = np.argwhere(np.array(compound.bpp())[1:, 1:] > 0.6).tolist()
    assert len(likely) > 10
    assert all(pair in pairs.tolist() for pair in likely)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "best"}, "decoder.name must be one of greedy, matching"),
        ({"threshold": 1.0}, r"decoder.threshold must be in \[0, 1\), got 1.0"),
        ({"threshold": -0.1}, "decoder.threshold"),
        ({"use_energy": True}, "decoder.use_energy needs decoder.name=mea, got greedy"),
        (
            {"name": "mea", "use_energy": True, "canonical_only": False},
            "decoder.use_energy needs decoder.canonical_only",
        ),
        ({"score_weight": -1.0}, "decoder.score_weight must not be negative"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**settings)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_and_nan_are_refused(name):
    with pytest.raises(ValueError, match=r"must be \(4, 4\)"):
        decode(np.zeros((5, 5)), "GAAC", DecoderConfig(name=name))
    with pytest.raises(ValueError, match="hold NaN"):
        decode(np.full((5, 5), np.nan), "GAAAC", DecoderConfig(name=name))
