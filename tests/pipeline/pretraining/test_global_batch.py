"""What a step sees, whoever computes it: through the functions that training itself calls."""

from collections import Counter

import pytest

from openrinalmo.data_prep.shards import open_split
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.loader import PackLoader
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from openrinalmo.pipeline.pretraining.sharing import count_micro_steps, share_packs
from openrinalmo.pipeline.pretraining.skipping import SkippedPacks
from support.corpora import make_corpus
from support.typed_corpora import make_typed_corpus

NOTHING = SkippedPacks()
EVEN = SamplingConfig(max_length_nt=80)
WEIGHTED = SamplingConfig(max_length_nt=80, type_temperature=0.0, type_caps="rRNA=0.3")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return open_split(make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=60), "train")


@pytest.fixture(scope="module")
def typed_split(tmp_path_factory):
    return open_split(make_typed_corpus(tmp_path_factory.mktemp("typed")), "train")


@pytest.fixture(params=["even", "weighted"])
def corpus(request, split, typed_split):
    """A split and how it is sampled."""
    return {"even": (split, EVEN), "weighted": (typed_split, WEIGHTED)}[request.param]


def build_stream(split, sampling=EVEN):
    return PackStream(
        split,
        pack_tokens=400,
        sampling=sampling,
        masking=MaskingConfig(),
        seed=0,
    )


def fingerprint(pack):
    """Everything in a pack that the loss depends on."""
    tensors = (pack.ids_T, pack.cu_seqlens, pack.predicted_rows_M, pack.labels_M)
    return (pack.number, pack.dropout_seed, *(tuple(x.tolist()) for x in tensors))


def run_steps(corpus, steps, *, packs_per_step, world_size, workers=0, skipped=NOTHING):
    """The weighted packs of each step over all ranks, each rank with a stream of its own."""
    seen = {step: [] for step in steps}
    for rank in range(world_size):
        loader = PackLoader(build_stream(*corpus), workers=workers)

        def find_shares(step, rank=rank):
            shares = share_packs(step, packs_per_step, rank=rank, world_size=world_size)
            return [(skipped.number(place), weight) for place, weight in shares]

        for step in steps:
            shares = find_shares(step)
            upcoming = [number for number, _ in find_shares(step + 1)]
            packs = loader.load([number for number, _ in shares], upcoming)
            assert len(packs) == count_micro_steps(packs_per_step, world_size=world_size)
            seen[step] += [
                (fingerprint(pack), weight) for pack, (_, weight) in zip(packs, shares, strict=True)
            ]
        loader.close()
    return [Counter(print_ for print_, weight in seen[step] if weight) for step in steps]


@pytest.mark.parametrize("packs_per_step", [1, 3, 4, 5])
def test_ranks_and_workers_change_no_steps_packs(corpus, packs_per_step):
    steps = range(7)
    alone = run_steps(corpus, steps, packs_per_step=packs_per_step, world_size=1)
    assert all(sum(batch.values()) == packs_per_step for batch in alone)
    for world_size in (1, 2, 3, 4):
        for workers in (0, 1, 3):
            shared = run_steps(
                corpus,
                steps,
                packs_per_step=packs_per_step,
                world_size=world_size,
                workers=workers,
            )
            assert shared == alone, (world_size, workers)


def test_fillers_have_no_weight_and_every_rank_makes_as_many_passes():
    for packs_per_step in range(1, 9):
        for world_size in range(1, 9):
            shares = [
                share_packs(3, packs_per_step, rank=rank, world_size=world_size)
                for rank in range(world_size)
            ]
            assert len({len(share) for share in shares}) == 1
            places = [place for share in shares for place, weight in share if weight == 1]
            first = 3 * packs_per_step
            assert sorted(places) == list(range(first, first + packs_per_step))
            assert {weight for share in shares for _, weight in share} <= {0.0, 1.0}


def count_clusters(split, stream, numbers):
    """How often each cluster is shown in each epoch by these packs."""
    shown = {}
    for number in numbers:
        epoch, _ = stream.locate(number)
        for record in stream.samples(number).records.tolist():
            shown.setdefault(epoch, Counter())[split.cluster(record)] += 1
    return shown


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_every_cluster_appears_once_an_epoch_also_where_an_epoch_ends_inside_a_step(
    split, world_size
):
    stream = build_stream(split)
    packs_per_step = 5
    last = stream.epochs.first_pack(3)
    ends = {stream.epochs.first_pack(epoch) % packs_per_step for epoch in (1, 2, 3)}
    assert ends - {0}, "no epoch ends inside a step: the corpus must change"
    numbers = [
        place
        for step in range(-(-last // packs_per_step))
        for rank in range(world_size)
        for place, weight in share_packs(step, packs_per_step, rank=rank, world_size=world_size)
        if weight
    ]
    shown = count_clusters(split, stream, numbers)
    clusters = {split.cluster(record) for record in range(split.num_records)}
    assert len(clusters) == split.num_clusters
    for epoch in range(3):
        assert shown[epoch] == Counter(dict.fromkeys(clusters, 1))


def test_a_run_that_stops_and_goes_on_at_any_step_shows_what_one_run_shows(corpus):
    straight = run_steps(corpus, range(10), packs_per_step=4, world_size=2, workers=1)
    for stop in range(1, 10):
        before = run_steps(corpus, range(stop), packs_per_step=4, world_size=3, workers=1)
        after = run_steps(corpus, range(stop, 10), packs_per_step=4, world_size=4, workers=3)
        assert [*before, *after] == straight


def test_skipped_packs_are_left_out_and_no_other(corpus):
    skipped = SkippedPacks.parse("2,9-12")
    for world_size in (1, 3):
        batches = run_steps(
            corpus, range(5), packs_per_step=4, world_size=world_size, workers=1, skipped=skipped
        )
        numbers = sorted(print_[0] for batch in batches for print_ in batch)
        assert numbers == [n for n in range(25) if n not in {2, 9, 10, 11, 12}]


def test_a_resume_in_a_late_epoch_finds_the_packs_that_counting_from_the_start_finds(corpus):
    early, late = build_stream(*corpus), build_stream(*corpus)
    number = early.epochs.first_pack(5) + 3
    for earlier in range(0, number, 7):
        early.pack(earlier)
    assert late.locate(number) == early.locate(number) == (5, 3)
    assert fingerprint(late.pack(number)) == fingerprint(early.pack(number))


def test_a_packs_place_and_sizes_are_stated(split):
    stream = build_stream(split)
    for number in range(12):
        pack = stream.pack(number)
        lengths = pack.cu_seqlens.diff().tolist()
        assert pack.number == number
        assert pack.num_tokens == len(pack.ids_T) == sum(lengths)
        assert pack.sum_squared_lengths == sum(length * length for length in lengths)
