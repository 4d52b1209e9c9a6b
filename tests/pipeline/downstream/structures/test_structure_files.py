"""Structure files of every format: the same RNA from each, and real-world oddities."""

import gzip
import lzma

import pytest

from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket
from openrinalmo.pipeline.downstream.structures.records import read_structures
from support.structure_files import partners_of, read_one, write, write_bpseq, write_ct

SEQUENCE = "GGAGCAAGCUCCAAUGC"
STRUCTURE = "((.[[.))....]]..."
PAIRS = [[0, 7], [1, 6], [3, 13], [4, 12]]
"""A pseudoknot, so a format that loses it is seen."""


def test_the_structure_of_this_file_has_these_pairs():
    assert parse_dot_bracket(STRUCTURE).tolist() == PAIRS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.tsv", f"id\tfamily\tsequence\tstructure\nx\tf\t{SEQUENCE}\t{STRUCTURE}\n"),
        ("y.tsv", f"Name\tlength\tSeq\tDot_Bracket\nx\t17\t{SEQUENCE}\t{STRUCTURE}\n"),
        ("x.csv", f'id,sequence,structure,note\nx,{SEQUENCE},{STRUCTURE},"a, b"\n'),
        ("q.csv", f'\ufeff"id","sequence","structure"\n"x","{SEQUENCE}","{STRUCTURE}"\n'),
        ("q.tsv", f'"id"\t"sequence"\t"structure"\n"x"\t"{SEQUENCE}"\t"{STRUCTURE}"\n'),
        ("r.tsv", f'# a set\n\nid\tsequence\tstructure\nx\t"{SEQUENCE}"\t{STRUCTURE}\n'),
        ("s.csv", f'ID, Sequence, Secondary_Structure\n"x", {SEQUENCE}, "{STRUCTURE}"\n'),
        ("x.dbn", f">x some words\n{SEQUENCE}\n{STRUCTURE} (-3.20)\n"),
        ("w.dbn", f">x\n{SEQUENCE[:9]}\n{SEQUENCE[9:]}\n{STRUCTURE[:9]}\n{STRUCTURE[9:]}\n"),
        (
            "blocks.dbn",
            f"; a comment\n>x\n{SEQUENCE[:9]} {SEQUENCE[9:]}\n"
            f"{STRUCTURE[:9]} {STRUCTURE[9:]} ( -2.3)\n",
        ),
        ("x.db", f"\n{SEQUENCE.lower()}\n{STRUCTURE}\n"),
        ("u.fa", f">x\r\n{SEQUENCE.replace('U', 't')}\r\n{STRUCTURE}\r\n"),
        (
            "b.st",
            f"#Name: x\n#Length:  17\n#PageNumber: 1\n{SEQUENCE}\n{STRUCTURE}\n"
            'SSISSHSSXXXXSSEEE\nNNNKKNNNNNNNKKNNN\nS1 1..2 "GG" 7..8 "AG"\n',
        ),
        ("x.ct", write_ct(SEQUENCE, partners_of(PAIRS))),
        (
            "e.ct",
            "# RNA STRAND\n" + write_ct(SEQUENCE, partners_of(PAIRS), "x", "{n} dG = -3.2 {title}"),
        ),
        (
            "c.ct",
            "Filename: x.ct\nOrganism: E. coli\nCitation: see www\n"
            + write_ct(SEQUENCE, partners_of(PAIRS)),
        ),
        ("x.bpseq", write_bpseq(SEQUENCE, partners_of(PAIRS))),
        (
            "c.bpseq",
            "tRNA\nFilename: x.bpseq\nOrganism: E. coli\nAccession Number: 16\nCitation: see www\n"
            + write_bpseq(SEQUENCE, partners_of(PAIRS)),
        ),
        (">.ct", ">x\n" + write_ct(SEQUENCE, partners_of(PAIRS))),
        (">.bpseq", ">x\n" + write_bpseq(SEQUENCE, partners_of(PAIRS))),
        (
            "x.sto",
            "# STOCKHOLM 1.0\n#=GF ID f\n#=GF AU Wałęsa\n\n"
            f"x             {SEQUENCE[:9]}\n#=GR x PP     999999999\n#=GC SS_cons  <<.AA.>>.\n\n"
            f"x             {SEQUENCE[9:]}\n#=GC SS_cons  ...aa~~~\n//\n",
        ),
    ],
    ids=lambda value: value if value.count(".") == 1 and "\n" not in value else "",
)
def test_the_same_rna_from_every_format(tmp_path, name, text):
    record = read_one(tmp_path, name, text)
    assert record.sequence == SEQUENCE
    assert record.pairs_P2.tolist() == PAIRS
    assert record.pairs_P2.dtype == "int64"


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_packed_files_of_a_folder(tmp_path, suffix, opener):
    (tmp_path / "set" / "tRNA").mkdir(parents=True)
    with opener(tmp_path / "set" / "tRNA" / f"a.1.ct{suffix}", "wt") as file:
        file.write(write_ct("GAAAC", {1: 5, 5: 1}))
    write(tmp_path / "set", "5S.dbn", ">b\nGAAAC\n(...)\n>c\nGAAAAC\n(....)\n")
    write(tmp_path / "set", "README", "not a structure")
    records = read_structures(tmp_path / "set")
    assert [(one.id, one.family, one.sequence) for one in records] == [
        ("b", "5S", "GAAAC"),
        ("c", "5S", "GAAAAC"),
        ("a.1", "tRNA", "GAAAC"),
    ]
    globbed = read_structures(tmp_path / "set" / "**" / f"*.ct{suffix}")
    assert [(one.id, one.family) for one in globbed] == [("a.1", "tRNA")]


@pytest.mark.parametrize(
    "energy",
    ["(-12.30)", " (-12.30)", " ( -2.30)", " -12.3", " [-12.5]", " {-12.0 d=1.0}", " (-1.2) [0.5]"],
)
def test_energies_after_a_structure(tmp_path, energy):
    text = f">x\n{SEQUENCE}\n{STRUCTURE}{energy}\n"
    assert read_one(tmp_path, "x.dbn", text).pairs_P2.tolist() == PAIRS


def test_several_records_of_ct_bpseq_and_stockholm(tmp_path):
    hairpin = {1: 5, 5: 1}
    ct = write_ct("GAAAC", hairpin, "one") + "\n" + write_ct("CAAAG", {}, "ENERGY = -1.0  two")
    assert [one.id for one in read_structures(write(tmp_path, "a.ct", ct))] == ["one", "two"]
    alignment = "# STOCKHOLM 1.0\n#=GF ID {0}\nm/1-5 {1}\nn {2}\n#=GC SS_cons (.<>.)\n//\n"
    text = alignment.format("f", "G.AAAC", "GGAA-C") + alignment.format("g", "GCAAGC", "uC--gA")
    records = read_structures(write(tmp_path, "a.sto", text))
    assert [(one.id, one.family, one.sequence) for one in records] == [
        ("f/m/1-5", "f", "GAAAC"),
        ("f/n", "f", "GGAAC"),
        ("g/m/1-5", "g", "GCAAGC"),
        ("g/n", "g", "UCGA"),
    ]
    # Columns 1-6 pair and 3-4 pair; a gap takes its pair along and shifts what follows it.
    assert [one.pairs_P2.tolist() for one in records] == [
        [[0, 4], [1, 2]],
        [[0, 4], [2, 3]],
        [[0, 5], [2, 3]],
        [[0, 3]],
    ]
    two = write_bpseq("GAAAC", hairpin) + write_bpseq("CAAAG", hairpin)
    records = read_structures(write(tmp_path, "b.bpseq", two))
    assert [(one.id, one.family, one.sequence) for one in records] == [
        ("b.1", "b", "GAAAC"),
        ("b.2", "b", "CAAAG"),
    ]


def ids_of(folder, name, text):
    return [one.id for one in read_structures(write(folder, name, text))]


def test_records_without_an_id_are_numbered(tmp_path):
    assert ids_of(tmp_path, "a.dbn", ">\nG\n.\n>y\nG\n.\n>ENERGY = -1\nGG\n..\n") == [
        *("a.1", "y", "a.3")
    ]
    ct = write_ct("GAAAC", {}, "", "{n} ENERGY = -1.0") + write_ct("CAAAG", {}, "", "{n}")
    assert ids_of(tmp_path, "a.ct", ct) == ["a.1", "a.2"]


@pytest.mark.parametrize(
    "energy",
    [
        *("ENERGY = -5.2 ", "dG = -5.20 [initially  -6.00] ", "dG = -5.2\t", "Energy = 0  "),
        *("ENERGY = ", "ENERGY = -3.0 kcal/mol ", "Initial dG = -3 "),
    ],
)
def test_an_energy_is_no_id(tmp_path, energy):
    titles = ("5s_a x", "b")
    ct = "".join(write_ct("GAAAC", {}, name, "{n} " + energy + "{title}") for name in titles)
    assert ids_of(tmp_path, "a.ct", ct) == ["5s_a", "b"]
    text = f">{energy}5s_a\nG\n.\n> {energy}b\nG\n.\n"
    assert ids_of(tmp_path, "a.dbn", text) == ["5s_a", "b"]


def test_a_base_with_two_partners_keeps_the_pair_that_both_state(tmp_path, caplog):
    # 1 names 9, 9 and 8 name each other: the mutual pair stays. 2 names 7 and 6, both name it.
    text = "1 G 9\n2 G 7\n2 G 6\n3 A 0\n4 A 0\n5 A 0\n6 C 2\n7 C 2\n8 A 9\n9 C 8\n"
    record = read_one(tmp_path, "x.bpseq", text)
    assert record.sequence == "GGAAACCAC"
    assert record.pairs_P2.tolist() == [[1, 5], [7, 8]]
    assert "2 pairs dropped: a base of theirs has another partner" in caplog.text


def test_gaps_iupac_and_unknown_bases(tmp_path):
    record = read_one(tmp_path, "x.dbn", ">x\nG-GRnAx--CC\n(-(....--))\n")
    assert record.sequence == "GGRNANCC"
    assert record.pairs_P2.tolist() == [[0, 7], [1, 6]]
