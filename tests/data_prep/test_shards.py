import pickle
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from openrinalmo.data_prep.shard_writer import write_shards
from openrinalmo.data_prep.shards import (
    SHARDS_FOLDER,
    hash_file,
    hash_manifest,
    open_split,
    read_manifest,
    verify_shards,
)
from support.tiny_data import take_rows, write_tiny_data

TRAIN = [
    [("a1", "ACGUACGUACGUACGUA", "tRNA"), ("a2", "ACGUACGUACGUACGU", "tRNA")],
    [("b1", "GGGGCCCCAAAAUUUUNN", "rRNA")],
    [("c1", "AUAUAUAUAUAUAUAU", "rRNA"), ("c2", "AUAUAUAUAUAUAUAUA", "unknown")],
]
VALIDATION = [[("d1", "GCGCGCGCGCGCGCGCGC", "unknown")]]


@pytest.fixture(params=[10, 35, 1000], ids=["shard_per_cluster", "two_shards", "one_shard"])
def folder(tmp_path, request):
    return write_tiny_data(
        tmp_path / "data", train=TRAIN, validation=VALIDATION, max_shard_nt=request.param
    )


def test_reads_back_what_was_written(folder):
    split = open_split(folder, "train")
    flat = [record for cluster in TRAIN for record in cluster]
    assert [split.id(i) for i in range(5)] == [record[0] for record in flat]
    assert [bytes(split.sequence(i)).decode() for i in range(5)] == [record[1] for record in flat]
    assert [split.rna_types[t] for t in split.rna_type_ids] == [record[2] for record in flat]
    assert split.lengths_nt.tolist() == [len(record[1]) for record in flat]
    assert split.lengths_nt.dtype == np.int32
    assert split.cluster_starts.tolist() == [0, 2, 3, 5]
    assert split.cluster_starts.dtype == np.int64
    assert [split.cluster(i) for i in range(5)] == [0, 0, 1, 2, 2]
    assert {split.source(i) for i in range(5)} == {"tiny.fasta"}
    assert (split.num_records, split.num_clusters) == (5, 3)
    assert split.num_nt == sum(len(record[1]) for record in flat)


def test_vocabulary_is_common_to_both_splits(folder):
    train, validation = open_split(folder, "train"), open_split(folder, "validation")
    assert train.rna_types == validation.rna_types == ("rRNA", "tRNA", "unknown")
    assert validation.cluster(0) == 3


def test_sequence_is_a_view_of_the_mapped_file(folder):
    before = pa.total_allocated_bytes()
    sequence = open_split(folder, "train").sequence(2)
    assert not sequence.flags.writeable
    assert not sequence.flags.owndata
    assert pa.total_allocated_bytes() == before


def test_pickling_reopens_and_stays_small(folder):
    split = open_split(folder, "train")
    split.lengths_nt.sum()
    payload = pickle.dumps(split)
    assert len(payload) < 1000
    assert bytes(pickle.loads(payload).sequence(1)) == b"ACGUACGUACGUACGU"


@pytest.mark.parametrize("index", [-1, 5])
def test_refuses_an_index_outside(folder, index):
    with pytest.raises(IndexError, match=f"record {index} of 5 in train"):
        open_split(folder, "train").sequence(index)


def test_shards_end_with_a_cluster_and_hashes_are_true(folder):
    manifest = read_manifest(folder)
    shards = manifest["splits"]["train"]["shards"]
    for shard in shards:
        path = folder / shard["file"]
        assert hash_file(path) == shard["sha256"]
        clusters = pa.ipc.open_file(path).read_all().column("cluster").to_pylist()
        assert len(set(clusters)) == shard["clusters"]
        assert len(clusters) == shard["records"]
    assert sum(shard["clusters"] for shard in shards) == 3


def test_shard_bound(tmp_path):
    folder = write_tiny_data(tmp_path, train=TRAIN, validation=VALIDATION, max_shard_nt=51)
    nt = [shard["nt"] for shard in read_manifest(folder)["splits"]["train"]["shards"]]
    assert nt == [51, 33]


def test_manifest_hash_follows_its_bytes(folder):
    before = hash_manifest(folder)
    assert len(before) == 64
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert hash_manifest(folder) != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format_version": 1', "cannot be read as JSON"),
        ("[]", "has format_version None, this code reads 1"),
        ('{"format_version": 1}', "has no list of rna_types: copy the folder again"),
    ],
)
def test_a_damaged_manifest_is_named(folder, text, message):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest\.json {message}"):
        read_manifest(folder)


def test_missing_folder_names_itself_and_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*run `make data`"):
        open_split(tmp_path / "nowhere", "train")


def test_unknown_split_is_refused(folder):
    with pytest.raises(ValueError, match="one of train, validation; got 'test'"):
        open_split(folder, "test")


def test_shortened_shard_is_refused(folder):
    shard = folder / SHARDS_FOLDER / "train-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"train-00000.arrow holds .* copied in part"):
        open_split(folder, "train")


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_flipped_byte_in_any_shard_is_found_and_named(folder, position):
    verify_shards(folder)
    for shard in sorted((folder / SHARDS_FOLDER).iterdir()):
        whole = shard.read_bytes()
        damaged = bytearray(whole)
        damaged[position] ^= 1
        shard.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{shard.name} is damaged"):
            verify_shards(folder)
        shard.write_bytes(whole)
    verify_shards(folder)


def test_a_missing_shard_is_named(folder):
    shard = folder / SHARDS_FOLDER / "train-00000.arrow"
    shard.unlink()
    for read in (verify_shards, lambda f: open_split(f, "train")):
        with pytest.raises(ValueError, match="train-00000.arrow is missing"):
            read(folder)


def test_other_format_version_is_refused(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(ValueError, match="format_version 0"):
        open_split(folder, "train")


def test_writer_refuses_a_scattered_cluster(tmp_path):
    scattered = [[TRAIN[0][0]], TRAIN[1], TRAIN[2]]
    folder = write_tiny_data(tmp_path, train=scattered, validation=VALIDATION)
    records = pa.ipc.open_file(folder / SHARDS_FOLDER / "train-00000.arrow").read_all()
    with pytest.raises(ValueError, match="must be adjacent"):
        write_shards(
            tmp_path / "x",
            "train",
            records=records,
            order=np.array([2, 1, 3]),
            take=partial(take_rows, records),
        )


def test_empty_split_opens(tmp_path):
    split = open_split(write_tiny_data(tmp_path, train=TRAIN, validation=[]), "validation")
    assert (split.num_records, split.num_clusters, split.num_nt) == (0, 0, 0)
    assert split.cluster_starts.tolist() == [0]
    assert len(split.lengths_nt) == len(split.rna_type_ids) == 0


def test_gathers_from_a_chunked_table(tmp_path):
    folder = write_tiny_data(tmp_path, train=TRAIN, validation=VALIDATION)
    records = pa.ipc.open_file(folder / SHARDS_FOLDER / "train-00000.arrow").read_all()
    chunked = pa.concat_tables([records.slice(3), records.slice(0, 1), records.slice(1, 2)])
    order = np.array([4, 2, 3, 1, 0])
    take = partial(take_rows, chunked)
    write_shards(tmp_path / "x", "train", records=chunked, order=order, take=take)
    written = pa.ipc.open_file(tmp_path / "x" / SHARDS_FOLDER / "train-00000.arrow").read_all()
    assert written.to_pylist() == chunked.take(order).to_pylist()
