"""Ribosome load: both files, the filter of the published one, the two protocols."""

import gzip
from collections import Counter

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.sequence_tasks.near_duplicates import count_leakage
from openrinalmo.pipeline.downstream.tasks.ribosome_load import RibosomeLoadTask
from support.sequence_tasks import (
    compute_load,
    draw_sequence,
    read_table,
    write_loads,
    write_table,
)
from support.shared import SHARED, requires_shared

HEADER = ("", "utr", "len", "total_reads", "set", "rl")


def write_published(folder, rows):
    lines = [HEADER, *((number, *row) for number, row in enumerate(rows))]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "GSM4084997_varying_length_25to100.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def draw_rows(num, length, origin, generator, reads=50):
    for number in range(num):
        utr = draw_sequence(generator, length).replace("U", "T")
        yield utr, length, reads + number, origin, compute_load(utr)


def list_parts(data):
    parts = {}
    for example in data.examples:
        parts.setdefault(example.id.partition(":")[0], []).append(example)
    return parts


def test_50mers_are_fitted_on_but_those_tested(tmp_path):
    task = RibosomeLoadTask()
    data = task.read(write_loads(tmp_path))
    parts = list_parts(data)
    assert {name: len(listed) for name, listed in parts.items()} == {
        "fit": 79,
        "Random7600": 40,
        "Human7600": 40,
    }
    assert "1 UTRs to fit on are in a test set and left out" in data.notes
    assert {len(example.sequence) for example in parts["fit"]} == {50}
    (split,) = task.split(data, seed=0)
    assert split.name == "separate"
    assert not set(split.train) & set(split.validation)
    assert not set(split.validation) & set(split.tests["Random7600"])
    assert 6 <= len(split.validation) <= 10
    assert len(split.train) + len(split.validation) == 79
    assert all("U" in e.sequence and "T" not in e.sequence for e in data.examples)


def test_the_published_protocol_validates_on_a_reported_set(tmp_path):
    task = RibosomeLoadTask("published")
    data = task.read(write_loads(tmp_path))
    (split,) = task.split(data, seed=0)
    assert split.name == "published"
    assert split.validation == split.tests["Random7600"]
    assert len(split.train) == 79
    assert task.name != RibosomeLoadTask().name


def test_the_published_file_is_filtered_as_published(tmp_path):
    generator = np.random.default_rng(0)
    random = list(draw_rows(130, 30, "random", generator))
    human = list(draw_rows(105, 30, "human", generator))
    few = list(draw_rows(3, 30, "random", generator, reads=7))  # 7, 8, 9 reads
    edge = list(draw_rows(1, 31, "random", generator, reads=10))
    repeated = list(draw_rows(2, 30, "random", generator, reads=900))
    repeated += [(utr, length, 11, "human", rl) for utr, length, _, _, rl in repeated]
    blank = [(*row[:4], "") for row in draw_rows(2, 30, "random", generator, reads=900)]
    other = [(*row[:3], "snv", row[4]) for row in draw_rows(2, 30, "x", generator, reads=900)]
    # Repeated, but one of the two falls to the filter: the other one counts as single.
    single = next(draw_rows(1, 32, "random", generator))
    faint = (*single[:2], 3, "random", single[4])
    rows = [*random, *human, *few, *edge, *repeated, *blank, *other, single, faint]
    write_published(tmp_path / "mrl", [rows[i] for i in generator.permutation(len(rows))])
    data = RibosomeLoadTask().read(tmp_path)
    assert data.name == "gse114002"
    found = {
        part: sorted(e.sequence.replace("U", "T") for e in listed)
        for part, listed in list_parts(data).items()
    }
    # Reads rise from row to row: the last hundred of each length are the best covered.
    assert found == {
        "Random7600": sorted([*(row[0] for row in random[30:]), edge[0][0], single[0]]),
        "Human7600": sorted(row[0] for row in human[5:]),
        "fit": sorted(row[0] for row in random[:30]),
    }
    assert any(note.startswith("4 rows of repeated UTRs") for note in data.notes)
    loads = {example.sequence.replace("U", "T"): example.target for example in data.examples}
    assert loads[random[0][0]] == pytest.approx(random[0][4])


def test_a_predicted_load_is_0_at_least():
    scores = RibosomeLoadTask().score(np.array([[-5.0], [3.0]]), np.array([1.0, 3.0]))
    assert scores["MAE"] == 0.5


def test_bad_rows_are_named(tmp_path):
    generator = np.random.default_rng(1)
    good = next(draw_rows(1, 30, "random", generator))
    for bad, message in (
        ((good[0], 31, 50, "random", 5.0), r"gz:2 len is 31 but the UTR has 30 nt"),
        ((good[0], 30, "many", "random", 5.0), r"total_reads must be a number, got 'many'"),
        ((good[0], 30, 50, "random", "inf"), r"rl must be a number, got 'inf'"),
    ):
        write_published(tmp_path / "mrl", [bad])
        with pytest.raises(ValueError, match=message):
            RibosomeLoadTask().read(tmp_path)
    write_published(tmp_path / "mrl", [good])
    with pytest.raises(ValueError, match="leaves nothing for fit, Human7600"):
        RibosomeLoadTask().read(tmp_path)


def test_absent_sets_and_columns_are_named(tmp_path):
    with pytest.raises(ValueError, match="embedded sample has no ribosome loads"):
        RibosomeLoadTask().read(None)
    with pytest.raises(FileNotFoundError, match="must hold one mrl_sample2019"):
        RibosomeLoadTask().read(tmp_path)
    path = tmp_path / "mrl" / "mrl_sample2019.tsv.xz"
    write_table(path, [("utr", "rl", "split_name"), ("ACGT", 1.0, "Random7600")])
    with pytest.raises(ValueError, match="no row with split_name Human7600, MPA_U"):
        RibosomeLoadTask().read(tmp_path)
    write_table(path, [("utr", "split_name"), ("ACGT", "Random7600")])
    with pytest.raises(ValueError, match="has no column rl"):
        RibosomeLoadTask().read(tmp_path)


def test_no_utr_of_the_fit_overlaps_a_tested_or_validated_one(tmp_path):
    path = next((write_loads(tmp_path) / "mrl").iterdir())
    rows = read_table(path)
    tested = [row for row in rows if row[3] == "Human7600"]
    fitted = [row for row in rows if row[3] == "MPA_H_25000"]
    # A tested UTR inside a fitted one, the other way round, and one that two fitted ones share out.
    tested[0][1] = fitted[0][1][10:40]
    fitted[1][1] = tested[1][1][10:40]
    fitted[2][1] = fitted[2][1][:20] + tested[2][1][:30]
    fitted[3][1] = tested[2][1][20:] + fitted[3][1][30:]
    # A library's tiles: they overlap one another, one after the other.
    tiled = "".join(row[1] for row in fitted[4:8])
    for place, row in enumerate(fitted[4:10]):
        row[1] = tiled[25 * place :][:50]
    write_table(path, rows)
    task = RibosomeLoadTask()
    data = task.read(tmp_path)
    for seed in range(5):
        (split,) = task.split(data, seed=seed)
        train, validation, *tests = (
            [data.examples[i].sequence for i in indices]
            for indices in (split.train, split.validation, *split.tests.values())
        )
        for test in tests:
            assert count_leakage(test, train + validation) == (0, 0)
        assert count_leakage(validation, train) == (0, 0)
        assert count_leakage(train, validation) == (0, 0)
        assert not set(train + validation) & {fitted[n][1].replace("T", "U") for n in range(4)}
        tiles = {row[1].replace("T", "U") for row in fitted[4:10]}
        assert tiles <= set(train) or tiles <= set(validation)


@requires_shared("data/mrl/mrl_sample2019.tsv.xz")
def test_the_real_loads():
    data = RibosomeLoadTask().read(SHARED / "data")
    counts = Counter(example.id.partition(":")[0] for example in data.examples)
    assert counts == {"fit": 44957, "Random7600": 7600, "Human7600": 7600}
    assert "43 UTRs to fit on are in a test set and left out" in data.notes
    (split,) = RibosomeLoadTask().split(data, seed=0)
    fit = [data.examples[i].sequence for i in (*split.train, *split.validation)]
    assert len(fit) == 39615
    for test in split.tests.values():
        assert count_leakage([data.examples[i].sequence for i in test], fit) == (0, 0)
