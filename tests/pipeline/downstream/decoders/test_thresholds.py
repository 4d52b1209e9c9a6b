"""Thresholds from one ranking against the published search, and what their rule says."""

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.decoders.thresholds import (
    WIDE_GRID,
    ValidationCase,
    score_thresholds,
    tune_decoder,
    tune_threshold,
)
from openrinalmo.pipeline.downstream.scoring import score_pairs
from openrinalmo.pipeline.downstream.structure import (
    THRESHOLD_GRID,
    DecoderConfig,
    build_contact_map,
    decode,
    decode_greedy,
    rank_pairs,
)
from support.published_decoding import GRID, decode_as_published, tune_as_published

DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def random_case(seed, *, length=30, dtype="fp32"):
    """Structured probabilities, most of them small, and a target that they partly know."""
    generator = np.random.default_rng(seed)
    sequence = "".join(generator.choice(list("ACGU"), length))
    target = rank_pairs(generator.random((length, length)), sequence, 0.5).pairs_P2
    target = np.sort(target[: length // 4], axis=1)
    logits = generator.normal(-4, 1.5, (length, length))
    steps = generator.integers(-1, 2, target.shape) * (generator.random((len(target), 1)) < 0.4)
    shifted = np.clip(target + steps, 0, length - 1)
    logits[tuple(shifted.T)] += 3
    upper = np.triu(1 / (1 + np.exp(-logits)), 1)
    as_held = torch.from_numpy(upper + upper.T).to(DTYPES[dtype])
    return sequence, target, as_held.float().numpy() if dtype == "bf16" else as_held.numpy()


def build_cases(seeds, **settings):
    cases = []
    for seed in seeds:
        sequence, target, probabilities = random_case(seed, **settings)
        family = "tRNA" if seed % 2 else "5s"
        cases.append(ValidationCase(f"rna{seed}", family, sequence, target, probabilities))
    return cases


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_scoring_every_threshold_by_itself(relaxed, dtype):
    distinct = set()
    for seed in range(25):
        sequence, target, probabilities = random_case(seed, length=4 + 2 * seed, dtype=dtype)
        if seed % 5 == 4:
            target = target[:, ::-1].copy()
        ranked = rank_pairs(probabilities, sequence, THRESHOLD_GRID[0])
        scores = score_thresholds(target, ranked, THRESHOLD_GRID, relaxed=relaxed)
        expected = [
            score_pairs(target, ranked.above(threshold), relaxed).f1 for threshold in THRESHOLD_GRID
        ]
        assert scores.tolist() == expected
        distinct |= set(expected)
    assert len(distinct) > 50


@pytest.mark.parametrize("dtype", DTYPES)
def test_greedy_equals_the_published_procedure(dtype):
    tied = 0
    for seed in range(4):
        sequence, _, probabilities = random_case(seed, length=36, dtype=dtype)
        upper = probabilities[np.triu_indices(36, 4)]
        tied += upper.size - np.unique(upper).size
        for threshold in (0.01, 0.06, 0.29):
            np.testing.assert_array_equal(
                decode_greedy(probabilities, sequence, threshold),
                decode_as_published(probabilities, sequence, threshold),
            )
    assert tied > 50 or dtype in ("fp64", "fp32")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("relaxed", [False, True])
def test_search_equals_the_published_search(dtype, relaxed):
    cases = build_cases(range(5), dtype=dtype)
    maps = [build_contact_map(case.target_P2, len(case.sequence)) for case in cases]
    value, f1 = tune_as_published(
        [case.probabilities_LL for case in cases],
        [case.sequence for case in cases],
        maps,
        relaxed,
    )
    ranked = [rank_pairs(case.probabilities_LL, case.sequence, GRID[0]) for case in cases]
    tuned = tune_threshold(ranked, [case.target_P2 for case in cases], relaxed=relaxed)
    assert tuned.value == value
    assert tuned.f1 == pytest.approx(f1, abs=1e-12)
    rule = tune_decoder(cases, DecoderConfig(), relaxed=relaxed)
    assert (rule.decoder.threshold, rule.value) == tuned


@pytest.mark.parametrize("name", ["matching", "matching-nested", "mea"])
def test_other_decoders_are_tuned_by_decoding_at_each_threshold(name):
    cases = build_cases(range(4))
    rule = tune_decoder(iter(cases), DecoderConfig(name=name), relaxed=False)
    means = [
        np.mean(
            [
                score_pairs(
                    case.target_P2,
                    decode(
                        case.probabilities_LL,
                        case.sequence,
                        DecoderConfig(name=name, threshold=threshold),
                    ),
                    False,
                ).f1
                for case in cases
            ]
        )
        for threshold in WIDE_GRID
    ]
    assert rule.value == pytest.approx(max(means), abs=1e-12)
    assert rule.decoder == DecoderConfig(name=name, threshold=WIDE_GRID[int(np.argmax(means))])
    assert rule.grid == WIDE_GRID
    assert rule.metric == "F1 strict"


def test_the_first_of_equals_is_chosen():
    probabilities = np.zeros((6, 6))
    probabilities[0, 5] = probabilities[5, 0] = 0.155
    case = ValidationCase("a", "f", "GAAAAC", np.array([[0, 5]]), probabilities)
    assert tune_decoder([case], DecoderConfig()).decoder.threshold == 0.01
    assert tune_decoder([case], DecoderConfig()).value == 1.0


@pytest.mark.parametrize("relaxed", [False, True])
def test_nothing_known_or_predicted_scores_zero(relaxed):
    none = np.empty((0, 2), np.int64)
    ranked = rank_pairs(np.full((6, 6), 0.2), "GAAAAC", 0.01)
    empty = rank_pairs(np.zeros((6, 6)), "GAAAAC", 0.01)
    for target, prediction in [(none, ranked), (np.array([[0, 5]]), empty), (none, empty)]:
        assert not score_thresholds(target, prediction, (0.1, 0.5), relaxed=relaxed).any()


def test_pairs_at_the_border_do_not_meet_across_rows():
    # As one number, (0, last + 1) must not be (1, 0).
    sequence = "GAAAACGAAAAC"
    probabilities = np.zeros((12, 12))
    probabilities[0, 11] = probabilities[11, 0] = 0.9
    ranked = rank_pairs(probabilities, sequence, 0.01)
    for target in ([[1, 11]], [[0, 10]], [[1, 10]], [[0, 11]]):
        score = score_thresholds(np.array(target), ranked, (0.1,), relaxed=True)
        assert score.tolist() == [score_pairs(target, ranked.pairs_P2, True).f1]


def test_no_validation_rna_is_refused():
    with pytest.raises(ValueError, match="no validation RNA"):
        tune_threshold([], [])
    with pytest.raises(ValueError, match="no validation RNA"):
        tune_decoder([], DecoderConfig())


def test_rule_says_what_it_was_chosen_on():
    cases = build_cases(range(4))
    rule = tune_decoder(cases, DecoderConfig(name="mea"))
    assert rule.families == ("5s", "tRNA")
    assert rule.num_validation == 4
    assert tune_decoder(cases[::-1], DecoderConfig(name="mea")).tuned_on == rule.tuned_on
    assert tune_decoder(cases[1:], DecoderConfig(name="mea")).tuned_on != rule.tuned_on
