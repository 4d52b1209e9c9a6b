import numpy as np
import pytest

from openrinalmo.data_prep.shards import open_split
from support.corpora import make_corpus


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return open_split(make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=60), "train")


def test_windows_are_slices_of_the_records_in_whatever_order_and_shard(split):
    rng = np.random.default_rng(0)
    records = rng.integers(0, split.num_records, 200)
    lengths = rng.integers(0, 1 + split.lengths_nt[records])
    starts = rng.integers(0, 1 + split.lengths_nt[records] - lengths)
    windows = split.windows(records, starts.astype(np.int32), lengths.astype(np.int32))
    for window, record, start, length in zip(windows, records, starts, lengths, strict=True):
        letters = split.sequence(int(record)).tobytes()
        assert bytes(window) == letters[start : start + length]
        assert window.readonly


def test_no_windows_are_no_views(split):
    none = np.zeros(0, np.int64)
    assert split.windows(none, none, none) == []


def test_records_are_found_by_their_identifier(split):
    for record in range(0, split.num_records, 7):
        assert split.find(split.id(record)) == record
    assert split.find("no such record") is None
    assert split.find("") is None
