"""Fit on one set, test on others: published partitions, draws, and sets of a user's."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structure_folds.structure_config import FitConfig
from openrinalmo.pipeline.downstream.tasks.intra_family import (
    build_intra_family_config,
    read_intra_family,
)
from openrinalmo.pipeline.downstream.tasks.out_of_family import (
    build_out_of_family_config,
    read_out_of_family,
)
from openrinalmo.pipeline.downstream.tasks.structure_splits import (
    read_split_set,
    split_at_random,
)
from support.families import build_lines, build_toy_config, draw_hairpin, write_structures
from support.shared import SHARED, requires_shared


def write_partitioned(path, sizes, seed=0):
    """A table with the column `partition` instead of `family`."""
    generator = np.random.default_rng(seed)
    rows = [("id", "partition", "sequence", "structure")]
    for partition, size in sizes.items():
        rows += [(f"{partition}-{n}", partition, *draw_hairpin(generator, 5)) for n in range(size)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    return path


def ids_of(benchmark, indices):
    return sorted(benchmark.records[index].id for index in indices)


def test_partitions_are_the_split(tmp_path):
    path = write_partitioned(tmp_path / "a.tsv", {"TR0": 6, "VL0": 3, "TS0": 4})
    benchmark = read_intra_family(path, build_toy_config())
    (fold,) = benchmark.folds
    assert (fold.part, fold.held_out_family) == ("TS0", "")
    assert ids_of(benchmark, fold.train) == [f"TR0-{n}" for n in range(6)]
    assert ids_of(benchmark, fold.validation) == [f"VL0-{n}" for n in range(3)]
    assert ids_of(benchmark, fold.test) == [f"TS0-{n}" for n in range(4)]
    assert (benchmark.task, benchmark.name, benchmark.notes) == ("intra-family", "a", ())


@pytest.mark.parametrize("place", ["{0}", "{0}/5S", "5S/{0}"])
def test_folders_are_partitions_too(tmp_path, place):
    for partition, (name, sequence, structure) in {
        "TR0": ("a", "GGAAACC", "((...))"),
        "VL0": ("b", "GAAAAC", "(....)"),
        "TS0": ("c", "GGAAAACC", "((....))"),
    }.items():
        folder = tmp_path / "set" / place.format(partition)
        folder.mkdir(parents=True)
        (folder / f"{name}.st").write_text(f"#Name: {name}\n{sequence}\n{structure}\n")
    benchmark = read_intra_family(tmp_path / "set", build_toy_config())
    (fold,) = benchmark.folds
    assert [ids_of(benchmark, one) for one in (fold.train, fold.validation, fold.test)] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_without_partitions_no_sequence_is_on_both_sides(tmp_path):
    lines = build_lines(per_family=10)
    lines += [(f"again-{n}", *line[1:]) for n, line in enumerate(lines[::3])]
    lines.append(("alone", "single", "GGGGAAAACCCC", "((((....))))"))
    path = write_structures(tmp_path / "mine.tsv", lines)
    split = split_at_random(read_split_set(path, "mine"), 0.2, seed=0)
    tested, fitted = split.tests["test"], split.train
    assert not {one.sequence for one in tested} & {one.sequence for one in fitted}
    assert len(tested) + len(fitted) == len(lines)
    assert Counter(family for family, _ in {(one.family, one.sequence) for one in tested}) == {
        "short": 2,
        "middle": 2,
        "long": 2,
    }
    benchmark = read_intra_family(path, build_toy_config())
    assert "drawn by the seed" in benchmark.notes[0]
    again = read_intra_family(path, build_toy_config(seed=1))
    assert ids_of(again, again.folds[0].test) != ids_of(benchmark, benchmark.folds[0].test)


def test_a_set_of_one_sequence_has_none_to_test(tmp_path):
    lines = [(name, "x", "GGGGAAAACCCC", "((((....))))") for name in ("a", "b")]
    path = write_structures(tmp_path / "mine.tsv", lines)
    with pytest.raises(ValueError, match="no family of mine has two distinct sequences"):
        read_intra_family(path, build_toy_config())


def test_lengths_limits_and_a_missing_validation_part(tmp_path):
    fit = write_structures(tmp_path / "fit.tsv", build_lines(per_family=10))
    test = write_structures(
        tmp_path / "test.tsv",
        [
            ("one", "x", "G", "."),
            ("long", "x", "A" * 60, "." * 60),
            ("ok", "x", "GAAAAC", "(....)"),
        ],
    )
    config = build_toy_config(
        max_length_nt=50, validation_fraction=0.2, fit=FitConfig(max_fit_sequences=4)
    )
    benchmark = read_out_of_family(None, config, fit=fit, tests={"mine": test})
    (fold,) = benchmark.folds
    assert ids_of(benchmark, fold.test) == ["ok", "one"]
    assert len(fold.train) == 4
    assert len(fold.validation) == 6
    assert not set(fold.train) & set(fold.validation)
    assert len({benchmark.records[index].family for index in fold.train}) == 3
    notes = " ".join(benchmark.notes)
    assert "fit has no validation part: 6 of its RNAs tune the threshold; 0 repeats" in notes
    assert "1 of 3 RNAs of mine are left out: longer than 50 nt" in notes


def test_a_drawn_validation_part_has_every_family_and_no_sequence_of_the_fit(tmp_path):
    lines = build_lines(per_family=10)
    again = [(f"again-{n}", *line[1:]) for n, line in enumerate(lines[::2])]
    fit = write_structures(tmp_path / "fit.tsv", [*again, *lines, ("z", "single", "GAAC", "(..)")])
    test = write_structures(tmp_path / "test.tsv", [("ok", "x", "GAAAAC", "(....)")])
    for seed in range(5):
        config = build_toy_config(validation_fraction=0.2, seed=seed)
        benchmark = read_out_of_family(None, config, fit=fit, tests={"mine": test})
        (fold,) = benchmark.folds
        train, validation = (
            [benchmark.records[index].sequence for index in indices]
            for indices in (fold.train, fold.validation)
        )
        assert len({*train, *validation}) == len(train) + len(validation) == 31
        families = Counter(benchmark.records[index].family for index in fold.validation)
        assert {families[name] for name in ("short", "middle", "long")} <= {1, 2, 3}
        assert "6 of its RNAs tune the threshold; 15 repeats" in " ".join(benchmark.notes)


def test_two_sequences_train_and_validate_and_one_is_refused(tmp_path):
    rows = [("a", "x", "GAAAC", "(...)"), ("b", "x", "GAAAC", "(...)")]
    test = write_structures(tmp_path / "test.tsv", [("ok", "x", "GAAAAC", "(....)")])
    fit = write_structures(tmp_path / "fit.tsv", [*rows, ("c", "x", "GAAAAAC", "(.....)")])
    benchmark = read_out_of_family(None, build_toy_config(), fit=fit, tests={"mine": test})
    (fold,) = benchmark.folds
    assert (len(fold.train), len(fold.validation)) == (1, 1)
    write_structures(fit, rows)
    with pytest.raises(ValueError, match="fit has 1 sequences of 2 to 512 nt to train on and 0"):
        read_out_of_family(None, build_toy_config(), fit=fit, tests={"mine": test})


def test_the_fit_does_not_depend_on_what_is_tested(tmp_path):
    fit = write_partitioned(tmp_path / "fit.tsv", {"train": 20, "validation": 5})
    tests = {
        name: write_partitioned(tmp_path / f"{name}.tsv", {"x": 6}, seed=seed)
        for seed, name in enumerate(("first", "second"), start=1)
    }
    config = build_toy_config(fit=FitConfig(max_fit_sequences=7))
    both = read_out_of_family(None, config, fit=fit, tests=tests)
    alone = read_out_of_family(None, config, fit=fit, tests={"second": tests["second"]})
    assert both.parts == ["first", "second"]
    first, second = both.folds
    assert (first.train, first.validation) == (second.train, second.validation)
    assert ids_of(both, second.train) == ids_of(alone, alone.folds[0].train)
    assert ids_of(both, second.test) == ids_of(alone, alone.folds[0].test)
    assert set(both.sources) == {"fit.tsv", "first.tsv (first)", "second.tsv (second)"}
    assert both.sha256 != alone.sha256


@pytest.mark.parametrize("folder", ["val", "dev", "valid", "VL0", "train", "test", "mine"])
def test_a_users_test_set_may_lie_in_a_folder_of_any_name(tmp_path, folder):
    fit = write_structures(tmp_path / "fit.tsv", build_lines())
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "x.dbn").write_text(">x\nGAAAC\n(...)\n>y\nGAAAAC\n(....)\n")
    for given in (tmp_path / folder, tmp_path / folder / "x.dbn", tmp_path / "*" / "x.dbn"):
        benchmark = read_out_of_family(None, build_toy_config(), fit=fit, tests={"mine": given})
        assert ids_of(benchmark, benchmark.folds[0].test) == ["x", "y"]


def test_a_benchmark_is_called_by_its_folder_however_that_is_spelled(tmp_path, monkeypatch):
    for name, lines in (("fit", build_lines()), ("mine", [("x", "y", "GAAAC", "(...)")])):
        (tmp_path / name / "sub").mkdir(parents=True)
        write_structures(tmp_path / name / "a.tsv", lines)
    config, tests = build_toy_config(), {"t": tmp_path / "mine"}
    named = read_out_of_family(None, config, fit=tmp_path / "fit", tests=tests)
    assert list(named.sources) == ["fit", "mine (t)"]
    monkeypatch.chdir(tmp_path / "fit")
    spelled = read_out_of_family(None, config, fit=Path(), tests={"t": Path("../mine/sub/..")})
    assert spelled.sources == named.sources
    assert read_intra_family(Path(), config).name == "fit"


def test_without_a_partition_to_test_on_all_is_tested(tmp_path):
    fit = write_structures(tmp_path / "fit.tsv", build_lines())
    test = write_partitioned(tmp_path / "t.tsv", {"train": 2, "validation": 1})
    benchmark = read_out_of_family(None, build_toy_config(), fit=fit, tests={"mine": test})
    (fold,) = benchmark.folds
    assert ids_of(benchmark, fold.test) == ["train-0", "train-1", "validation-0"]


def test_two_sets_of_one_file_name_are_both_in_the_hash(tmp_path):
    fit = write_structures(tmp_path / "fit.tsv", build_lines())
    tests = {
        name: write_partitioned(tmp_path / name / "set.tsv", {"x": 3}, seed=seed)
        for seed, name in enumerate("AB")
    }

    def read():
        return read_out_of_family(None, build_toy_config(), fit=fit, tests=tests)

    before = read()
    assert list(before.sources) == ["fit.tsv", "set.tsv (A)", "set.tsv (B)"]
    write_partitioned(tests["A"], {"x": 3}, seed=7)
    assert read().sha256 != before.sha256


def test_a_data_folder_gives_both_published_pairs(tmp_path):
    write_partitioned(tmp_path / "structure/bprna_TR0.tsv", {"TR0": 4, "VL0": 2, "TS0": 2})
    write_partitioned(tmp_path / "structure/bprna_new.tsv", {"new": 3})
    write_partitioned(tmp_path / "structure/rivas_TrainSetA.tsv", {"TrainSetA": 8})
    write_partitioned(tmp_path / "structure/rivas_TestSetA.tsv", {"TestSetA": 3})
    benchmark = read_out_of_family(tmp_path, build_toy_config())
    assert benchmark.parts == ["bpRNA-new", "TestSetA"]
    first, second = benchmark.folds
    assert ids_of(benchmark, first.validation) == ["VL0-0", "VL0-1"]
    assert {one.partition("-")[0] for one in ids_of(benchmark, second.train)} == {"TrainSetA"}
    given = {"archive": tmp_path / "structure/rivas_TestSetA.tsv"}
    mine = read_out_of_family(tmp_path, build_toy_config(), tests=given)
    assert ids_of(mine, mine.folds[0].train) == ids_of(benchmark, first.train)
    # What its own column calls a test set is the test set.
    write_partitioned(tmp_path / "structure/rivas_TestSetA.tsv", {"test": 3})
    again = read_out_of_family(tmp_path, build_toy_config())
    assert len(again.folds[1].test) == 3


def test_what_cannot_be_split_is_refused(tmp_path):
    config = build_toy_config()
    with pytest.raises(ValueError, match="nothing to test on: give --test NAME=PATH"):
        read_out_of_family(None, config)
    with pytest.raises(FileNotFoundError, match="holds neither bprna"):
        read_out_of_family(tmp_path, config)
    stray = write_partitioned(tmp_path / "s.tsv", {"TR0": 2, "extra": 1, "TS0": 1})
    with pytest.raises(ValueError, match="partition 'extra' beside TR0, TS0; call partitions tr0"):
        read_intra_family(stray, config)
    untested = write_partitioned(tmp_path / "u.tsv", {"TR0": 2, "VL0": 1})
    with pytest.raises(ValueError, match="a partition to train on but none to test on"):
        read_intra_family(untested, config)
    unfitted = write_partitioned(tmp_path / "v.tsv", {"TS0": 2})
    with pytest.raises(ValueError, match="a partition to test on but none to train on"):
        read_intra_family(unfitted, config)
    path = write_partitioned(tmp_path / "a.tsv", {"TR0": 6, "VL0": 3, "TS0": 4})
    with pytest.raises(ValueError, match="no RNA of TS0 has at most 5 nt: raise max_length_nt"):
        read_intra_family(path, replace(config, max_length_nt=5))


def test_presets():
    for build in (build_intra_family_config, build_out_of_family_config):
        assert build("full").regime.decay_steps == 7000
        assert build("quick").max_test_per_part == 40
        with pytest.raises(ValueError, match="must be one of quick, budget, full; got 'fast'"):
            build("fast")


@requires_shared("data/structure/archiveII_3966.tsv.xz")
def test_archiveii_validates_on_no_copy_of_what_it_trains_on():
    source = SHARED / "data/structure/archiveII_3966.tsv.xz"
    benchmark = read_intra_family(source, build_intra_family_config("full"))
    (fold,) = benchmark.folds
    train, validation, test = (
        {benchmark.records[index].sequence for index in indices}
        for indices in (fold.train, fold.validation, fold.test)
    )
    assert not train & validation
    assert not (train | validation) & test
    assert (len(train), len(validation)) == (len(fold.train), len(fold.validation))
    assert "repeats of a sequence are left out of the fit" in " ".join(benchmark.notes)


@requires_shared("data/structure/bprna_spot_TR0_VL0_TS0.tsv.xz")
def test_bprna_has_its_published_sizes():
    benchmark = read_intra_family(SHARED / "data", build_intra_family_config("full"))
    (fold,) = benchmark.folds
    sizes = (len(fold.train), len(fold.validation), len(fold.test))
    assert sizes == (10_814, 1_300, 1_305)
