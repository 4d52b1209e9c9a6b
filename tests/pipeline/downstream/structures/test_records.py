"""Structure files: what is read from them, and errors that name the line."""

import gzip
import lzma
from collections import Counter

import pytest

from openrinalmo.data_prep.sample import SAMPLE_STRUCTURES
from openrinalmo.pipeline.downstream.structures.records import find_structures, read_structures
from support.families import write_structures
from support.shared import SHARED, requires_shared

LINE = ("x", "tRNA", "GGAAACC", "((...))")


def test_upper_case_u_for_t_and_pairs(tmp_path):
    path = write_structures(tmp_path / "a.tsv", [("x", "tRNA", "ggaTaTc", "((...))"), LINE[:1] * 4])
    path.write_text(path.read_text().replace("x\tx\tx\tx\n", ""))
    (record,) = read_structures(path)
    assert (record.id, record.family, record.sequence) == ("x", "tRNA", "GGAUAUC")
    assert record.pairs_P2.tolist() == [[0, 6], [1, 5]]


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_compressed(tmp_path, suffix, opener):
    plain = write_structures(tmp_path / "a.tsv", [LINE])
    packed = tmp_path / f"b.tsv{suffix}"
    with opener(packed, "wt") as file:
        file.write(plain.read_text())
    assert [record.id for record in read_structures(packed)] == ["x"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINE, ("y", "tRNA", "GGAA")], r"a\.tsv:3 has 3 columns, must be 4"),
        ([("", "tRNA", "GGAAACC", "((...))")], r"a\.tsv:2 has an empty id or sequence"),
        ([LINE, LINE], r"a\.tsv:3 repeats the id 'x'"),
        ([("x", "tRNA", "GGAAACC", "((..))")], r"a\.tsv:2 \(x\): 7 nt but a structure of 6"),
        ([("x", "tRNA", "GGAAACC", "((....)")], r"a\.tsv:2 \(x\): .* position 1 of 7 is never"),
        ([], "holds no RNA"),
    ],
)
def test_bad_lines_are_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_structures(write_structures(tmp_path / "a.tsv", lines))


def test_an_empty_family_is_like_none(tmp_path):
    lines = [LINE, ("y", "", "GGAAACC", "((...))"), ("z", "", "GGAAAACC", "((....))")]
    path = write_structures(tmp_path / "a.tsv", lines)
    assert [record.family for record in read_structures(path)] == ["tRNA", "a", "a"]
    with pytest.raises(ValueError, match=r"a\.tsv:3 \(y\) has no family, .* 2 are without"):
        read_structures(path, require_families=True)
    # Ids as ArchiveII's say it, and where no row has a family the file's name is one.
    lines = [LINE, ("5s_y", "", "GGAAACC", "((...))")]
    path = write_structures(tmp_path / "b.tsv", lines)
    records = read_structures(path, require_families=True)
    assert [record.family for record in records] == ["tRNA", "5s"]
    path = write_structures(tmp_path / "c.tsv", [("y", "", "GGAAACC", "((...))")])
    assert [one.family for one in read_structures(path, require_families=True)] == ["c"]


def test_wrong_header(tmp_path):
    (tmp_path / "a.tsv").write_text("id,family\n")
    with pytest.raises(ValueError, match=r"a\.tsv:1: no header with sequence and structure"):
        read_structures(tmp_path / "a.tsv")


def test_where_structures_are_found(tmp_path):
    assert find_structures(None) == SAMPLE_STRUCTURES
    file = write_structures(tmp_path / "mine.tsv", [LINE])
    assert find_structures(file) == file
    assert find_structures(tmp_path) == tmp_path
    (tmp_path / "structure").mkdir()
    inside = write_structures(tmp_path / "structure" / "archiveII_3966.tsv", [LINE])
    assert find_structures(tmp_path) == inside
    write_structures(tmp_path / "archiveII.tsv", [LINE])
    with pytest.raises(FileNotFoundError, match=r"archiveII\.tsv, .*archiveII_3966\.tsv"):
        find_structures(tmp_path)
    bench = tmp_path / "bench"
    (bench / "structure").mkdir(parents=True)
    cure = "holds no archiveII.*; to read your own files give --data .*bench/structure$"
    with pytest.raises(FileNotFoundError, match=cure):
        find_structures(bench)
    with pytest.raises(FileNotFoundError, match="no data at"):
        read_structures(find_structures(tmp_path / "nowhere"))


@requires_shared("data/structure/archiveII_3966.tsv.xz")
def test_archiveii_has_the_published_nine_families():
    records = read_structures(find_structures(SHARED / "data"))
    short = [record for record in records if len(record.sequence) <= 512]
    sizes = Counter(record.family for record in short)
    assert len(short) == 3865
    assert sorted(sizes.values()) == [15, 35, 67, 74, 454, 462, 557, 918, 1283]
