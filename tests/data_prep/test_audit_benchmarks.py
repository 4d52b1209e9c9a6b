import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openrinalmo.data_prep.audits.benchmark_tables import ColumnsConfig
from openrinalmo.data_prep.audits.benchmarks import read_benchmarks
from openrinalmo.pipeline.downstream.structures.records import hash_structures, read_structures


def read(*paths, **columns):
    found = read_benchmarks(paths, ColumnsConfig(**columns))
    return [record for file in found.files for record in file.records]


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_fasta_takes_its_families_from_prefixes_that_recur(tmp_path):
    path = write(
        tmp_path / "a.fa", ">5s_X-1 words\nacgt\nAC-GT\n>5s_Y-2\nGG\n>srp_Z\nCC\n>srp_1\nA\n"
    )
    assert [(r.benchmark, r.family, r.id, r.sequence) for r in read(path)] == [
        ("a", "5s", "5s_X-1", b"ACGUACGU"),
        ("a", "5s", "5s_Y-2", b"GG"),
        ("a", "srp", "srp_Z", b"CC"),
        ("a", "srp", "srp_1", b"A"),
    ]
    alone = write(tmp_path / "b.fa", ">X01556.1\nACGU\n>\nGGG\n")
    assert [(r.family, r.id) for r in read(alone)] == [("-", "X01556.1"), ("-", "b:2")]


def test_partitions_are_benchmarks_of_their_own(tmp_path):
    path = write(
        tmp_path / "t.tsv", "id\tpartition\tclass\tsequence\na\ttrain\tx\tAC\nb\ttest\tx\tGU\n"
    )
    assert [(r.benchmark, r.family) for r in read(path)] == [("t/train", "x"), ("t/test", "x")]


def test_named_columns_and_quoted_commas(tmp_path):
    path = write(tmp_path / "t.csv", 'what,letters,kind\n"a, b",ACGT,k\n')
    found = read(path, sequence="letters", id="what", family="kind")
    assert [(r.id, r.family, r.sequence) for r in found] == [("a, b", "k", b"ACGU")]


def test_exon_intron_exon_is_joined(tmp_path):
    path = write(tmp_path / "korf.txt", "ACG GTAAG CCC 12 Gene:X\nAAA GTTTT CCC 1 Y\n")
    assert [r.sequence for r in read(path)] == [b"ACGGUAAGCCC", b"AAAGUUUUCCC"]
    write(path, "ACG GTAAG CCC 12 Gene:X\nAAA GTTTT\n")
    with pytest.raises(ValueError, match=r"korf.txt, line 2: must be exon, intron, exon"):
        read(path)


def test_a_folder_skips_files_without_sequences_and_names_them(tmp_path):
    write(tmp_path / "a.tsv", "id\tsequence\nx\tACGU\n")
    folds = write(tmp_path / "folds.csv", "fold,id\n1,x\n")
    write(tmp_path / "README.md", "words")
    write(tmp_path / ".hidden", "words")
    (tmp_path / "plot.png").write_bytes(b"\x89PNG\0\0")
    files, folders, skipped = read_benchmarks([tmp_path], ColumnsConfig())
    assert [file.name for file in files] == ["a"]
    assert folders == []  # an evaluation of the folder would stop at folds.csv
    reasons = ["README.md: not FASTA", "folds.csv: not FASTA", "plot.png: binary data"]
    assert [
        r[: len(x)]
        for r, x in zip(sorted(s.rpartition("/")[2] for s in skipped), reasons, strict=True)
    ] == reasons
    with pytest.raises(ValueError, match=r"folds.csv: not FASTA, .*, and no column of sequences"):
        read(folds)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "id\tsequence\nx\n", r"a.tsv, line 2: 1 fields, the first line has 2"),
        ("a.tsv", "id\tsequence\nx\tAC(GU)\n", r"a, x: b'\(\)' is no sequence; name the right"),
        ("a.tsv", "id\tsequence\n", r"a.tsv: holds no sequence"),
        ("a.fa", "", r"a.fa: not FASTA, .*, and no column"),
    ],
)
def test_says_where_and_what_is_wrong(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / name, text))


def test_refuses_a_missing_file_and_two_of_one_name(tmp_path):
    with pytest.raises(ValueError, match=r"no such file or folder"):
        read(tmp_path / "none.fa")
    (tmp_path / "x").mkdir()
    paths = [write(tmp_path / "a.fa", ">x\nAC\n"), write(tmp_path / "x" / "a.fa", ">x\nAC\n")]
    with pytest.raises(ValueError, match=r"two benchmarks are called a"):
        read(*paths)
    with pytest.raises(ValueError, match=r"a.fa is given twice"):
        read(tmp_path, tmp_path / "a.fa")


def test_a_folder_is_read_with_its_folders_whatever_its_files_are_called(tmp_path):
    folder = tmp_path / "set"
    fasta = ">{0}1\nACGU\n>{0}2\nACGG\n"
    for name in ("a.fa", "B.FA", "c.rna", "c.txt", "none", "sub/a.fasta"):
        write(folder / name, fasta.format(name))
    write(folder / "d.fastq", "@d1\nACGU\n+\nIIII\n@d2\nACGG\n+\nIIII\n")
    write(folder / "t.Tsv", "# words\n\nID\tSequence\nt1\tACGU\nt2\tACGG\n")
    (folder / "e.fa.gz").write_bytes(gzip.compress(fasta.format("e").encode()))
    table = pa.table({"sequence": ["ACGU", "acgg"], "id": ["p1", "p2"], "rna_type": ["x", "y"]})
    pq.write_table(table, folder / "p.parquet")
    found = read_benchmarks([folder], ColumnsConfig())
    assert [file.name for file in found.files] == [
        *("B", "a", "c.rna", "c.txt", "d", "e", "none", "p", "sub/a", "t")
    ]
    for file in found.files:
        assert [record.sequence for record in file.records] == [b"ACGU", b"ACGG"]
    parquet = found.files[7]
    assert parquet.families_from == "types"
    assert [(r.id, r.family) for r in parquet.records] == [("p1", "x"), ("p2", "y")]
    assert found.skipped == []


def test_a_folder_of_structures_is_one_benchmark_under_the_hash_of_its_evaluation(tmp_path):
    folder = tmp_path / "set"
    for name in ("5s_x", "5s_y", "srp_x", "srp_y"):
        write(folder / f"{name}.ct", "3 words\n1 A 0 2 3 1\n2 C 1 3 0 2\n3 U 2 0 1 3\n")
    files, folders, _ = read_benchmarks([folder], ColumnsConfig())
    assert [(file.name, file.sha256) for file in files] == [("set/*.ct", hash_structures(folder))]
    assert folders == []  # the same files
    assert [(r.id, r.family) for r in files[0].records] == [
        *(("5s_x", "5s"), ("5s_y", "5s"), ("srp_x", "srp"), ("srp_y", "srp"))
    ]
    write(folder / "t" / "t.tsv", "id\tsequence\tstructure\nq\tACGU\t....\nr\tACG\t...\n")
    (folder / "t" / "TR0").mkdir(parents=True)
    write(folder / "t" / "TR0" / "u.ct", "2 words\n1 A 0 2 0 1\n2 C 1 0 0 2\n")
    write(folder / "words.fa", ">not evaluated\nAAAA\n")
    files, folders, _ = read_benchmarks([folder], ColumnsConfig())
    assert [file.name for file in files] == ["set/*.ct", "t/TR0/u", "t/t", "words"]
    assert [(file.name, file.sha256) for file in folders] == [("set/", hash_structures(folder))]
    evaluated = read_structures(folder)
    assert [r.sequence.decode() for r in folders[0].records] == [r.sequence for r in evaluated]


def test_marks_blank_lines_and_comments_before_fasta(tmp_path):
    for start in ("\ufeff", "\n\n", ";words\n", "\ufeff\n;words\n"):
        found = read(write(tmp_path / "a.fa", f"{start}>x, a sequence\r\nAC\r\nGU\r\n"))
        assert [(r.id, r.sequence) for r in found] == [("x,", b"ACGU")]


def test_partitions_are_of_text_tables(tmp_path):
    pq.write_table(pa.table({"sequence": ["ACGU"], "split": ["x"]}), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"p.parquet: --partition-column is of text tables"):
        read(tmp_path / "p.parquet", partition="split")
