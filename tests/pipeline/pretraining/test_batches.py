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
