import random

import pytest

from openrinalmo.data_prep.audits.benchmark_tables import ColumnsConfig
from openrinalmo.data_prep.audits.benchmarks import (
    EVALUATED_PACKED,
    EVALUATED_SUFFIXES,
    read_benchmarks,
)
from openrinalmo.data_prep.audits.structure_sequences import find_reader
from openrinalmo.data_prep.sample import SAMPLE_STRUCTURES
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket
from openrinalmo.pipeline.downstream.structures.records import hash_structures, read_structures
from openrinalmo.pipeline.downstream.structures.structure_files import OPENERS, SUFFIXES
from support.structure_files import partners_of, write_bpseq, write_ct


@pytest.fixture(scope="module")
def sample():
    """Every tenth RNA of the embedded sample: id, sequence, structure, pairs."""
    (file,) = read_benchmarks([SAMPLE_STRUCTURES], ColumnsConfig()).files
    known = {record.id: record for record in read_structures(SAMPLE_STRUCTURES)}
    assert {record.id: record.sequence.decode() for record in file.records} == {
        name: record.sequence for name, record in known.items()
    }
    rnas = []
    for name, record in list(known.items())[::10]:
        structure = ["."] * len(record.sequence)
        open_until = []
        for i, j in record.pairs_P2.tolist():  # a crossing pair takes the next kind of bracket
            crossed = {kind for a, b, kind in open_until if a < i < b < j}
            kind = next(kind for kind in ("()", "[]", "{}", "<>", "Aa") if kind not in crossed)
            open_until.append((i, j, kind))
            structure[i], structure[j] = kind
        text = "".join(structure)
        assert parse_dot_bracket(text).tolist() == record.pairs_P2.tolist()
        rnas.append((name, record.sequence, text, record.pairs_P2.tolist()))
    assert len(rnas) > 300
    return rnas


def wrap(text, width=60):
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


def write_stockholm(rnas):
    """One alignment in two blocks; gaps stand at random places."""
    rng = random.Random(0)
    columns = max(len(sequence) for _, sequence, _, _ in rnas) + 20
    rows = {}
    for name, sequence, structure, _ in rnas:
        places = sorted(rng.sample(range(columns), len(sequence)))
        row, marks = [rng.choice("-.") for _ in range(columns)], ["."] * columns
        for place, letter, mark in zip(places, sequence, structure, strict=True):
            row[place], marks[place] = letter, mark
        rows[name.replace(" ", "_")] = "".join(row), "".join(marks)
    lines = ["# STOCKHOLM 1.0", "#=GF AC RF1", "#=GF ID fam", "#=GF AU  M\u00fcller, A"]
    for block in (slice(0, 50), slice(50, None)):
        for name, (row, marks) in rows.items():
            lines += [f"{name}  {row[block]}", f"#=GR {name} SS {marks[block]}", ""]
    return "\n".join([*lines, "//", ""])


FORMATS = {
    "joined.dbn": lambda rnas: "".join(f">{n} x\n{s}\n{d}\n" for n, s, d, _ in rnas),
    "wrapped.dbn": lambda rnas: "".join(
        f"\n>{n}\r\n{wrap(s)}\r\n{wrap(d, 61)}\r\n" for n, s, d, _ in rnas
    ),
    "energies.txt": lambda rnas: "".join(
        f">{n}\n{s.lower()}\n{d} ({-n_ / 7:6.2f})\n" for n_, (n, s, d, _) in enumerate(rnas)
    ),
    "x.st": lambda rnas: "".join(
        f"#Name: {n}\n#Length:  {len(s)}\n#PageNumber: 1\n{s}\n{d}\n"
        f'{"E" * len(s)}\n{"N" * len(s)}\nS1 1..3 "ACG" 9..11 "CGU"\n'
        for n, s, d, _ in rnas
    ),
    "x.ct": lambda rnas: "".join(
        write_ct(s, partners_of(pairs), title=f"ENERGY = -1.5 {n}") for n, s, _, pairs in rnas
    ),
    "x.bpseq": lambda rnas: (
        "Organism: some\n" + "".join(write_bpseq(s, partners_of(pairs)) for _, s, _, pairs in rnas)
    ),
    "x.sto": write_stockholm,
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_sample_in_every_format_gives_what_evaluation_reads(tmp_path, sample, name):
    path = tmp_path / name
    path.write_text(FORMATS[name](sample))
    (file,) = read_benchmarks([path], ColumnsConfig()).files
    assert [record.sequence.decode() for record in file.records] == [s for _, s, _, _ in sample]
    assert file.sha256 == hash_structures(path)
    evaluated = read_structures(path)
    assert [record.sequence for record in evaluated] == [s for _, s, _, _ in sample]
    if name != "x.bpseq":  # which has no place for identifiers
        assert [record.id for record in file.records] == [record.id for record in evaluated]


@pytest.mark.parametrize(
    "text",
    [
        "ACGU\n(..)\n",
        "\ufeff\n\n;words\n# words\n>a\nAC\nGU\n(..)\n",
        ">a\nAC-GU\n(.-.)\n",
        ">a\nACGU\n(..) (-1.20)\n",
        ">a\nACGU\n(.\n.) -1.20\n",
        ">a\nACGU\n....\n",
        "Filename: x\n\n1 A 4\n2 C 0\n2 C 3\n3 G 2\n4 U 1\n",
        "tRNA\nFilename: x.bpseq\n1 A 4\n2 C 3\n3 G 2\n4 U 1\n",
        'ID\tSequence\tStructure\n"x"\t"ACGU"\t"(..)"\n\t\t\n',
        "# words\nwords of CRW\n4 a title\n1 A 0 2 4 1\n2 C 1 3 0 2\n3 G 2 4 0 3\n4 U 3 0 1\n",
        "# STOCKHOLM 1.0\n\nx A.CG_U~\n#=GC SS_cons <...>..\n//\n",
    ],
)
def test_odd_but_sound_texts(tmp_path, text):
    path = tmp_path / "x.1"
    path.write_text(text)
    (file,) = read_benchmarks([path], ColumnsConfig()).files
    assert [record.sequence for record in file.records] == [b"ACGU"]


def test_an_energy_is_no_identifier(tmp_path):
    path = tmp_path / "x.dbn"
    path.write_text(">dG = -1.2 [initially  -2.0] a b\nACGU\n(..)\n>ENERGY = -1\nAC\n..\n")
    (file,) = read_benchmarks([path], ColumnsConfig()).files
    assert [record.id for record in file.records] == ["a", "x:2"]
    assert [record.id for record in read_structures(path)] == ["a", "x.2"]


def test_gaps_of_aligned_fasta_are_no_structure(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a [of x]\nAC..\n....\n..GU\n>b\n----\nACGU\n")
    (file,) = read_benchmarks([path], ColumnsConfig()).files
    assert [record.sequence for record in file.records] == [b"ACGU", b"ACGU"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nACGU\n(.)\n", r"x, line 1 \(a\): 4 letters and no structure of as many"),
        (">a\nACGU\n(.!)\n", r"x, line 1 \(a\): 4 letters and no structure of as many"),
        ("ACGU\n(..)\nGGGG\n(..)\n", r"x, line 3: 'GGGG' follows a structure as long as its"),
        ("4 t\n1 A 0 2 4 1\n2 C 1 3 0 2\n", r"x, line 1: the CT record of 4 bases ends after 2"),
        ("2 t\n1 A 0 2 0 1\n3 C 1 3 0 2\n", r"x, line 3: '3 C 1 3 0 2' where base 2 of 2"),
        ("1 t\n1 A 0 2 0 1\nx\n", r"x, line 3: 'x' is not the number of bases"),
        ("1 A 0\n3 C 0\n", r"x, line 2: base 3 follows base 1"),
        ("1 A 0\n2 C\n", r"x, line 2: '2 C.*' is not number, letter, partner"),
        ("# STOCKHOLM 1.0\nx ACGU\n", r"x, line 1: the alignment has no closing //"),
        ("# STOCKHOLM 1.0\nx ACGU y\n//\n", r"x, line 2: a member's line is a name and a seq"),
        ("# STOCKHOLM 1.0\nx AC\n//\ny A\n", r"x, line 4: an alignment begins with `# STOCK"),
    ],
)
def test_says_where_a_structure_file_is_wrong(tmp_path, text, message):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_benchmarks([path], ColumnsConfig())


@pytest.mark.parametrize(
    "text", ["# Data\n\nwords\n- an item (a)\n", "2024 was\n1 of 3\n", "GATTACA\n\nwords\n", ""]
)
def test_words_are_no_sequences(text):
    assert find_reader(text.splitlines()) is None


def test_the_files_of_an_evaluation_are_known_by_the_same_suffixes():
    assert EVALUATED_SUFFIXES == SUFFIXES
    assert set(EVALUATED_PACKED) == set(OPENERS)
