import gzip
import lzma
import random
import zlib

import pytest

from openrinalmo.data_prep.metadata import MetadataConfig, read_rna_types

TABLE = "n\tid\ttype\n0\tx\tGene; tRNA\n1\ty\t-\n1\ty\trRNA\n1\ty\tlate\n\n2\tz\t\n"


def read(tmp_path, text=TABLE, **columns):
    path = tmp_path / "meta.tsv"
    path.write_text(text)
    return read_rna_types(MetadataConfig(path=path, **columns))


def test_reads_named_columns_and_takes_the_first_known_type(tmp_path):
    types = read(tmp_path, id_column="n")
    assert types.find([b"2", b"1", b"0", b"3", b"1"]) == [None, "rRNA", "Gene; tRNA", None, "rRNA"]
    assert len(types) == 2
    assert types.get("2") is None
    assert types.get("0") == "Gene; tRNA"
    assert read(tmp_path, type_column="n").find([b"x", b"y", b"z"]) == ["0", "1", "2"]


def test_finds_what_a_dictionary_holds(tmp_path):
    rng = random.Random(0)
    ids = [f"URS{rng.randrange(3000):010X}_ß" for _ in range(5000)]  # many repeat
    types = [rng.choice(["tRNA", "", "rRNA", "NA", "snRNA"]) for _ in ids]
    expected: dict[str, str] = {}
    for name, rna_type in zip(ids, types, strict=True):
        if rna_type not in ("", "NA"):
            expected.setdefault(name, rna_type)
    lines = ["id\ttype", *("\t".join(row) for row in zip(ids, types, strict=True))]
    found = read(tmp_path, "\n".join(lines))
    asked = [*ids, "", "URS", *map(str, range(1000))]
    rng.shuffle(asked)
    assert found.find([name.encode() for name in asked]) == [expected.get(name) for name in asked]
    assert len(found) == len(expected)


def test_of_several_lines_the_first_that_tells_something_counts(tmp_path):
    lines = ["id\ttype", "a\tmisc_RNA", "b\tother", "a\ttRNA", "b\tncRNA", "a\trRNA"]
    assert read(tmp_path, "\n".join(lines)).find([b"a", b"b"]) == ["tRNA", "other"]


def test_a_table_without_a_type_finds_nothing(tmp_path):
    types = read(tmp_path, "id\ttype\na\tNA\n")
    assert len(types) == 0
    assert types.find([b"a", b""]) == [None, None]
    assert types.find([]) == []


def test_strangers_before_and_behind_the_only_hash_are_not_found(tmp_path):
    types = read(tmp_path, "id\ttype\nm\ttRNA\n")
    assert types.find([b"%d" % n for n in range(1000)]) == [None] * 1000


def test_prefers_the_column_rna_type(tmp_path):
    assert read(tmp_path, "id\ttype\trna_type\na\tgene\ttRNA\n").get("a") == "tRNA"


def test_reads_a_packed_table(tmp_path):
    path = tmp_path / "meta"
    path.write_bytes(lzma.compress(TABLE.encode()))
    assert read_rna_types(MetadataConfig(path=path)).get("x") == "Gene; tRNA"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id_column": "urs"}, r"no column 'urs' among n, id, type; .*--metadata-id-column"),
        ({"type_column": "so"}, r"no column 'so' among n, id, type; .*--metadata-type-column"),
    ],
)
def test_names_the_columns_there_are(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **columns)


def test_names_a_line_with_missing_fields(tmp_path):
    with pytest.raises(ValueError, match=r"meta.tsv, line 3: 1 fields, the first line has 2"):
        read(tmp_path, "id\ttype\na\ttRNA\nb\n")


def test_refuses_a_table_that_ends_early(tmp_path):
    path = tmp_path / "meta.tsv.gz"
    lines = [b"id\ttype"] + [b"%d\t%x" % (n, n**99) for n in range(2_000)]
    packed = gzip.compress(b"\n".join(lines))[:-99]
    held = zlib.decompressobj(wbits=31).decompress(packed).count(b"\n")
    path.write_bytes(packed)
    message = rf"meta.tsv.gz, after line {held} \(unpacked\): the gzip stream ends early"
    with pytest.raises(ValueError, match=message):
        read_rna_types(MetadataConfig(path=path))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_odd_bytes_and_long_fields_stop_nothing(tmp_path, end):
    lines = [b"\xef\xbb\xbfid\tsequence\ttype", b"caf\xe9\tA\ttRNA", b'"q\tA\t"rRNA"', b""]
    path = tmp_path / "meta.tsv"
    path.write_bytes(end.join([*lines, b"long\t" + b"A" * 200_000 + b"\tlncRNA", b""]))
    types = read_rna_types(MetadataConfig(path=path))
    asked = [b"caf\xe9".decode(errors="replace").encode(), b'"q', b"long"]
    assert types.find(asked) == ["tRNA", '"rRNA"', "lncRNA"]
