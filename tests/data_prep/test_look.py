"""What is printed of single records, clusters, shards and types; what is said of absent ones."""

import re
import shutil

import numpy as np
import pytest

from openrinalmo.data_prep.dedup import COMPLEMENTS
from openrinalmo.data_prep.inspection.find_records import Place, find_cluster_number, find_record
from openrinalmo.data_prep.inspection.inspect_data import (
    describe_cluster,
    describe_record,
    describe_shard,
    describe_type,
)
from openrinalmo.data_prep.look import main
from openrinalmo.data_prep.shards import read_manifest, write_manifest
from support.mmseqs import requires_mmseqs
from support.planted import PLANTED, prepare
from support.sequences import format_fasta
from support.tiny_data import write_tiny_data

HAIRPIN = "ACGUUGCAUCGAGGCUAUCGAUUCGAUCGGAUCUAGCUUAGCGGAUCUAUCGGAUUCAGGCUAUCGAUCGGAUUUAACGN"
TRAIN = [
    [
        ("URS01/9606", HAIRPIN, "tRNA"),
        ("URS02", HAIRPIN[5:60], "tRNA"),
        ("URS03", HAIRPIN.encode().translate(COMPLEMENTS)[::-1].decode(), "rRNA"),
        ("URS04", HAIRPIN[:20] + "A" + HAIRPIN[21:79], "tRNA"),
    ],
    [("7", "GGGGCCCCAAAAUUUUNN", "rRNA"), ("twin", "GGGGCCCCAAAAUUUUNNA", "rRNA")],
]
VALIDATION = [[("twin", "GCGCGCGCGCGCGCGCGC", "snRNA")]]


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_data(tmp_path / "data", train=TRAIN, validation=VALIDATION, max_shard_nt=300)


def read_facts(text):
    return dict(re.findall(r"^(\w+(?: \w+)?) {2,}(.*)$", text, re.MULTILINE))


def test_a_record_by_identifier_and_by_number(tiny):
    text = describe_record(tiny, "URS02")
    facts = read_facts(text)
    assert facts["record"] == "train:1"
    assert facts["source"] == "tiny.fasta"
    assert facts["RNA type"] == "tRNA"
    assert facts["cluster"] == "0, 4 records; its representative is URS01/9606"
    assert facts["length"] == "55 nt, 0 ambiguous"
    letters = "".join(re.findall(r"^ +\d+  ([A-Z ]+)$", text, re.MULTILINE)).replace(" ", "")
    assert letters == HAIRPIN[5:60]
    numbered = describe_record(tiny, "train:1")
    assert numbered == text.replace("train:1", "train:1, by its number", 1)
    assert read_facts(describe_record(tiny, "URS01/9606"))["length"] == "80 nt, 1 ambiguous"
    assert "this is its representative" in describe_record(tiny, "train:0")


def test_lines_are_numbered_by_their_first_letter(tiny):
    lines = [line.split() for line in describe_record(tiny, "URS01/9606").splitlines()[-2:]]
    assert [line[0] for line in lines] == ["1", "61"]
    assert lines[0][1:] == [HAIRPIN[i : i + 10] for i in range(0, 60, 10)]
    assert lines[1][1:] == [HAIRPIN[60:70], HAIRPIN[70:]]


def test_a_number_is_an_identifier_first(tiny):
    assert find_record(tiny, "7") == [Place("train", 4)]
    assert find_record(tiny, "3") == [Place("train", 3)]
    assert find_record(tiny, "validation:0") == [Place("validation", 0)]


def test_identifiers_that_repeat_are_all_told(tiny):
    facts = read_facts(describe_record(tiny, "twin"))
    assert facts["record"] == "train:5"
    assert facts["same id"] == "validation:0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("URS019", r"begin like it: URS01/9606\."),
        ("urs0", r"begin like it: URS01/9606, URS02, URS03, URS04\."),
        ("nothing like", "none begins like it"),
        ("6", "neither an identifier, nor a number of train, whose records are 0 to 5"),
        ("validation:1", "a number of validation, whose records are 0 to 0"),
        ("test:1", "none begins like it|begin like it: twin"),
    ],
)
def test_a_record_that_is_not_there(tiny, name, message):
    with pytest.raises(ValueError, match=message):
        describe_record(tiny, name)


def test_a_rejected_record_is_said_to_be_so_before_numbers_are_tried(tiny):
    write_manifest(tiny, {**read_manifest(tiny), "rejected_examples": {"too_long": ["3", "b"]}})
    for name in ("3", "b"):
        with pytest.raises(ValueError, match="it was rejected, too long"):
            describe_record(tiny, name)


def test_a_cluster_with_parts_mutants_and_antisense(tiny):
    text = describe_cluster(tiny, 0)
    assert text.startswith("cluster 0: 4 records of train, 294 nt, 55 to 80 nt each\n")
    rows = [line.split() for line in text.splitlines() if line.startswith("train:")]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("train:0", "80", "URS01/9606"),
        ("train:1", "55", "URS02"),
        ("train:2", "80", "URS03"),
        ("train:3", "79", "URS04"),
    ]
    strands = [row[4] for row in rows]
    assert strands == ["+", "+", "-", "+"]
    identities = [float(row[2]) for row in rows]
    assert identities[:3] == [100, 100, 100]
    assert identities[3] == pytest.approx(
        100 * (1 - 1 / 79) if HAIRPIN[20] != "A" else 100, abs=0.1
    )


def test_a_large_cluster_is_shown_in_part(tmp_path):
    members = [(f"m{n}", "ACGU" * 5 + "A" * n, "tRNA") for n in range(53)]
    folder = write_tiny_data(tmp_path / "data", train=[members], validation=VALIDATION)
    text = describe_cluster(folder, 0)
    assert "and 3 more" in text
    assert text.count("train:") == 50


def test_a_cluster_that_is_not_there(tiny):
    assert "of validation" in describe_cluster(tiny, 2)
    with pytest.raises(ValueError, match="no cluster 9 in .*; near it: 2, 1"):
        describe_cluster(tiny, 9)


def test_a_cluster_by_its_name(tiny):
    names = np.arange(48, dtype=np.uint8).reshape(3, 16)
    names[2, :4] = names[0, :4]
    assert "name" not in describe_cluster(tiny, 1)
    with pytest.raises(ValueError, match="by number only"):
        find_cluster_number(tiny, "10111213")
    (tiny / "steps" / "clusters").mkdir(parents=True)
    np.save(tiny / "steps" / "clusters" / "names.npy", names)
    name = names[1].tobytes().hex()
    for given in (name, name.upper(), name[:9], name[:8], "1"):
        assert find_cluster_number(tiny, given) == 1
    assert find_cluster_number(tiny, names[2].tobytes().hex()[:9]) == 2
    assert f"\nname {name}, also after --update\n" in describe_cluster(tiny, 1)
    assert read_facts(describe_record(tiny, "7"))["its name"] == name
    for given, message in (
        ("00010203", "several clusters of .*: 00010203.*, 00010203"),
        ("ffffffff", "no cluster of .* is called ffffffff"),
        (name[:7] + "x", "give its number, or 8 to 32 hexadecimal digits"),
    ):
        with pytest.raises(ValueError, match=message):
            find_cluster_number(tiny, given)
    np.save(tiny / "steps" / "clusters" / "names.npy", names[:2])  # of other shards
    assert "name" not in describe_cluster(tiny, 1)


def test_a_shard_and_its_hash(tiny):
    entry = read_manifest(tiny)["splits"]["train"]["shards"][1]
    text = describe_shard(tiny, "shards/train-00001.arrow")
    facts = read_facts(text)
    assert facts["sha256"] == f"{entry['sha256']}, as in manifest.json"
    assert facts["records"] == "2 in 1 cluster"
    assert facts["first"] == "train:4  7  cluster 1"
    assert facts["last"] == "train:5  twin  cluster 1"
    path = tiny / entry["file"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "NOT as in manifest.json" in describe_shard(tiny, "train-00001.arrow")
    with pytest.raises(ValueError, match="did you mean .*train-00001.arrow"):
        describe_shard(tiny, "train-0001.arrow")


def test_a_type(tiny):
    text = describe_type(tiny, "rRNA")
    assert "train: 3 records, 1 cluster by representative, 117 nt (33.52 % of all)" in text
    assert "18 to 80 nt, median 19" in text
    assert "largest 1 (2)" in text
    assert "validation: 0 records, 0 clusters" in text
    with pytest.raises(ValueError, match="no RNA type 'RNA' .*did you mean rRNA, snRNA, tRNA"):
        describe_type(tiny, "RNA")
    with pytest.raises(ValueError, match="there are rRNA, snRNA, tRNA"):
        describe_type(tiny, "zzzzzz")


def test_the_entry_prints_and_ends_with_one_line_on_an_error(tiny, tmp_path, capsys):
    main([str(tiny), "cluster", "1"])
    main([str(tiny), "type", "tRNA"])
    main([str(tiny), "shard", "train-00000.arrow"])
    main([str(tiny), "record", "7"])
    main([str(tiny), "report"])
    printed = capsys.readouterr().out
    assert printed.endswith("report.html\n")
    assert "cluster 1: 2 records" in printed
    for arguments in (["cluster", "77"], ["type", "x"], ["shard", "x"], ["record", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main([str(tiny), *arguments])
        assert str(stopped.value).startswith("error: no ")
    with pytest.raises(SystemExit, match="error: no prepared data"):
        main([str(tmp_path), "verify"])


@requires_mmseqs
def test_duplicates_are_shown_with_what_was_kept(tmp_path):
    (tmp_path / "in.fasta").write_text(format_fasta(PLANTED))
    prepare(tmp_path / "out", tmp_path / "in.fasta")
    assert read_facts(describe_record(tmp_path / "out", "original20"))["merged"] == (
        "1 duplicate: copy (in.fasta)"
    )
    assert "merged" not in read_facts(describe_record(tmp_path / "out", "original2"))
    for name, kept in (("copy", 20), ("lower", 21), ("dna", 22), ("gapped", 23)):
        with pytest.raises(
            ValueError, match=f"it is a duplicate of original{kept}, which was kept"
        ):
            describe_record(tmp_path / "out", name)
    before = describe_record(tmp_path / "out", "original20")
    shutil.rmtree(tmp_path / "out" / "steps")
    without_name = re.sub(r"its name.*\n", "", before)
    assert describe_record(tmp_path / "out", "original20") == without_name
    with pytest.raises(ValueError, match="it is a duplicate of original20, which was kept"):
        describe_record(tmp_path / "out", "copy")
