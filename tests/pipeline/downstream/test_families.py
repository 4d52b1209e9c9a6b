"""Folds: who is held out, who is left out, and that draws are shared and seeded."""

from dataclasses import replace

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structure_folds.folds import draw_evenly
from openrinalmo.pipeline.downstream.structure_folds.structure_config import (
    FitConfig,
    StructureConfig,
)
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from openrinalmo.pipeline.downstream.tasks.families import (
    build_families_config,
    build_folds,
    read_benchmark,
)
from support.families import build_lines, build_toy_config, write_structures
from support.shared import SHARED, requires_shared

ARCHIVEII = "data/structure/archiveII_3966.tsv.xz"
FOLD_FILE = "data/structure/sinclab_archiveII_fam_folds.csv.xz"

NO_PAIRS = np.empty((0, 2), np.int64)


def make(family, *sequences):
    return [
        StructureRecord(id=f"{family}{n}", family=family, sequence=sequence, pairs_P2=NO_PAIRS)
        for n, sequence in enumerate(sequences)
    ]


def unique_sequences(num, length=20, seed=0):
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list("ACGU"), length)) for _ in range(num)]


def families_of(records, indices):
    return {records[index].family for index in indices}


def test_the_held_out_family_is_tested_whole_and_nowhere_else():
    a, b, c = np.split(np.array(unique_sequences(30)), 3)
    records = make("a", *a) + make("b", *b) + make("c", *c)
    folds = build_folds(records, build_toy_config())
    assert [fold.part for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        others = {"a", "b", "c"} - {fold.part}
        assert sorted(fold.test) == [i for i, r in enumerate(records) if r.family == fold.part]
        assert families_of(records, fold.train) == families_of(records, fold.validation) == others
        assert len(fold.validation) == 6
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(30))


def test_duplicates_are_counted_and_kept_out_of_the_fit():
    s = unique_sequences(12)
    records = (
        make("a", s[0], s[1], s[1])  # a repeat inside the tested family
        + make("b", s[0], s[2], s[3], s[4], s[4])  # one of a's, and a repeat
        + make("c", s[4], s[5], s[6], s[7])  # one of b's
    )
    fold = build_folds(records, build_toy_config(), ["a"])[0]
    fitted = [records[index].sequence for index in (*fold.train, *fold.validation)]
    assert sorted(fitted) == sorted(s[2:8])
    assert (fold.num_shared, fold.num_repeats, fold.num_test_repeats) == (1, 2, 1)
    assert len(fold.test) == 3


def test_a_cap_on_the_test_does_not_let_the_rest_into_the_fit():
    s = unique_sequences(9)
    records = make("a", *s[:5]) + make("b", *s[:5], *s[5:])
    fold = build_folds(records, build_toy_config(max_test_per_part=2), ["a"])[0]
    assert len(fold.test) == 2
    assert fold.num_shared == 5
    assert not {records[i].sequence for i in (*fold.train, *fold.validation)} & set(s[:5])


def test_length_limits():
    long, longer = unique_sequences(4, length=40), unique_sequences(4, length=60)
    records = make("a", *unique_sequences(4), *long) + make("b", *unique_sequences(4, seed=1))
    records += make("b2", *longer)
    config = build_toy_config(max_length_nt=50, fit=FitConfig(max_fit_length_nt=30))
    fold_a, fold_b = build_folds(records, config)
    assert sorted(len(records[i].sequence) for i in fold_a.test) == [20] * 4 + [40] * 4
    assert {len(records[i].sequence) for i in (*fold_b.train, *fold_b.validation)} == {20}


def test_caps_draw_evenly_and_systems_share_the_test():
    records = make("a", *unique_sequences(50)) + make("b", *unique_sequences(5, seed=1))
    records += make("c", *unique_sequences(5, seed=2))
    config = build_toy_config(
        validation_fraction=0.2, fit=FitConfig(max_fit_sequences=6, max_validation_sequences=3)
    )
    fold = build_folds(records, config, ["c"])[0]
    drawn = [records[index].family for index in fold.train]
    assert drawn == ["a", "b"] * 3
    assert [records[index].family for index in fold.validation] == ["a", "b", "a"]
    assert build_folds(records, config, ["c"])[0] == fold
    other = build_folds(records, replace(config, seed=1), ["c"])[0]
    assert other.train != fold.train
    assert sorted(other.test) == sorted(fold.test)


def test_draw_evenly():
    assert draw_evenly({"a": [1, 2, 3], "b": [], "c": [7]}, 0) == (1, 7, 2, 3)
    assert draw_evenly({"a": [1, 2, 3], "b": [], "c": [7]}, 3) == (1, 7, 2)


def test_unknown_and_too_few_families_are_refused():
    records = make("a", *unique_sequences(3)) + make("b", *unique_sequences(3, seed=1))
    with pytest.raises(ValueError, match="no family tRNA; there are a, b"):
        build_folds(records, build_toy_config(), ["tRNA"])
    with pytest.raises(ValueError, match="holding a family out takes two, got none"):
        build_folds(records, build_toy_config(max_length_nt=5))
    with pytest.raises(ValueError, match="takes two, got a .*; a family is a table's column, a St"):
        build_folds(make("a", *unique_sequences(3)), build_toy_config())


def test_a_family_of_long_rnas_is_left_out_with_a_word(caplog):
    records = make("a", *unique_sequences(3)) + make("b", *unique_sequences(3, seed=1))
    records += make("ssu", *unique_sequences(3, length=90))
    folds = build_folds(records, build_toy_config(max_length_nt=50))
    assert [fold.part for fold in folds] == ["a", "b"]
    assert "no fold for ssu: all its RNAs are longer than max_length_nt=50" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"systems": ()},
        {"systems": ("random", "random")},
        {"validation_fraction": 1.0},
        {"max_length_nt": 0},
        {"max_test_per_part": -1},
        {"workers": -1},
    ],
    ids=str,
)
def test_settings_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        StructureConfig(**change)


def test_presets():
    assert build_families_config("full") == StructureConfig(preset="full")
    assert build_families_config("quick").preset == "quick"
    with pytest.raises(ValueError, match="must be one of quick, budget, full; got 'fast'"):
        build_families_config("fast")


def write_fold_file(path, folds):
    rows = ["fold_name,fold_number,partition,id"]
    for name, parts in folds.items():
        for part, ids in parts.items():
            rows += [f"{name},0,{part},{one}" for one in ids]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_fold_file_leaves_the_rnas_it_names(tmp_path):
    data = write_structures(tmp_path / "toy.tsv", build_lines(per_family=3))
    families = ("short", "middle", "long")
    named = {family: [f"{family}-0", f"{family}-1"] for family in families}
    folds = {
        family: {
            "test": named[family],
            "train": [one for other in families if other != family for one in named[other]],
        }
        for family in families
    }
    config = build_toy_config()
    path = write_fold_file(tmp_path / "folds.csv", folds)
    benchmark = read_benchmark(data, config, fold_file=path)
    assert [len(fold.test) for fold in benchmark.folds] == [2, 2, 2]
    assert benchmark.notes == ("6 RNAs that folds.csv lists",)
    folds["short"]["train"].append("short-0")
    with pytest.raises(ValueError, match="'short-0' of family short is in train of fold short"):
        read_benchmark(data, config, fold_file=write_fold_file(path, folds))
    folds["short"]["train"][-1] = "nobody"
    with pytest.raises(ValueError, match="names 'nobody', which is not among the structures"):
        read_benchmark(data, config, fold_file=write_fold_file(path, folds))
    path.write_text("fold,id\n")
    with pytest.raises(ValueError, match="has no column fold_name, partition"):
        read_benchmark(data, config, fold_file=path)


@requires_shared(ARCHIVEII, FOLD_FILE)
def test_the_published_fold_file_holds_out_whole_families():
    config = build_families_config("full")
    benchmark = read_benchmark(SHARED / ARCHIVEII, config, fold_file=SHARED / FOLD_FILE)
    assert {fold.part: len(fold.test) for fold in benchmark.folds} == {
        **{"5s": 1283, "srp": 918, "tRNA": 557, "tmRNA": 462, "RNaseP": 454},
        **{"grp1": 74, "16s": 66, "telomerase": 35, "23s": 15},
    }
