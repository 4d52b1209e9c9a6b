"""Classes of ncRNAs: sources, copies, and splits by sequence and by family."""

from collections import Counter

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.sequence_tasks.near_duplicates import count_leakage
from openrinalmo.pipeline.downstream.sequence_tasks.splits import NotedSplit
from openrinalmo.pipeline.downstream.tasks.classification import ClassificationTask
from support.sequence_tasks import draw_sequence, write_classes, write_rfam, write_table
from support.shared import SHARED, requires_shared


def list_letters(data, indices):
    return [data.examples[i].sequence for i in indices]


def check_disjoint(split):
    held_out = {i for test in split.tests.values() for i in test}
    assert not set(split.train) & set(split.validation)
    assert not held_out & {*split.train, *split.validation}


def test_the_sample_needs_no_data():
    task = ClassificationTask("sample")
    data = task.read(None)
    assert len(data.classes) == 11
    assert len(data.examples) == 3498
    (split,) = task.split(data, seed=0)
    check_disjoint(split)
    assert len(split.train) + len(split.validation) + len(split.tests["random"]) == 3498
    tested = Counter(data.examples[i].target for i in split.tests["random"])
    assert len(tested) == 11
    fit = list_letters(data, (*split.train, *split.validation))
    clean = list_letters(data, split.tests["random without near copies"])
    assert 0 < len(clean) < len(split.tests["random"])
    assert count_leakage(clean, fit) == (0, 0)
    assert split == task.split(data, seed=0)[0]
    assert split.train != task.split(data, seed=1)[0].train


def test_copies_in_the_published_test_set_are_shown_and_a_clean_one_is_beside(tmp_path):
    task = ClassificationTask("nrc13")
    data = task.read(write_classes(tmp_path))
    assert data.classes == ("IRES", "miRNA", "tRNA")
    (split,) = task.split(data, seed=0)
    check_disjoint(split)
    assert len(split.tests["test2600"]) == 17
    assert len(split.tests["test2600 without copies"]) == 15
    assert isinstance(split, NotedSplit)
    assert any(note.startswith("2 tested sequences are copies") for note in split.notes)
    train = list_letters(data, (*split.train, *split.validation))
    assert count_leakage(list_letters(data, split.tests["test2600"]), train).num_exact == 2


def test_types_are_split_by_sequence_and_by_family(tmp_path):
    task = ClassificationTask("rfam-type")
    data = task.read(write_rfam(tmp_path))
    assert data.classes == ("Cis-reg; riboswitch", "Gene; sRNA")
    assert any("1 classes of fewer than 10 families left out" in note for note in data.notes)
    random, families = task.split(data, seed=0)
    for split in (random, families):
        check_disjoint(split)

    def list_families(indices):
        return {data.examples[i].group for i in indices}

    tested = list_families(families.tests["family-disjoint"])
    assert not tested & list_families((*families.train, *families.validation))
    assert not list_families(families.validation) & list_families(families.train)
    assert {data.examples[i].target for i in families.tests["family-disjoint"]} == {0.0, 1.0}
    assert list_families(random.tests["random"]) <= list_families(random.train)
    assert len(tested) == 2


def test_what_holds_a_whole_fitted_sequence_is_a_near_copy_too(tmp_path):
    generator = np.random.default_rng(0)
    rows = [("rfam_acc", "id", "sequence")]
    for family in ("RF1", "RF2"):
        cores = [draw_sequence(generator, 40) for _ in range(40)]
        rows += [(family, f"{family}/{n}", core) for n, core in enumerate(cores)]
        rows += [
            (family, f"{family}/long{n}", draw_sequence(generator, 200) + core)
            for n, core in enumerate(cores)
        ]
        rows += [(family, f"{family}/own{n}", draw_sequence(generator, 90)) for n in range(40)]
    write_table(tmp_path / "classification" / "riboswitch32_made_up.tsv.xz", rows)
    task = ClassificationTask("riboswitch32")
    data = task.read(tmp_path)
    (split,) = task.split(data, seed=0)
    fitted = list_letters(data, (*split.train, *split.validation))
    tested = list_letters(data, split.tests["random"])
    clean = list_letters(data, split.tests["random without near copies"])
    holders = [one for one in tested if any(core in one for core in fitted if len(core) == 40)]
    assert holders
    assert not set(holders) & set(clean)


def test_families_of_ten_are_classes(tmp_path):
    task = ClassificationTask("rfam-family")
    data = task.read(write_rfam(tmp_path))
    assert len(data.classes) == 25
    assert "RF00500" not in data.classes
    assert {example.group for example in data.examples} == {""}
    (split,) = task.split(data, seed=0)
    for part in (split.train, split.validation, split.tests["random"]):
        assert {data.examples[i].target for i in part} == set(range(25))


def test_copies_count_once_and_torn_ones_not_at_all(tmp_path):
    rows = [("rfam_acc", "id", "sequence")]
    for family, letters in (("RF1", "AC"), ("RF2", "GU"), ("RF3", "CG")):
        rows += [(family, f"{family}/{n}", "A" * n + letters * 10) for n in range(12)]
    rows += [("RF1", "copy", "AC" * 10), ("RF2", "torn", "CG" * 10)]
    rows += [("RF4", "small", "AAAA")]
    write_table(tmp_path / "classification" / "riboswitch32_made_up.tsv.xz", rows)
    data = ClassificationTask("riboswitch32").read(tmp_path)
    assert Counter(example.target for example in data.examples) == {0.0: 12, 1.0: 12, 2.0: 11}
    assert data.notes == (
        "2 copies and 1 sequences of two classes left out",
        "1 classes of fewer than 10 sequences left out, with 1 sequences",
    )


def test_one_hot_shows_both_ends_and_the_length():
    task = ClassificationTask("sample")
    features = task.encode_one_hot(["ACG", "A" * 60 + "C" + "G" * 60])
    assert features.shape == (2, 4 * 120 + 1)
    letters = features[:, :-1].reshape(2, 120, 4)
    assert letters[0].sum() == 6
    assert letters[0, :3].argmax(axis=1).tolist() == [0, 1, 2]
    assert letters[0, -3:].argmax(axis=1).tolist() == [0, 1, 2]
    assert letters[1].argmax(axis=1).tolist() == [0] * 60 + [2] * 60
    np.testing.assert_allclose(features[:, -1], np.log([3, 121]), rtol=1e-6)


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="source must be of"):
        ClassificationTask("pfam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs --data FOLDER"):
        ClassificationTask("nrc13").read(None)
    with pytest.raises(FileNotFoundError, match="must hold one rfam"):
        ClassificationTask("rfam-type").read(tmp_path)
    rows = [("rfam_acc", "id", "sequence"), ("RF1", "a", "ACGU")]
    write_table(tmp_path / "classification" / "riboswitch32_made_up.tsv.xz", rows)
    with pytest.raises(ValueError, match="fewer than two classes"):
        ClassificationTask("riboswitch32").read(tmp_path)
    task = ClassificationTask("sample")
    with pytest.raises(ValueError, match="diverged"):
        task.score(np.array([[np.nan, 0.0]]), np.array([0.0]))


@requires_shared("data/classification/nrc_13class.tsv.xz")
def test_347_real_test_sequences_are_copies():
    task = ClassificationTask("nrc13")
    data = task.read(SHARED / "data")
    (split,) = task.split(data, seed=0)
    assert len(split.tests["test2600"]) == 2600
    assert len(split.tests["test2600 without copies"]) == 2253
    assert isinstance(split, NotedSplit)
    assert any(note.startswith("347 tested sequences are copies") for note in split.notes)
