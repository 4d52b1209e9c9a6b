import numpy as np
import pytest
import torch

from openrinalmo.data_prep.shards import open_split
from openrinalmo.model import alphabet
from openrinalmo.model.masked_lm import IGNORE_INDEX
from openrinalmo.pipeline.pretraining.batches import BatchConfig, PackStream
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from support.corpora import make_corpus
from support.tiny_data import write_tiny_data


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return open_split(make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=60), "train")


def build_stream(split, max_length_nt=80, seed=0):
    return PackStream(
        split,
        pack_tokens=400,
        sampling=SamplingConfig(max_length_nt=max_length_nt),
        masking=MaskingConfig(),
        seed=seed,
    )


def originals(batch):
    """The pack's sequences before corruption, as strings of tokens."""
    ids = batch.ids_T.long().clone()
    ids[batch.predicted_rows_M] = batch.labels_M
    return [x.tolist() for x in ids.tensor_split(batch.cu_seqlens[1:-1].long())]


def test_a_pack_is_the_same_whenever_and_in_whatever_order_it_is_asked_for(split):
    forwards, backwards = build_stream(split), build_stream(split)
    first = [forwards.pack(number) for number in range(25)]
    second = [backwards.pack(number) for number in reversed(range(25))][::-1]
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            assert torch.equal(torch.as_tensor(x), torch.as_tensor(y))


def test_an_epoch_shows_every_cluster_once_whole_or_as_a_window_without_the_cut_ends(split):
    stream = build_stream(split)
    num_packs = stream.num_packs(0)
    shown = [ids for number in range(num_packs) for ids in originals(stream.pack(number))]
    assert len(shown) == split.num_clusters
    assert stream.locate(num_packs - 1)[0] == 0
    assert stream.locate(num_packs) == (1, 0)

    texts = [split.sequence(i).tobytes().decode() for i in range(split.num_records)]
    wholes = {tuple(alphabet.encode(text).tolist()) for text in texts}
    for ids in shown:
        has_cls, has_eos = ids[0] == alphabet.CLS, ids[-1] == alphabet.EOS
        letters = alphabet.decode(torch.tensor(ids))
        if has_cls and has_eos:
            assert tuple(ids) in wholes
        else:
            assert len(letters) == 80
            starts, ends = str.startswith, str.endswith
            fits = starts if has_cls else ends if has_eos else str.__contains__
            assert any(fits(text, letters) for text in texts)


def test_packs_keep_within_their_budget_and_describe_themselves(split):
    stream = build_stream(split)
    for number in range(2 * stream.num_packs(0)):
        batch = stream.pack(number)
        lengths = batch.cu_seqlens.diff()
        assert int(lengths.sum()) == len(batch.ids_T) <= 400
        assert batch.max_seqlen == int(lengths.max())
        assert (batch.labels_M != IGNORE_INDEX).all()
        assert len(batch.labels_M) == len(batch.predicted_rows_M) == len(batch.rna_type_ids_M)
        for row, rna_type_id in zip(batch.predicted_rows_M, batch.rna_type_ids_M, strict=True):
            sequence = int((batch.cu_seqlens > row).int().argmax()) - 1
            letters = set(originals(batch)[sequence]) & set(alphabet.NUCLEOTIDES)
            is_repeat = letters <= {alphabet.TOKENS.index("A"), alphabet.TOKENS.index("C")}
            assert split.rna_types[int(rna_type_id)] == ("repeat" if is_repeat else "hairpin")


def test_epochs_mask_anew_and_seeds_differ(split):
    stream, other = build_stream(split), build_stream(split, seed=1)
    second_epoch = stream.pack(stream.num_packs(0))
    assert stream.pack(0).dropout_seed != second_epoch.dropout_seed
    assert originals(stream.pack(0)) != originals(other.pack(0))


def test_dropout_seeds_are_what_a_generator_takes(split):
    stream = build_stream(split)
    seeds = {stream.pack(number).dropout_seed for number in range(30)}
    assert len(seeds) == 30
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_budgets_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="global_batch_tokens 100 must be a multiple of .* 64"):
        BatchConfig(micro_batch_tokens=64, global_batch_tokens=100)
    assert BatchConfig(micro_batch_tokens=64, global_batch_tokens=256).packs_per_step == 4


def test_fragments_of_long_sequences_occur(split):
    stream = build_stream(split)
    shown = [ids for n in range(stream.num_packs(0)) for ids in originals(stream.pack(n))]
    cut = np.array([(ids[0] != alphabet.CLS, ids[-1] != alphabet.EOS) for ids in shown])
    assert cut.any(axis=0).all()


def read_tokens(split, samples):
    """The pack's uncorrupted ids, sequence by sequence, from the records' text."""
    ids = []
    for record, start, length, has_cls, has_eos in zip(*samples, strict=True):
        text = split.sequence(int(record)).tobytes().decode()
        window = alphabet.encode(text[start : start + length]).tolist()
        ids.append(window[0 if has_cls else 1 : len(window) if has_eos else -1])
    return ids


CORPORA = {
    "one cluster": [["ACGUACGUACGUACGUACGU"]],
    "one nucleotide": [["A"], ["C"], ["G"], ["U"], ["N"]],
    "longer than a window": [["ACGU" * 30], ["GGCAU" * 100, "AC" * 9], ["A" * 17]],
    "exactly a window": [["ACGU" * 4], ["CCGU" * 4], ["ACGUU" * 3 + "AG", "GUA"]],
}


@pytest.mark.parametrize("pack_tokens", [18, 19, 40, 1000])
@pytest.mark.parametrize("clusters", CORPORA.values(), ids=CORPORA)
def test_corpora_of_odd_sizes_are_shown_as_they_are(tmp_path, clusters, pack_tokens):
    records = [
        [(f"r{c}.{m}", text, "RNA") for m, text in enumerate(members)]
        for c, members in enumerate(clusters)
    ]
    split = open_split(
        write_tiny_data(tmp_path, train=records, validation=[], max_shard_nt=40), "train"
    )
    stream = PackStream(
        split,
        pack_tokens=pack_tokens,
        sampling=SamplingConfig(max_length_nt=16),
        masking=MaskingConfig(),
        seed=1,
    )
    for epoch in range(4):
        first = stream.epochs.first_pack(epoch)
        shown = []
        for number in range(first, first + stream.num_packs(epoch)):
            batch, samples = stream.pack(number), stream.samples(number)
            assert originals(batch) == read_tokens(split, samples)
            assert batch.num_tokens <= pack_tokens
            assert batch.max_seqlen == max(map(len, originals(batch)))
            assert batch.cu_seqlens.dtype == torch.int32
            assert batch.predicted_rows_M.dtype == batch.labels_M.dtype == torch.int64
            assert batch.rna_type_ids_M.dtype == torch.int64
            assert len(batch.labels_M) >= len(samples.records)
            shown += [split.cluster(record) for record in samples.records.tolist()]
        assert sorted(shown) == list(range(len(clusters)))


def test_packs_of_one_sequence_each(split):
    stream = PackStream(
        split,
        pack_tokens=82,
        sampling=SamplingConfig(max_length_nt=80),
        masking=MaskingConfig(),
        seed=0,
    )
    sizes = {len(stream.samples(number).records) for number in range(stream.num_packs(0))}
    assert 1 in sizes
    long = SamplingConfig(max_length_nt=16)
    single = PackStream(split, pack_tokens=18, sampling=long, masking=MaskingConfig(), seed=0)
    assert single.num_packs(0) == split.num_clusters
    for number in range(single.num_packs(0)):
        assert single.pack(number).cu_seqlens.tolist()[:-1] == [0]


def test_a_pack_before_the_first_is_refused(split):
    with pytest.raises(ValueError, match="numbered from 0, there is no pack -1"):
        build_stream(split).pack(-1)


def test_plans_of_two_epochs_are_kept(split):
    epochs = build_stream(split).epochs
    for epoch in range(4):
        epochs.plan(epoch)
    assert [epochs.is_planned(epoch) for epoch in range(5)] == [False, False, True, True, False]
    assert epochs.plan(3) is epochs.plan(3)
    assert epochs.first_pack(2) == epochs.num_packs(0) + epochs.num_packs(1)
