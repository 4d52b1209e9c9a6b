"""Splice sites: windows from three kinds of files, their middles, and what no split straddles."""

import lzma
from collections import Counter

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.sequence_tasks.near_duplicates import (
    count_leakage,
    find_holders,
    find_near,
)
from openrinalmo.pipeline.downstream.tasks.splice import SpliceTask
from openrinalmo.pipeline.downstream.tasks.splice_files import cut_window
from support.sequence_tasks import (
    draw_sequence,
    read_table,
    write_published_splice,
    write_published_split,
    write_splice,
    write_table,
)
from support.shared import SHARED, requires_shared

MIDDLE = {"donor": "GU", "acceptor": "AG"}


def count_parts(data):
    return Counter(example.id.partition(":")[0] for example in data.examples)


def middle(sequence):
    return sequence[len(sequence) // 2 - 1 :][:2]


def list_stretches(sequences):
    return {one[start : start + 64] for one in sequences for start in range(len(one) - 63)}


@pytest.mark.parametrize("site", ["donor", "acceptor"])
def test_every_window_has_its_site_in_the_middle(tmp_path, site):
    data = SpliceTask(site).read(write_splice(tmp_path))
    assert count_parts(data) == {
        **{"train": 16, "human": 16, "Arabidopsis": 16},
        **{"train, 102 nt": 16, "human, 102 nt": 16, "Arabidopsis, 102 nt": 16},
        "HS3D, 102 nt": 4,
        **{"Arabidopsis EIE": 16, "worm EIE": 16, "fly EIE": 16},
    }
    assert {middle(example.sequence) for example in data.examples} == {MIDDLE[site]}
    lengths = Counter(len(example.sequence) for example in data.examples)
    assert lengths == {400: 48, 102: 100}
    targets = Counter((e.id.partition(":")[0], e.target) for e in data.examples)
    assert len(set(targets.values()) - {8, 2}) == 0
    assert len({example.id for example in data.examples}) == len(data.examples)


def test_introns_give_one_of_a_gene_and_a_decoy_of_the_same_rna(tmp_path):
    generator = np.random.default_rng(0)
    exon = "C" * 50
    introns = [
        (exon, "GTCCCC" + "C" * 20 + "GT" + "C" * 30 + "CCAG", exon, 5, "one"),
        (exon, "GT" + draw_sequence(generator, 60).replace("U", "T") + "AG", exon, 2, "one"),
        # The only other GT lies within ten letters of the site.
        (exon, "GTCCCCGT" + "C" * 50 + "AG", exon, 5, "none"),
    ]
    write_splice(tmp_path)
    write_table(tmp_path / "splice" / "korf_eie.dm.txt.xz", introns, separator=" ")
    data = SpliceTask("donor").read(tmp_path)
    found = [example for example in data.examples if example.id.startswith("fly")]
    whole = (exon + introns[0][1] + exon).replace("T", "U")
    assert [(e.sequence, e.target, e.group) for e in found] == [
        (whole[0:102], 1.0, "one"),
        (whole[26:128], 0.0, "one"),
    ]
    assert any(
        "fly EIE: 1 introns of as many genes, of 2 genes; 1 have no decoy" in n for n in data.notes
    )


def test_hs3d_is_tested_without_what_its_fit_or_ours_holds(tmp_path):
    write_splice(tmp_path)
    path = tmp_path / "splice" / "human_arabidopsis_602nt_made_up.tsv.xz"
    rows = read_table(path)
    tested = [row for row in rows if row[:3] == ["hs3d_bal", "Test", "Donor"]]
    fitted = next(row for row in rows if row[:3] == ["hs3d_bal", "Train", "Acceptor"])
    human = next(row for row in rows if row[:3] == ["homo_sapiens", "Train", "Donor"])
    tested[0][4] = fitted[4]
    tested[1][4] = human[4][230:370]
    write_table(path, rows)
    data = SpliceTask("donor").read(tmp_path)
    assert count_parts(data)["HS3D, 102 nt"] == 2
    assert any(
        "1 tested windows left out" in note and "and 1 with half" in note for note in data.notes
    )


def test_the_split_keeps_near_copies_out_of_the_fit(tmp_path):
    write_splice(tmp_path, num=30)
    path = tmp_path / "splice" / "human_arabidopsis_602nt_made_up.tsv.xz"
    rows = read_table(path)
    train = [row for row in rows if row[:3] == ["homo_sapiens", "Train", "Donor"]]
    test = next(row for row in rows if row[:3] == ["homo_sapiens", "Test", "Donor"])
    # A tested window shifted by 40 letters, and pairs of windows that overlap among themselves.
    train[0][4] = test[4][40:] + "ACGT" * 10
    for first, second in zip(train[1:21:2], train[2:22:2], strict=True):
        second[4] = "ACGT" * 10 + first[4][:-40]
    # Two windows that share less than half, but too much: with a tested one, and with each other.
    train[21][4] = train[21][4][:101] + test[4][101:171] + train[21][4][171:]
    train[23][4] = train[23][4][:401] + train[22][4][101:171] + train[23][4][471:]
    write_table(path, rows)
    task = SpliceTask("donor")
    data = task.read(tmp_path)
    split, short = task.split(data, seed=3)
    letters = [example.sequence for example in data.examples]
    for one, length in ((split, 400), (short, 102)):
        train_letters = [letters[i] for i in one.train]
        held_out = [i for part in (one.validation, *one.tests.values()) for i in part]
        assert not set(one.train) & set(held_out)
        held_out_letters = [letters[i] for i in held_out]
        assert not find_near(train_letters, held_out_letters).any()
        assert not find_near(held_out_letters, train_letters).any()
        assert not list_stretches(train_letters) & list_stretches(held_out_letters)
        assert {len(letters[i]) for i in (*one.train, *held_out)} == {length}
    numbers = [{data.examples[i].id.partition(":")[2] for i in one.train} for one in (split, short)]
    assert numbers[1] <= numbers[0]
    assert len(split.validation) in (5, 6, 7)
    assert len(split.train) + len(split.validation) < 59
    assert split == task.split(data, seed=3)[0]
    assert split.validation != task.split(data, seed=4)[0].validation
    assert list(split.tests) == ["human", "Arabidopsis"]
    assert list(short.tests)[2:] == ["HS3D, 102 nt", "Arabidopsis EIE", "worm EIE", "fly EIE"]


@pytest.mark.parametrize("site", ["donor", "acceptor"])
@pytest.mark.parametrize("inside", [".", "splice/spliceator"])
def test_the_published_layout(tmp_path, site, inside):
    write_published_splice(tmp_path / inside)
    task = SpliceTask(site)
    data = task.read(tmp_path)
    assert data.name == "spliceator"
    assert count_parts(data) == {"train": 12, "Danio": 6, "Fly": 6, "Worm": 6, "Thaliana": 6}
    assert {len(example.sequence) for example in data.examples} == {400}
    assert {middle(example.sequence) for example in data.examples} == {MIDDLE[site]}
    assert Counter(example.target for example in data.examples) == {0.0: 18, 1.0: 18}
    (split,) = task.split(data, seed=0)
    groups = {data.examples[i].group for i in split.train}
    # A name is in the positive and in the negative file: its two windows stay together.
    assert not groups & {data.examples[i].group for i in split.validation}
    # Published F1 are means of donor and acceptor, which is neither site's metric.
    assert task.published == ()


def test_the_published_split_is_taken_as_it_is(tmp_path):
    write_published_splice(tmp_path)
    write_published_split(tmp_path)
    task = SpliceTask("donor")
    data = task.read(tmp_path)
    (split,) = task.split(data, seed=0)
    assert (len(split.train), len(split.validation), split.name) == (4, 4, "published")
    assert Counter(data.examples[i].target for i in split.train) == {0.0: 2, 1.0: 2}


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("human_arabidopsis_602nt_made_up.tsv.xz", "x\ty", "602nt_made_up.tsv.xz:2 has 2 columns"),
        (
            "human_arabidopsis_602nt_made_up.tsv.xz",
            "homo_sapiens\tTrain\tDonor\t2\tACGT",
            "label must be 0 or 1, got '2'",
        ),
        (
            "human_arabidopsis_602nt_made_up.tsv.xz",
            "homo_sapiens\tTrain\tDonor\t1\tAC1T",
            "must hold a sequence of letters, got 'AC1T'",
        ),
        ("korf_eie.at.txt.xz", "ACGT GT 5", "must hold exon, intron, exon, count and gene"),
        ("korf_eie.at.txt.xz", "ACGT GTAG ACGT 5 gene", "must hold exons of 50 nt, got 4 and 4"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, line, message):
    write_splice(tmp_path)
    path = tmp_path / "splice" / name
    header = [] if name.startswith("korf") else ["species\tpartition\tsite\tlabel\tsequence"]
    path.write_bytes(lzma.compress("\n".join([*header, line]).encode()))
    with pytest.raises(ValueError, match=message):
        SpliceTask("donor").read(tmp_path)


def test_absent_data_is_named(tmp_path):
    with pytest.raises(ValueError, match="embedded sample has no splice sites"):
        SpliceTask("donor").read(None)
    with pytest.raises(FileNotFoundError, match="must hold one human_arabidopsis_602nt"):
        SpliceTask("donor").read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no data folder"):
        SpliceTask("donor").read(tmp_path / "nowhere")
    (tmp_path / "GS_1").mkdir()
    with pytest.raises(FileNotFoundError, match="Train_donor_400"):
        SpliceTask("donor").read(tmp_path)


def test_a_cut_file_is_named(tmp_path):
    path = write_splice(tmp_path) / "splice" / "human_arabidopsis_602nt_made_up.tsv.xz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"made_up.tsv.xz cannot be read"):
        SpliceTask("donor").read(tmp_path)


def test_windows_are_cut_evenly():
    assert cut_window("AACCGG", 2) == "CC"
    assert cut_window("ACG", 400) == "ACG"


def test_one_hot_shows_the_middle_42_letters():
    task = SpliceTask("donor")
    features = task.encode_one_hot(["A" * 30 + "GU" + "C" * 30, "A" * 20 + "NN" + "C" * 20])
    assert features.shape == (2, 168)
    letters = features.reshape(2, 42, 4)
    assert letters[0].argmax(axis=1).tolist() == [0] * 20 + [2, 3] + [1] * 20
    assert letters[1, 20:22].sum() == 0
    with pytest.raises(ValueError, match="42 nt or more"):
        task.encode_one_hot(["A" * 41])


def test_loss_and_score_take_the_head_as_it_is():
    task = SpliceTask("donor")
    outputs = torch.tensor([[0.5], [-2.0]])
    expected = (np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-2.0))) / 2
    assert task.compute_loss(outputs, torch.tensor([1.0, 0.0])).item() == pytest.approx(expected)
    assert task.score(outputs.numpy(), np.array([1.0, 0.0]))["F1"] == 1.0


@requires_shared("data/splice/human_arabidopsis_602nt_hs3d140.tsv.xz")
@pytest.mark.slow
def test_the_real_windows():
    task = SpliceTask("donor")
    data = task.read(SHARED / "data")
    counts = count_parts(data)
    assert (counts["train"], counts["human"], counts["Arabidopsis"]) == (12800, 3200, 3200)
    assert counts["worm EIE"] == counts["fly EIE"] == 6000
    with_site = sum(middle(example.sequence) == "GU" for example in data.examples)
    assert with_site > 0.98 * len(data.examples)
    split, _ = task.split(data, seed=0)
    fit = [data.examples[i].sequence for i in (*split.train, *split.validation)]
    human = [data.examples[i].sequence for i in split.tests["human"]]
    # Of the windows that still have half their 16-mers in the fit no one of it has that half.
    assert count_leakage(human, fit) == (0, 43)
    assert not find_holders(fit, human).any()
    assert not find_near(fit, human).any()
