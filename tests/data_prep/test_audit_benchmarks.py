import pytest

from openrinalmo.data_prep.audits.benchmarks import ColumnsConfig, read_benchmarks


def read(*paths, **columns):
    files, _ = read_benchmarks(paths, ColumnsConfig(**columns))
    return [record for file in files for record in file.records]


def write(path, text):
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
    files, skipped = read_benchmarks([tmp_path], ColumnsConfig())
    assert [file.name for file in files] == ["a"]
    assert len(skipped) == 1
    assert "folds.csv" in skipped[0]
    with pytest.raises(ValueError, match=r"folds.csv: not FASTA, and no column of sequences"):
        read(folds)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "id\tsequence\nx\n", r"a.tsv, line 2: 1 fields, the first line has 2"),
        ("a.tsv", "id\tsequence\nx\tAC(GU)\n", r"a, x: b'\(\)' is no sequence; name the right"),
        ("a.tsv", "id\tsequence\n", r"a.tsv: holds no sequence"),
        ("a.fa", "", r"a.fa: not FASTA, and no column"),
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
