import threading
import time

import pytest
import torch

from openrinalmo.data_prep.shards import open_split
from openrinalmo.pipeline.pretraining.batches import BatchConfig, PackStream
from openrinalmo.pipeline.pretraining.loader import PackLoader
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from support.corpora import make_corpus


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return open_split(make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=60), "train")


SETTINGS = {
    "pack_tokens": 400,
    "sampling": SamplingConfig(),
    "masking": MaskingConfig(),
    "seed": 0,
}


def build_stream(split):
    return PackStream(split, **SETTINGS)


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        assert torch.equal(torch.as_tensor(x), torch.as_tensor(y))


class CountingStream(PackStream):
    """Notes which packs are built, by which threads; waits while `gate` is shut."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.built, self.threads = [], set()
        self.gate = threading.Event()
        self.gate.set()

    def pack(self, number):
        assert self.gate.wait(60)
        self.built.append(number)
        self.threads.add(threading.current_thread().name)
        return super().pack(number)


class FailingStream(PackStream):
    """Cannot build pack 5 the first time."""

    failures = 1

    def pack(self, number):
        if number == 5 and self.failures:
            self.failures -= 1
            raise OSError("the disk went away")
        return super().pack(number)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_packs_are_those_of_the_stream_in_the_order_asked_for(split, workers):
    stream, loader = build_stream(split), PackLoader(build_stream(split), workers=workers)
    for numbers, upcoming in (
        ([3, 1, 2], [7, 8]),
        ([7, 8], [9]),
        ([30], []),
        ([4, 4, 0], [4]),
        ([4], ()),
        ([], [11]),
        ([200], []),
    ):
        packs = loader.load(numbers, upcoming)
        assert [pack.number for pack in packs] == numbers
        for number, pack in zip(numbers, packs, strict=True):
            assert_same(pack, stream.pack(number))
    loader.close()


def test_what_was_announced_is_built_once_and_elsewhere(split):
    stream = CountingStream(split, **SETTINGS)
    loader = PackLoader(stream, workers=2)
    loader.load([0, 1], [2, 3])
    loader.load([2, 3], [4, 5])
    loader.load([4, 5])
    loader.close()
    assert sorted(stream.built) == [0, 1, 2, 3, 4, 5]
    assert threading.current_thread().name not in stream.threads


def test_no_more_is_held_than_was_asked_for_and_announced(split):
    stream = CountingStream(split, **SETTINGS)
    loader = PackLoader(stream, workers=1)
    stream.gate.clear()
    loader.load([], range(100))
    loader.load([], [7])  # the other 99 are wanted no more; one may be under way
    stream.gate.set()
    loader.load([7])
    loader.close()
    assert len(stream.built) <= 2
    assert 7 in stream.built


@pytest.mark.parametrize("workers", [1, 3])
def test_a_workers_error_is_raised_with_the_packs_number_and_the_pack_can_be_asked_for_again(
    split, workers
):
    loader = PackLoader(FailingStream(split, **SETTINGS), workers=workers)
    loader.load([3, 4], [5, 6])  # announced only: nothing is raised yet
    with pytest.raises(RuntimeError, match="pack 5 could not be built: OSError: the disk went"):
        loader.load([5, 6])
    assert [pack.number for pack in loader.load([5, 6])] == [5, 6]
    loader.close()


def test_without_workers_the_error_is_raised_where_it_occurs(split):
    loader = PackLoader(FailingStream(split, **SETTINGS), workers=0)
    with pytest.raises(OSError, match="the disk went away"):
        loader.load([5])


@pytest.mark.parametrize("workers", [0, 2])
def test_closing_twice_stops_every_thread_once(split, workers):
    before = threading.active_count()
    loader = PackLoader(build_stream(split), workers=workers)
    loader.load([0], [1, 2, 3])
    loader.close()
    loader.close()
    assert threading.active_count() == before


def test_the_next_epoch_is_planned_before_it_begins(split):
    stream = build_stream(split)
    num_packs = stream.num_packs(0)
    loader = PackLoader(stream, workers=1)
    loader.load([0])
    assert not stream.epochs.is_planned(1)
    loader.load([num_packs // 2 + 1])
    deadline = time.monotonic() + 60
    while not stream.epochs.is_planned(1) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stream.epochs.is_planned(1)
    assert stream.epochs.is_planned(0)
    loader.close()


def test_many_threads_asking_for_packs_of_many_epochs_get_the_right_ones(split):
    stream, shared = build_stream(split), build_stream(split)
    numbers = [(17 * i) % 120 for i in range(120)]
    loader = PackLoader(shared, workers=8)
    for number, pack in zip(numbers, loader.load(numbers), strict=True):
        assert_same(pack, stream.pack(number))
    loader.close()


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="batches.workers must be 0 or more, got -1"):
        BatchConfig(micro_batch_tokens=8, global_batch_tokens=8, workers=-1)


@pytest.mark.gpu
def test_packs_are_pinned_for_a_gpu(split):
    loader = PackLoader(build_stream(split), workers=1, pin_memory=True)
    (pack,) = loader.load([0])
    assert all(x.is_pinned() for x in pack if isinstance(x, torch.Tensor))
    assert_same(pack.to(torch.device("cuda")).to(torch.device("cpu")), pack)
    loader.close()
