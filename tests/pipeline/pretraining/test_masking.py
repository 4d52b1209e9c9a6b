import numpy as np
import pytest

from openrinalmo.model import alphabet
from openrinalmo.model.masked_lm import IGNORE_INDEX
from openrinalmo.pipeline.pretraining.counter_rng import derive_key
from openrinalmo.pipeline.pretraining.masking import MaskingConfig, mask_tokens

CONFIG = MaskingConfig()


def encode_all(sequences):
    ids = [alphabet.encode(s).numpy() for s in sequences]
    cu_seqlens = np.cumsum([0, *map(len, ids)]).astype(np.int32)
    return np.concatenate(ids), cu_seqlens


def random_sequences(count, length, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGUN"), length)) for _ in range(count)]


def test_shares_are_15_percent_and_80_10_10():
    ids, cu_seqlens = encode_all(random_sequences(400, 300))
    corrupted, labels = mask_tokens(ids, cu_seqlens, derive_key(0, np.arange(400)), CONFIG)
    chosen = labels != IGNORE_INDEX
    letters = np.isin(ids, alphabet.MASKABLE)
    assert chosen.sum() / letters.sum() == pytest.approx(0.15, abs=0.004)
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(corrupted[~chosen], ids[~chosen])
    is_mask = corrupted[chosen] == alphabet.MASK
    changed = ~is_mask & (corrupted[chosen] != ids[chosen])
    assert is_mask.mean() == pytest.approx(0.8, abs=0.01)
    # One in five letters is N, which no draw equals; of the others a draw in four is the same.
    assert changed.mean() == pytest.approx(0.1 * (1 - 0.8 / 4), abs=0.01)


def test_specials_and_gaps_are_never_selected_and_only_nucleotides_are_drawn():
    ids, cu_seqlens = encode_all(["AC-GU-NRYI" * 20] * 50)
    corrupted, labels = mask_tokens(ids, cu_seqlens, derive_key(1, np.arange(50)), CONFIG)
    chosen = labels != IGNORE_INDEX
    assert not np.isin(ids[chosen], [alphabet.CLS, alphabet.EOS, alphabet.TOKENS.index("-")]).any()
    drawn = corrupted[chosen & (corrupted != ids) & (corrupted != alphabet.MASK)]
    assert set(drawn) == set(alphabet.NUCLEOTIDES)


def test_a_sequences_mask_depends_on_its_key_and_not_on_its_pack():
    sequences = random_sequences(20, 60)
    keys = derive_key(3, np.arange(20))
    corrupted, labels = mask_tokens(*encode_all(sequences), keys, CONFIG)
    for order in (range(19, -1, -1), range(0, 20, 3)):
        some = list(order)
        ids, cu_seqlens = encode_all([sequences[i] for i in some])
        again, labels_again = mask_tokens(ids, cu_seqlens, keys[some], CONFIG)
        for place, i in enumerate(some):
            here, there = slice(*cu_seqlens[place : place + 2]), slice(i * 62, (i + 1) * 62)
            assert np.array_equal(again[here], corrupted[there])
            assert np.array_equal(labels_again[here], labels[there])


def test_no_sequence_is_idle():
    ids, cu_seqlens = encode_all(random_sequences(3000, 3))
    _, labels = mask_tokens(ids, cu_seqlens, derive_key(0, np.arange(3000)), CONFIG)
    per_sequence = np.add.reduceat(labels != IGNORE_INDEX, cu_seqlens[:-1])
    assert per_sequence.min() == 1
    assert per_sequence.mean() < 1.1


def test_a_sequence_without_letters_has_no_labels():
    ids, cu_seqlens = encode_all(["--", "ACGU"])
    _, labels = mask_tokens(ids, cu_seqlens, derive_key(0, np.arange(2)), CONFIG)
    assert (labels[:4] == IGNORE_INDEX).all()


@pytest.mark.parametrize(
    "settings",
    [{"mask_ratio": 0.0}, {"mask_ratio": 1.0}, {"random_share": 0.3}, {"mask_token_share": -0.1}],
)
def test_impossible_shares_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MaskingConfig(**settings)
