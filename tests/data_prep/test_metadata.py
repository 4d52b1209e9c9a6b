import lzma

import pytest

from openrinalmo.data_prep.metadata import MetadataConfig, read_rna_types

TABLE = "n\tid\ttype\n0\tx\tGene; tRNA\n1\ty\t-\n1\ty\trRNA\n1\ty\tlate\n\n2\tz\t\n"


def read(tmp_path, text=TABLE, **columns):
    path = tmp_path / "meta.tsv"
    path.write_text(text)
    return read_rna_types(MetadataConfig(path=path, **columns))


def test_reads_named_columns_and_takes_the_first_known_type(tmp_path):
    assert read(tmp_path, id_column="n") == {"0": "Gene; tRNA", "1": "rRNA"}
    assert read(tmp_path, type_column="n") == {"x": "0", "y": "1", "z": "2"}


def test_prefers_the_column_rna_type(tmp_path):
    assert read(tmp_path, "id\ttype\trna_type\na\tgene\ttRNA\n") == {"a": "tRNA"}


def test_reads_a_packed_table(tmp_path):
    path = tmp_path / "meta"
    path.write_bytes(lzma.compress(TABLE.encode()))
    assert read_rna_types(MetadataConfig(path=path))["x"] == "Gene; tRNA"


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
    path = tmp_path / "meta.tsv.xz"
    path.write_bytes(lzma.compress(TABLE.encode())[:-20])
    with pytest.raises(ValueError, match=r"meta.tsv.xz: the xz stream ends early"):
        read_rna_types(MetadataConfig(path=path))
