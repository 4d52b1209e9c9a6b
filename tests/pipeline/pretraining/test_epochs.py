import hashlib
from collections import Counter

import numpy as np
import pytest

from openrinalmo.data_prep.composition import TypeWeights, describe_composition
from openrinalmo.data_prep.shards import open_split, read_manifest, write_manifest
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.epochs import EpochPlans, plan_epoch
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from support.corpora import make_corpus
from support.typed_corpora import make_typed_corpus

WEIGHTED = SamplingConfig(
    max_length_nt=80, type_temperature=0.0, type_caps="rRNA=0.3", max_repeats=5
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_typed_corpus(tmp_path_factory.mktemp("typed"))


def build_plans(folder, sampling, split="train", seed=0):
    return EpochPlans(open_split(folder, split), pack_tokens=400, sampling=sampling, seed=seed)


def build_stream(folder, sampling):
    return PackStream(
        open_split(folder, "train"),
        pack_tokens=400,
        sampling=sampling,
        masking=MaskingConfig(),
        seed=0,
    )


def count_by_type(folder, epoch_plan):
    split = open_split(folder, "train")
    return Counter(split.rna_types[split.rna_type_ids[record]] for record in epoch_plan.records)


def test_default_plans_and_packs_are_those_from_before_there_were_weights(tmp_path):
    """The digests were taken at commit 9369807, which knew no weights."""
    starts = np.concatenate([[0], np.cumsum(np.arange(2000) * 7919 % 5 + 1)])
    lengths = (16 + np.arange(starts[-1]) * 104729 % 300).astype(np.int32)
    digest = hashlib.sha256()
    for seed, epoch in ((0, 0), (3, 7)):
        plan = plan_epoch(
            starts,
            lengths,
            pack_tokens=1000,
            sampling=SamplingConfig(max_length_nt=100),
            seed=seed,
            epoch=epoch,
        )
        digest.update(plan.records.astype("<i8").tobytes())
        digest.update(plan.boundaries.astype("<i8").tobytes())
    assert digest.hexdigest() == "138790efbe1672441f1d4ef80a8f4b983a2c02e43d9e6b850ef9bb2ee9aeca1b"

    stream = build_stream(make_corpus(tmp_path, num_clusters=60), SamplingConfig(max_length_nt=80))
    digest = hashlib.sha256()
    for number in range(25):
        pack = stream.pack(number)
        for tensor in (pack.ids_T, pack.cu_seqlens, pack.predicted_rows_M, pack.labels_M):
            digest.update(tensor.numpy().tobytes())
        digest.update(str(pack.dropout_seed).encode())
    assert digest.hexdigest() == "708238d262eb3678c03331a1d834fa099ff22925151a1d0dbd419ceab065f6d7"


def test_an_epoch_shows_what_the_description_states(folder):
    weights = WEIGHTED.choose_weights(TypeWeights())
    split = open_split(folder, "train")
    stated = describe_composition(split, weights, max_length_nt=80)
    plans = build_plans(folder, WEIGHTED)
    for epoch in range(4):
        plan = plans.plan(epoch)
        assert len(plan.draws) == stated["epoch"]["sequences"]
        shown = count_by_type(folder, plan)
        assert shown == {n: row["sequences_an_epoch"] for n, row in stated["types"].items()}


def test_caps_are_reached_within_a_cluster_in_the_letters_that_are_shown(folder):
    stream = build_stream(folder, WEIGHTED)
    split = open_split(folder, "train")
    for epoch in range(4):
        first = stream.epochs.first_pack(epoch)
        nt = Counter()
        for number in range(first, first + stream.num_packs(epoch)):
            samples = stream.samples(number)
            for record, length in zip(samples.records, samples.lengths_nt, strict=True):
                nt[split.rna_types[split.rna_type_ids[record]]] += int(length)
        assert abs(nt["rRNA"] - 0.3 * nt.total()) <= 80


def test_over_epochs_every_cluster_of_a_type_is_shown_as_often_as_the_others(folder):
    split = open_split(folder, "train")
    starts, plans = split.cluster_starts, build_plans(folder, WEIGHTED)
    types = split.rna_type_ids[starts[:-1]]
    total = np.zeros(split.num_clusters, np.int64)
    for epoch in range(12):
        clusters = np.searchsorted(starts, plans.plan(epoch).records, side="right") - 1
        shown = np.bincount(clusters, minlength=split.num_clusters)
        total += shown
        for rna_type in range(3):
            for counts in (shown, total):
                assert np.ptp(counts[types == rna_type]) <= 1
    assert total.min() > 0


def test_the_manifests_weights_are_taken_where_the_settings_name_none(tmp_path):
    folder = make_typed_corpus(tmp_path)
    even = build_plans(folder, SamplingConfig()).plan(0)
    weights = TypeWeights(type_temperature=0.0, type_caps="rRNA=0.3", max_repeats=5)
    described = describe_composition(open_split(folder, "train"), weights)
    write_manifest(folder, read_manifest(folder) | {"composition": described})

    taken = build_plans(folder, SamplingConfig(max_length_nt=80)).plan(1)
    assert np.array_equal(taken.draws, build_plans(folder, WEIGHTED).plan(1).draws)
    named = SamplingConfig(type_temperature=1.0, type_caps="")
    assert np.array_equal(build_plans(folder, named).plan(0).draws, even.draws)


def test_validation_shows_every_cluster_once_whatever_the_weights(folder):
    weighted = build_plans(folder, WEIGHTED, "validation").plan(3)
    even = build_plans(folder, SamplingConfig(max_length_nt=80), "validation").plan(3)
    assert np.array_equal(weighted.draws, even.draws)


def test_repeats_of_a_sequence_in_an_epoch_have_masks_of_their_own(tmp_path):
    folder = make_typed_corpus(tmp_path)
    sampling = SamplingConfig(type_temperature=0.0, max_repeats=6)
    split, stream = open_split(folder, "train"), build_stream(folder, sampling)
    masks = {}
    for number in range(stream.num_packs(0)):
        pack, samples = stream.pack(number), stream.samples(number)
        rows, ends = pack.predicted_rows_M.numpy(), pack.cu_seqlens.numpy()
        for place, record in enumerate(samples.records.tolist()):
            first, end = ends[place], ends[place + 1]
            mask = tuple((rows[(rows >= first) & (rows < end)] - first).tolist())
            masks.setdefault(record, []).append(mask)
    repeated = [found for found in masks.values() if len(found) > 1]
    assert len(repeated) >= split.num_clusters // 10
    assert all(len(set(found)) == len(found) for found in repeated)


def test_an_unknown_type_is_refused_before_the_first_pack(folder):
    plans = build_plans(folder, SamplingConfig(type_caps="rRNa=0.3"))
    with pytest.raises(ValueError, match=r"no RNA type 'rRNa'; did you mean 'rRNA'\?"):
        plans.plan(0)
