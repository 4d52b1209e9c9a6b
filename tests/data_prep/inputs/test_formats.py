import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard

from openrinalmo.data_prep.inputs import arrow_input, fastq
from openrinalmo.data_prep.inputs.arrow_input import FormatConfig
from openrinalmo.data_prep.inputs.formats import STDIN, expand_inputs, iter_blocks
from support.tiny_data import write_tiny_data

DRAW = random.Random(0)
RECORDS = [
    (f"r{number}", "".join(DRAW.choices("ACGUN", k=DRAW.randrange(1, 300))))
    for number in range(5_000)
]
PACKERS = [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]


def read(path, on_read: Callable[[int], object] = int, **how):
    """Return (id, type, letters) of every record, in the plainest way, after checking blocks."""
    rows = []
    for block in iter_blocks(path, on_read, **how):
        assert block.first_number == len(rows) + 1
        assert block.letters.dtype == np.uint8
        assert block.ends.dtype == np.int64
        assert len(block.ids) == len(block.rna_types) == len(block.ends)
        letters, start = block.letters.tobytes(), 0
        for identifier, rna_type, end in zip(
            block.ids, block.rna_types, block.ends.tolist(), strict=True
        ):
            rows.append((identifier, rna_type, letters[start:end]))
            start = end
        assert start == len(letters)
    return rows


EXPECTED = [(name.encode(), None, letters.encode()) for name, letters in RECORDS]


def as_fastq(records, width=None, end="\n"):
    lines = []
    for name, letters in records:
        quality = "@+>I"[len(name) % 4] * len(letters)  # a line of qualities may look like any
        step = width or len(letters) or 1
        lines += [f"@{name} more words"]
        lines += [letters[i : i + step] for i in range(0, len(letters), step)] or [""]
        lines += ["+"]
        lines += [quality[i : i + step] for i in range(0, len(letters), step)] or [""]
    return (end.join(lines) + end).encode()


def write(tmp_path, data, name="misleading.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", PACKERS, ids=lambda f: f.__module__)
def test_fasta_and_fastq_are_told_apart_by_content(tmp_path, pack):
    fasta = "".join(f">{name}\n{letters}\n" for name, letters in RECORDS).encode()
    rows = read(write(tmp_path, pack(b"\n" + fasta)))
    assert [(i, t, s.replace(b"\n", b"")) for i, t, s in rows] == EXPECTED
    assert read(write(tmp_path, pack(b"\r\n" + as_fastq(RECORDS)))) == EXPECTED


@pytest.mark.parametrize("width", [None, 7, 60])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_fastq_of_four_lines_and_wrapped(tmp_path, monkeypatch, width, end):
    monkeypatch.setattr(fastq, "BLOCK_LETTERS", 20_000)
    monkeypatch.setattr(fastq, "CHUNK_RECORDS", 7)
    data = as_fastq(RECORDS[:500], width, end)
    expected = EXPECTED[:500]
    assert read(write(tmp_path, data)) == expected
    assert read(write(tmp_path, data.removesuffix(end.encode()))) == expected
    assert read(write(tmp_path, data + end.encode() * 3)) == expected


def test_fastq_headers_state_types_as_fasta_headers_do(tmp_path):
    data = b"@a rna_type=tRNA x\nACGU\n+\nIIII\n@b\nAC\n+\nII\n"
    assert read(write(tmp_path, data)) == [(b"a", b"tRNA", b"ACGU"), (b"b", None, b"AC")]


def test_fastq_where_layouts_mix_and_names_or_letters_lack(tmp_path):
    nameless = b"@\nACGU\n+\nIIII\n"
    data = nameless + as_fastq([("b", ""), ("c", "GG")]) + as_fastq(RECORDS[:3], 5)
    assert read(write(tmp_path, data + as_fastq(RECORDS[3:9]))) == [
        (b"", None, b"ACGU"),
        (b"b", None, b""),
        (b"c", None, b"GG"),
        *EXPECTED[:9],
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"@x\nACGU\n+\nIII\n", r"line 9: the file ends 1 letters before the quality"),
        (b"@x\nACGU\n+\nIIIII\n", r"line 9: 4 letters but 5 qualities"),
        (b"@x\nACGU\n+\nIII\n@y\nAC\n+\nII\n", r"line 9: 4 letters but 3 qualities"),
        (b"@x\nACGU\n+\n\n@yyyyyyy\nAC\n+\nII\n", r"line 9: 4 letters but 0 qualities"),
        (b"@x\nACGUACGU\n+\nIII\n@y\nA\n+\nI\n", r"line 9: 8 letters but 3 qualities"),
        (b"@x\nACGUACGU\n+\nIII\n@y\nA\n", r"line 9: 8 letters but 3 qualities"),
        (b"@x\nACGU\nAC\n+\nIIII\nI\n@yy\nA\n+\nI\n", r"line 9: 6 letters but 5 qualities"),
        (b"@x\nACGU\nAC\n+\nIIII\n@III\n", r"line 9: 6 letters but 8 qualities"),
        (b"@x\nACGU\n", r"line 9: the file ends before this record's `\+`"),
        (b"@x\nACGU\n+\n", r"line 9: the file ends 4 letters before"),
        (b">x\nACGU\n", r"line 9: a FASTQ record must begin with `@`.*b'>x"),
        (b"\n\nACGU\n", r"line 11: a FASTQ record must begin with `@`"),
    ],
)
def test_fastq_faults_name_record_and_line(tmp_path, bad, message):
    with pytest.raises(ValueError, match=rf"misleading.txt, record 3, {message}"):
        read(write(tmp_path, as_fastq([("a", "AC"), ("b", "GU")]) + bad))


@pytest.mark.parametrize("pack", PACKERS[1:], ids=lambda f: f.__module__)
def test_a_truncated_archive_names_its_place(tmp_path, pack):
    packed = pack(as_fastq(RECORDS))
    with pytest.raises(ValueError, match=r"misleading.txt, .* \(unpacked\): .* ends early"):
        read(write(tmp_path, packed[: int(0.9 * len(packed))]))


def table(columns=("sequence", "id", "rna_type"), kind="string"):
    names, letters = zip(*RECORDS, strict=True)
    types = [["rRNA", None, "unknown", "tRNA", ""][n % 5] for n in range(len(names))]
    data = {"sequence": letters, "id": names, "rna_type": types}
    return pa.table({n: pa.array(data[n]).cast(kind) for n in columns}).append_column(
        "other", pa.array(range(len(names)))
    )


def write_stream(data, path):
    with pa.ipc.new_stream(path, data.schema) as writer:
        writer.write_table(data, max_chunksize=1_000)


def write_file(data, path):
    with pa.ipc.new_file(path, data.schema) as writer:
        writer.write_table(data)


WRITERS = {
    "parquet": lambda data, path: pq.write_table(data, path, row_group_size=777),
    "stream": write_stream,
    "file": write_file,
    "feather": lambda data, path: pyarrow.feather.write_feather(data, path, compression="zstd"),
}
KINDS = [
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.large_binary(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tables_of_every_text_type(tmp_path, monkeypatch, form, kind):
    monkeypatch.setattr(arrow_input, "BLOCK_LETTERS", 100_000)
    monkeypatch.setattr(arrow_input, "SLICE_ROWS", 300)
    path = tmp_path / "table"
    if form in ("parquet", "feather") and kind == pa.string_view():
        pytest.skip("not every version of Arrow writes views there")
    WRITERS[form](table(kind=kind), path)
    types = [[b"rRNA", None, None, b"tRNA", None][n % 5] for n in range(len(RECORDS))]
    heard = []
    assert read(path, on_read=heard.append) == [
        (name, t, letters) for (name, _, letters), t in zip(EXPECTED, types, strict=True)
    ]
    assert sum(heard) == path.stat().st_size


@pytest.mark.parametrize("form", WRITERS)
def test_identifier_and_type_are_optional(tmp_path, form):
    WRITERS[form](table(columns=("sequence",)), tmp_path / "table")
    assert read(tmp_path / "table") == [(b"", None, letters) for _, _, letters in EXPECTED]


def test_columns_can_be_named_and_identifiers_be_numbers(tmp_path):
    data = pa.table({"seq": ["AC", "GU"], "n": [7, None], "class": ["x", None]})
    pq.write_table(data, tmp_path / "t")
    config = FormatConfig(sequence_column="seq", id_column="n", rna_type_column="class")
    assert read(tmp_path / "t", config=config) == [(b"7", b"x", b"AC"), (b"", None, b"GU")]


def test_null_sequences_are_empty_records(tmp_path):
    pq.write_table(pa.table({"sequence": ["AC", None, "", "GU"]}), tmp_path / "t")
    assert [letters for _, _, letters in read(tmp_path / "t")] == [b"AC", b"", b"", b"GU"]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_text_that_is_not_utf8_is_taken_as_its_bytes(tmp_path, form, kind):
    if form in ("parquet", "feather") and kind == pa.string_view():
        pytest.skip("not every version of Arrow writes views there")
    data = [b"ok", b"latin \xe9", None]
    column = pa.array(data, pa.binary())
    if pa.types.is_dictionary(kind):
        words = column.view(pa.string())
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), words[:2])
    elif kind in arrow_input._BYTES_OF_TEXT:
        column = column.cast(arrow_input._BYTES_OF_TEXT[kind]).view(kind)
    WRITERS[form](pa.table(dict.fromkeys(("sequence", "id", "rna_type"), column)), tmp_path / "t")
    assert read(tmp_path / "t") == [(value or b"", value, value or b"") for value in data]


def test_damaged_offsets_name_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_input, "SLICE_ROWS", 10)
    offsets = np.arange(31, dtype=np.int32)
    offsets[25] = 29
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"A" * 30)]
    column = pa.Array.from_buffers(pa.string(), 30, buffers)
    write_file(pa.table({"sequence": column}), tmp_path / "t")
    with pytest.raises(ValueError, match=r"t: among the 10 rows from 21: .*get it again"):
        read(tmp_path / "t")


@pytest.mark.parametrize("form", ["parquet", "file"])
def test_default_columns_of_other_types_are_left_out(tmp_path, form, caplog):
    data = pa.table({"sequence": ["AC", "GU"], "id": [1.5, 2.5], "rna_type": [3, 4]})
    WRITERS[form](data, tmp_path / "t")
    assert read(tmp_path / "t") == [(b"", None, b"AC"), (b"", None, b"GU")]
    assert "column 'id' holds double, not text: it is not read; name another with" in caplog.text
    assert "'rna_type' holds int64, not text: it is not read" in caplog.text
    for config in (FormatConfig(id_column="id"), FormatConfig(rna_type_column="rna_type")):
        with pytest.raises(ValueError, match=r"not text; name another with --(id|type)-column"):
            read(tmp_path / "t", config=config)


@pytest.mark.parametrize("form", ["parquet", "file"])
def test_columns_without_any_value(tmp_path, form):
    data = pa.table({"sequence": ["AC", "GU"], "id": pa.nulls(2), "rna_type": pa.nulls(2)})
    WRITERS[form](data, tmp_path / "t")
    for config in (FormatConfig(), FormatConfig(id_column="id", rna_type_column="rna_type")):
        assert read(tmp_path / "t", config=config) == [(b"", None, b"AC"), (b"", None, b"GU")]


@pytest.mark.parametrize(
    ("data", "config", "message"),
    [
        ({"sequence": pa.nulls(2)}, {}, r"column 'sequence' holds null, not text; name another"),
        ({"seq": ["A"]}, {}, r"no column 'sequence' among seq; name it with --sequence-column"),
        ({"sequence": [1.5]}, {}, r"column 'sequence' holds double, not text"),
        ({"sequence": [1]}, {}, r"column 'sequence' holds int64, not text"),
        ({"sequence": ["A"]}, {"id_column": "x"}, r"no column 'x' among sequence.*--id-column"),
        ({"sequence": pa.array([], "string")}, {}, r"holds no row"),
    ],
)
def test_tables_without_what_is_needed(tmp_path, data, config, message):
    pq.write_table(pa.table(data), tmp_path / "t")
    with pytest.raises(ValueError, match=f"t: {message}"):
        read(tmp_path / "t", config=FormatConfig(**config))


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9, 1.0])
def test_a_cut_table_is_refused(tmp_path, form, kept):
    WRITERS[form](table(), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    path = write(tmp_path, data[: int(kept * len(data)) - 8])
    with pytest.raises(ValueError, match=r"misleading.txt: "):
        read(path)


def test_damaged_tables_are_refused_or_read_but_never_crash(tmp_path):
    for form in WRITERS:
        WRITERS[form](table(), tmp_path / "whole")
        data = (tmp_path / "whole").read_bytes()
        for _ in range(30):
            damaged = bytearray(data)
            for _ in range(3):
                damaged[DRAW.randrange(len(data))] ^= 1 << DRAW.randrange(8)
            try:
                read(write(tmp_path, bytes(damaged)))
            except ValueError as error:
                assert str(tmp_path) in str(error)  # noqa: PT017


def test_prepared_data_is_an_input(tmp_path):
    clusters = [[("a", "ACGU", "tRNA"), ("b", "GGG", "unknown")], [("c", "AUAU", "rRNA")]]
    last = [[("d", "CC", "tRNA")]]
    write_tiny_data(tmp_path / "data", train=clusters, validation=last, max_shard_nt=4)
    assert read(tmp_path / "data") == [
        (b"a", b"tRNA", b"ACGU"),
        (b"b", None, b"GGG"),
        (b"c", b"rRNA", b"AUAU"),
        (b"d", b"tRNA", b"CC"),
    ]
    assert expand_inputs([tmp_path / "data"]) == [tmp_path / "data"]
    shard = next((tmp_path / "data" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{shard.name} is missing or cut short"):
        read(tmp_path / "data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no FASTA record"),
        (b"\n \n", "holds no FASTA record"),
        (b"\nACGU\n", r", line 2: not FASTA, FASTQ.*begins with b'ACGU"),
        (gzip.compress(b"id\tseq\n"), r", line 1: not FASTA.*b'id\\tseq"),
        (b"FEA1....", "Feather version 1"),
        (gzip.compress(b"PAR1...."), "a packed Parquet or Arrow table.*unpack it first"),
        (b"PK\x03\x04....", "packed with zip"),
        (gzip.compress(b">a\nAC\n")[:15], "ends early"),
    ],
)
def test_what_is_not_read_says_so(tmp_path, data, message):
    with pytest.raises(ValueError, match=f"misleading.txt.*{message}"):
        read(write(tmp_path, data))


def test_inputs_expand_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.fa", "a.fa", "c.fq", "od[d].fa", "sub/d.fa"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(">x\n")
    named = [str(path) for path in expand_inputs(["c.fq", "-", "[ab].fa", "od[d].fa", "**/d.fa"])]
    assert named == ["c.fq", str(STDIN), "a.fa", "b.fa", "od[d].fa", "sub/d.fa"]
    assert expand_inputs([str(tmp_path / "?.fa")]) == [tmp_path / "a.fa", tmp_path / "b.fa"]
    for bad, message in {
        "x*.fa": "matches no file",
        "x.fa": "x.fa is not a file: check its name",
        "sub": "sub is a folder.*as in 'sub/",
        "/dev/null": "is a pipe or a device: pipe its content into `-`",
    }.items():
        with pytest.raises(ValueError, match=message):
            expand_inputs(["a.fa", bad])
    with pytest.raises(ValueError, match="given twice"):
        expand_inputs(["-", "-"])
    with pytest.raises(ValueError, match="no input is named"):
        expand_inputs([])


def test_what_a_pattern_finds_is_taken_or_refused_as_what_is_named(tmp_path):
    write_tiny_data(tmp_path / "data", train=[[("a", "ACGU", "tRNA")]], validation=[])
    (tmp_path / "a.fa").write_text(">x\n")
    pattern = str(tmp_path / "*")
    assert expand_inputs([pattern]) == [tmp_path / "a.fa", tmp_path / "data"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is a folder, .* a pattern that leaves it out"):
        expand_inputs([pattern])
    (tmp_path / "empty").rmdir()
    (tmp_path / "link").symlink_to("gone.fa")
    for named in (pattern, tmp_path / "link"):
        with pytest.raises(ValueError, match="link is a link to gone.fa, which is not there"):
            expand_inputs([named])


@pytest.mark.parametrize("pack", PACKERS, ids=lambda f: f.__module__)
def test_streams_are_read_as_files_are(pack):
    fasta = "".join(f">{name}\n{letters}\n" for name, letters in RECORDS).encode()
    rows = read(io.BytesIO(pack(fasta)))
    assert [(i, t, s.replace(b"\n", b"")) for i, t, s in rows] == EXPECTED
    assert read(io.BytesIO(pack(as_fastq(RECORDS, 50)))) == EXPECTED
    with pytest.raises(ValueError, match="the input stream, line 1: not FASTA"):
        read(io.BytesIO(pack(b"PAR1")))
