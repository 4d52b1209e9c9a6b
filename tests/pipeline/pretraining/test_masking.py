import numpy as np
import pytest

from openrinalmo.model import alphabet
from openrinalmo.model.masked_lm import IGNORE_INDEX
from openrinalmo.pipeline.pretraining.counter_rng import derive_key
from openrinalmo.pipeline.pretraining.masking import MaskingConfig, corrupt_tokens, mask_tokens
from support.splitmix import SplitMix64, mix_one

CONFIG = MaskingConfig()


def encode_all(sequences):
    ids = [alphabet.encode(s).numpy() for s in sequences]
    cu_seqlens = np.cumsum([0, *map(len, ids)]).astype(np.int32)
    return np.concatenate(ids), cu_seqlens


def random_sequences(count, length, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGUN"), length)) for _ in range(count)]


def corrupt_one(ids: list[int], key: int, config: MaskingConfig) -> tuple[list[int], list[int]]:
    """A sequence's corrupted ids and selected positions, token by token in unbounded integers."""
    generator = SplitMix64(key)
    draws = [generator.next() for _ in ids]
    letters = [p for p, i in enumerate(ids) if i in alphabet.MASKABLE]
    selected = [p for p in letters if draws[p] < int(config.mask_ratio * 2**64)]
    if letters and not selected:
        selected = [min(letters, key=lambda p: draws[p])]
    corrupted = list(ids)
    for position in selected:
        word = mix_one(draws[position])
        if word < int(config.mask_token_share * 2**64):
            corrupted[position] = alphabet.MASK
        elif word < int((config.mask_token_share + config.random_share) * 2**64):
            corrupted[position] = alphabet.NUCLEOTIDES[word % 4]
    return corrupted, selected


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        MaskingConfig(mask_ratio=0.9, mask_token_share=0.2, random_share=0.5),
        MaskingConfig(mask_ratio=0.001, mask_token_share=0.0, random_share=1.0),
    ],
    ids=["recipe", "much", "hardly any"],
)
def test_tokens_are_those_of_drawing_one_by_one(config):
    rng = np.random.default_rng(5)
    letters = list("ACGUNRY-!")
    sequences = ["".join(rng.choice(letters, n)) for n in [1, 2, 1, 3, 40, 700, 5, 1, 1022, 22]]
    sequences += ["-", "--!", "A", ""]
    ids, cu_seqlens = encode_all(sequences)
    keys = rng.integers(0, 2**64, len(sequences), dtype=np.uint64)
    corrupted, rows = corrupt_tokens(ids, cu_seqlens, keys, config)
    expected_ids, expected_rows = [], []
    for i, key in enumerate(keys.tolist()):
        start, end = cu_seqlens[i : i + 2].tolist()
        some_ids, some_rows = corrupt_one(ids[start:end].tolist(), key, config)
        expected_ids += some_ids
        expected_rows += [start + row for row in some_rows]
    assert corrupted.tolist() == expected_ids
    assert rows.tolist() == expected_rows


def test_labels_are_the_true_ids_of_the_selected_rows_and_the_input_stays_as_it_is():
    ids, cu_seqlens = encode_all(random_sequences(20, 60))
    before = ids.copy()
    keys = derive_key(0, np.arange(20))
    corrupted, rows = corrupt_tokens(ids, cu_seqlens, keys, CONFIG)
    again, labels = mask_tokens(ids, cu_seqlens, keys, CONFIG)
    assert np.array_equal(ids, before)
    assert np.array_equal(corrupted, again)
    assert np.array_equal(np.flatnonzero(labels != IGNORE_INDEX), rows)
    assert np.array_equal(labels[rows], ids[rows])


def test_shares_are_15_percent_and_80_10_10():
    ids, cu_seqlens = encode_all(random_sequences(400, 300))
    corrupted, chosen = corrupt_tokens(ids, cu_seqlens, derive_key(0, np.arange(400)), CONFIG)
    assert len(chosen) / np.isin(ids, alphabet.MASKABLE).sum() == pytest.approx(0.15, abs=0.004)
    is_mask = corrupted[chosen] == alphabet.MASK
    changed = ~is_mask & (corrupted[chosen] != ids[chosen])
    assert is_mask.mean() == pytest.approx(0.8, abs=0.01)
    # One in five letters is N, which no draw equals; of the others a draw in four is the same.
    assert changed.mean() == pytest.approx(0.1 * (1 - 0.8 / 4), abs=0.01)
    counts = np.bincount(corrupted[chosen][changed], minlength=alphabet.VOCAB_SIZE)
    assert counts[list(alphabet.NUCLEOTIDES)] == pytest.approx(changed.sum() / 4, rel=0.15)


def test_selection_knows_no_neighbours_and_no_other_sequences():
    length = 500
    ids, cu_seqlens = encode_all(random_sequences(400, length))
    _, rows = corrupt_tokens(ids, cu_seqlens, derive_key(0, np.arange(400)), CONFIG)
    chosen = np.zeros(len(ids))
    chosen[rows] = 1
    grid = chosen.reshape(400, length + 2)[:, 1:-1]
    for step in range(1, 9):
        assert abs(np.corrcoef(grid[:, :-step].ravel(), grid[:, step:].ravel())[0, 1]) < 0.01
        assert abs(np.corrcoef(grid[:-step].ravel(), grid[step:].ravel())[0, 1]) < 0.01


def test_specials_and_gaps_are_never_selected_and_only_nucleotides_are_drawn():
    ids, cu_seqlens = encode_all(["AC-GU-NRYI" * 20] * 50)
    corrupted, chosen = corrupt_tokens(ids, cu_seqlens, derive_key(1, np.arange(50)), CONFIG)
    assert not np.isin(ids[chosen], [alphabet.CLS, alphabet.EOS, alphabet.TOKENS.index("-")]).any()
    drawn = corrupted[(corrupted != ids) & (corrupted != alphabet.MASK)]
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
