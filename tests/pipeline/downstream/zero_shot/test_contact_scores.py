"""Scores of pairs: a planted model is read right, letters by hand, ViennaRNA beside its MFE."""

import numpy as np
import pytest
import torch

from openrinalmo.model import alphabet
from openrinalmo.model.contacts import compute_precision
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.weights import build_random_twin
from openrinalmo.pipeline.downstream.baselines import find_viennarna
from openrinalmo.pipeline.downstream.scoring import score_pairs
from openrinalmo.pipeline.downstream.structure import build_contact_map, rank_pairs
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from openrinalmo.pipeline.downstream.zero_shot.contact_folds import build_contact_folds, tune_score
from openrinalmo.pipeline.downstream.zero_shot.contact_scores import (
    compute_attention_features,
    compute_jacobian_scores,
    compute_pair_probabilities,
    fit_attention,
    score_stems,
    standardise,
)
from openrinalmo.pipeline.downstream.zero_shot.masked_models import build_predict

SEQUENCE = "GGCAUUUCGAAUGCCAGA"
KNOWN = "((((((...))))))..."


def list_settings(**changes):
    settings = {
        "rnas_per_family": 0,
        "max_length_nt": 100,
        "fit_rnas": 2,
        "tune_rnas": 2,
        "max_fit_length_nt": 100,
        "seed": 0,
    }
    return {**settings, **changes}


def test_jacobian_finds_the_pairs_of_a_model_that_knows_them():
    """The planted model moves the logits of a letter's partner with the letter, and noise else."""
    pairs = parse_dot_bracket(KNOWN)
    partner = {int(a): int(b) for i, j in pairs for a, b in ((i, j), (j, i))}
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(22, 22)))

    def predict(ids_T, cu_seqlens, max_seqlen):
        logits_TV = torch.zeros(len(ids_T), alphabet.VOCAB_SIZE, dtype=torch.float64)
        for start in cu_seqlens[:-1].tolist():
            for i, j in partner.items():
                logits_TV[start + 1 + j] = noise[int(ids_T[start + 1 + i])]
        return logits_TV

    scores_LL = compute_jacobian_scores(predict, SEQUENCE, max_tokens=64)
    is_paired_LL = torch.from_numpy(build_contact_map(pairs, len(SEQUENCE)) > 0)
    assert compute_precision(torch.from_numpy(scores_LL), is_paired_LL) == 1
    found = rank_pairs(standardise(scores_LL), SEQUENCE, 1.0).pairs_P2
    assert sorted(found.tolist()) == [[i, j] for i, j in pairs.tolist() if j - i >= 4]


def test_attention_is_read_alone_or_in_a_pack_alike():
    model = build_random_twin(EncoderConfig(embed_dim=16, num_blocks=2, num_heads=2), 1)
    predict = build_predict(model, torch.device("cpu"))
    features_CLL = compute_attention_features(model, predict, SEQUENCE)
    assert features_CLL.shape == (4, 18, 18)
    torch.testing.assert_close(features_CLL, features_CLL.mT)

    jacobian_LL = compute_jacobian_scores(predict, SEQUENCE, max_tokens=1)
    packed_LL = compute_jacobian_scores(predict, SEQUENCE, max_tokens=4096)
    np.testing.assert_allclose(jacobian_LL, packed_LL, atol=1e-6)


def test_probe_and_best_map_find_the_planted_one():
    generator = torch.Generator().manual_seed(0)
    is_paired = [build_contact_map(parse_dot_bracket(KNOWN), 18) > 0 for _ in range(3)]
    features = []
    for labels_LL in is_paired:
        maps_CLL = torch.rand(5, 18, 18, generator=generator)
        maps_CLL[3] += 2 * torch.from_numpy(labels_LL)
        features.append((maps_CLL + maps_CLL.mT) / 2)
    probe, best = fit_attention(features, is_paired)
    assert best == 3
    assert int(probe.weight_C.argmax()) == 3


def score_stems_by_loop(sequence):
    weights = {"GC": 3, "CG": 3, "AU": 2, "UA": 2, "GU": 1, "UG": 1}

    def weigh(i, j):
        if not (0 <= i < j < len(sequence)) or j - i < 4:
            return 0
        return weights.get(sequence[i] + sequence[j], 0)

    scores = np.zeros((len(sequence), len(sequence)))
    for i in range(len(sequence)):
        for j in range(i + 1, len(sequence)):
            total, step = weigh(i, j), 1
            while total and weigh(i - step, j + step):
                total, step = total + weigh(i - step, j + step), step + 1
            step = 1
            while total and weigh(i + step, j - step):
                total, step = total + weigh(i + step, j - step), step + 1
            scores[i, j] = scores[j, i] = total
    return scores


@pytest.mark.parametrize(
    "sequence", ["", "A", "GC", "GAAAC", "GGGAAAACCC", "NNNNNNNN", SEQUENCE, "GGGGGUUUUUCCCCC"]
)
def test_stems_are_those_of_a_loop(sequence):
    np.testing.assert_array_equal(score_stems(sequence), score_stems_by_loop(sequence))


def test_stems_of_random_sequences():
    generator = np.random.default_rng(4)
    for length in (7, 23, 60):
        sequence = "".join(generator.choice(list("ACGUN"), length))
        np.testing.assert_array_equal(score_stems(sequence), score_stems_by_loop(sequence))


def test_standardised_scores():
    scores_LL = np.random.default_rng(0).random((12, 12))
    counted = standardise(scores_LL + scores_LL.T)[np.triu_indices(12, 4)]
    assert counted.mean() == pytest.approx(0, abs=1e-6)
    assert counted.std() == pytest.approx(1, abs=1e-6)
    assert standardise(np.full((6, 6), 3.0)).tolist() == np.zeros((6, 6)).tolist()
    assert standardise(np.zeros((3, 3))).shape == (3, 3)
    assert standardise(np.zeros((0, 0))).shape == (0, 0)


def test_viennarna_probabilities_agree_with_its_structure():
    viennarna = find_viennarna()
    if viennarna is None:
        pytest.skip("ViennaRNA is not installed")
    sequence = "GGGGCAUCGAAAGAUGCCCC"
    probabilities_LL = compute_pair_probabilities(viennarna, sequence)
    assert probabilities_LL.shape == (20, 20)
    np.testing.assert_array_equal(probabilities_LL, probabilities_LL.T)
    pairs = parse_dot_bracket(viennarna.fold(sequence)[0])
    assert len(pairs) == 8
    assert all(probabilities_LL[i, j] > 0.9 for i, j in pairs)
    assert (probabilities_LL.sum(0) <= 1 + 1e-5).all()


def make_record(name, family, sequence=SEQUENCE, structure=KNOWN):
    return StructureRecord(
        id=name, family=family, sequence=sequence, pairs_P2=parse_dot_bracket(structure)
    )


def make_family(family, count, letter):
    """Distinct sequences of one family."""
    return [
        make_record(
            f"{family}{n}", family, letter + "A" * n + "GGGAAAACCC", "." * (n + 1) + "(((....)))"
        )
        for n in range(count)
    ]


def test_folds_share_no_sequence_between_scored_and_fitted():
    records = [*make_family("a", 4, "A"), *make_family("b", 5, "C"), *make_family("c", 3, "G")]
    records.append(make_record("copy", "c", records[0].sequence, "." + "(((....)))"))
    records.append(make_record("bare", "c", "GGGAAAACCCAAAA", "." * 14))
    records.append(make_record("long", "c", "A" * 90 + SEQUENCE, "." * 90 + KNOWN))
    folds, notes = build_contact_folds(records, **list_settings(max_length_nt=50))
    assert [fold.family for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        assert (len(fold.fit), len(fold.tune)) == (2, 2)
        assert {records[index].family for index in fold.test} == {fold.family}
        parts = [{records[index].sequence for index in part} for part in fold[1:]]
        assert len(set.union(*parts)) == sum(map(len, parts))
        assert fold.family not in {records[index].family for index in (*fold.fit, *fold.tune)}
    assert sum(len(fold.test) for fold in folds) == 12
    assert "1 RNAs of more than 50 nt, 1 without a pair" in notes[1]
    assert "1 repeated" in notes[1]
    assert build_contact_folds(records, **list_settings(max_length_nt=50))[0] == folds
    unequal, _ = build_contact_folds(
        records, **list_settings(max_length_nt=50, fit_rnas=90, tune_rnas=30)
    )
    assert {len(fold.tune) for fold in unequal} == {2}  # a quarter of seven to nine
    assert all(len(fold.fit) > 4 for fold in unequal)
    few, _ = build_contact_folds(records, **list_settings(max_length_nt=50, rnas_per_family=2))
    assert [few_.test for few_ in few] == [fold.test[:2] for fold in folds]


def test_folds_that_cannot_be():
    with pytest.raises(ValueError, match="takes RNAs of another, got families a of at most 100"):
        build_contact_folds(make_family("a", 3, "A"), **list_settings())
    with pytest.raises(ValueError, match="got families none"):
        build_contact_folds([], **list_settings())
    records = [*make_family("a", 2, "A"), *make_family("b", 2, "C")]
    with pytest.raises(ValueError, match="raise max_fit_length_nt"):
        build_contact_folds(records, **list_settings(max_fit_length_nt=5))


def test_threshold_is_the_best_of_all_cuts():
    generator = np.random.default_rng(2)
    known, ranked = [], []
    for _ in range(3):
        pairs = parse_dot_bracket(KNOWN)
        noisy_LL = build_contact_map(pairs, 18) + generator.normal(size=(18, 18)) * 0.5
        ranked.append(rank_pairs((noisy_LL + noisy_LL.T) / 2, SEQUENCE, -np.inf))
        known.append(pairs)
    threshold = tune_score(ranked, known)

    def compute_mean(cut):
        return np.mean(
            [
                score_pairs(pairs, one.above(cut), relaxed=True).f1
                for one, pairs in zip(ranked, known, strict=True)
            ]
        )

    cuts = np.concatenate([one.probabilities_P for one in ranked])
    assert compute_mean(threshold) >= max(compute_mean(cut) for cut in cuts) - 0.02
    assert compute_mean(threshold) > compute_mean(-np.inf)
    nothing = rank_pairs(np.zeros((4, 4)), "AAAA", -np.inf)
    assert tune_score([nothing], [np.zeros((0, 2), np.int64)]) == 0
