import gzip
import io
import re

import numpy as np
import pytest

from openrinalmo.data_prep.filters import (
    LONGEST_NT,
    REJECT_REASONS,
    FilterConfig,
    find_reject_reasons,
    normalise,
)
from openrinalmo.data_prep.inputs.fasta import iter_fasta_blocks


def read(tmp_path, data):
    path = tmp_path / "in.fasta"
    path.write_bytes(data)
    return read_source(path)


def read_source(source):
    rows = []
    for block in iter_fasta_blocks(source):
        letters, ends = normalise(block.letters, block.ends)
        pieces = np.split(letters, ends)[:-1]
        rows += zip(block.ids, block.rna_types, (p.tobytes() for p in pieces), strict=True)
    return rows


def normalise_one(letters):
    return normalise(np.frombuffer(letters, np.uint8), np.array([len(letters)]))[0].tobytes()


def find_reason(sequence, config):
    letters = np.frombuffer(sequence, np.uint8)
    number = find_reject_reasons(letters, np.array([len(sequence)]), config)[0]
    return (None, *REJECT_REASONS)[number]


def test_reads_wrapped_lines_windows_ends_and_blank_lines(tmp_path):
    records = read(tmp_path, b"\n>a first\r\nACG\r\nUAC\r\n\r\n>b\nGG\nCC")
    assert records == [(b"a", None, b"ACGUAC"), (b"b", None, b"GGCC")]


def test_a_greater_sign_inside_a_line_begins_no_record(tmp_path):
    records = read(tmp_path, b">a >b\nAC>GU\n>>c\n>\n>d\n\n")
    assert records == [
        (b"a", None, b"AC>GU"),
        (b">c", None, b""),
        (b"", None, b""),
        (b"d", None, b""),
    ]


def test_reads_the_types_of_ensembl_without_an_equals_sign_in_sight(tmp_path):
    header = b">ENST1.1 ncrna chromosome:G:1:1:9:1 gene:E gene_biotype:miRNA transcript_biotype:"
    records = read(tmp_path, header + b"lncRNA gene_symbol:X\nACGU\n>transcript_biotype:rRNA\nAC\n")
    assert records == [
        (b"ENST1.1", b"lncRNA", b"ACGU"),
        (b"transcript_biotype:rRNA", None, b"AC"),
    ]


@pytest.mark.parametrize(
    ("biotype", "expected"),
    [
        (b"miRNA", b"pre_miRNA"),  # Ensembl's are the hairpins
        (b"Mt_rRNA", b"rRNA"),
        (b"Mt_tRNA", b"tRNA"),
        (b"scaRNA", b"snoRNA"),
        (b"lincRNA", b"lncRNA"),
        (b"snRNA", b"snRNA"),
        (b"rRNA_pseudogene", b"rRNA_pseudogene"),
    ],
)
def test_ensembls_words_and_no_others_become_rnacentrals(tmp_path, biotype, expected):
    text = b">e x transcript_biotype:%b y\nACGU\n>o rna_type=%b\nAC\n" % (biotype, biotype)
    assert read(tmp_path, text) == [(b"e", expected, b"ACGU"), (b"o", biotype, b"AC")]


def test_of_joined_headers_the_first_names_the_record(tmp_path):
    joined = b">A1.1\x01B2.1 rna_type=tRNA\nACGU\n>C rna_type=rRNA\x01D \xc3\xa9\nGG\n"
    assert read(tmp_path, joined) == [(b"A1.1", None, b"ACGU"), (b"C", b"rRNA", b"GG")]


def test_reads_a_stream():
    data = io.BytesIO(b">a\nACGU\n>b\nGGCC\n")
    assert read_source(data) == [(b"a", None, b"ACGU"), (b"b", None, b"GGCC")]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        (b"acguACGU", b"ACGUACGU"),
        (b"ttTT", b"UUUU"),
        (b"AC-GU..A C\tG\n", b"ACGUACG"),
        (b"nryswkmbdhvi", b"NRYSWKMBDHVI"),
        (b"ACGU*", b"ACGU"),
        (b"ACGU*\n", b"ACGU"),
        (b"AC*GU", b"AC*GU"),
    ],
)
def test_normalises_to_rna(letters, expected):
    assert normalise_one(letters) == expected


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (b"ACGU" * 4, None),
        (b"ACGU" * 2048, None),
        (b"", "empty"),
        (b"ACGU" * 3 + b"ACG", "too_short"),
        (b"ACGU" * 2048 + b"A", "too_long"),
        (b"ACGU" * 4 + b"E", "letters"),
        (b"ACGU" * 4 + b"X", "letters"),
        (b"ACGU" * 4 + "é".encode(), "letters"),
        (b"E", "letters"),
        (b"A" * 18 + b"NN", None),
        (b"A" * 18 + b"NNN", "ambiguous"),
        (b"RYKMSWBDHVNIACGUACGU", "ambiguous"),
    ],
)
def test_says_why_a_sequence_is_rejected(sequence, reason):
    assert find_reason(sequence, FilterConfig()) == reason


def test_limits_are_settings():
    config = FilterConfig(min_length_nt=4, max_length_nt=5, max_ambiguous=0.5)
    verdicts = [find_reason(s, config) for s in (b"ACG", b"NNGU", b"NNNU", b"ACGUAC")]
    assert verdicts == ["too_short", None, "ambiguous", "too_long"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_length_nt": 0}, "min_length_nt must be at least 1, got 0"),
        ({"max_length_nt": 15}, "max_length_nt must be at least min_length_nt = 16 and at most"),
        ({"max_length_nt": LONGEST_NT + 1}, f"at most {LONGEST_NT}, got {LONGEST_NT + 1}"),
        ({"max_ambiguous": 1.5}, "max_ambiguous must be in 0..1, got 1.5"),
    ],
)
def test_refuses_impossible_limits(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FilterConfig(**settings)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"a", (b"a", None)),
        (b" a\t", (b"a", None)),
        (b"a rna_type=tRNA", (b"a", b"tRNA")),
        (b"a family=x rna_type=rRNA more rna_type=tRNA", (b"a", b"rRNA")),
        (b"a rna_type=", (b"a", None)),
        (b"a rna_type= rna_type=tRNA", (b"a", None)),
        (b"a not_rna_type=tRNA", (b"a", None)),
        (b"rna_type=tRNA", (b"rna_type=tRNA", None)),
        (b"", (b"", None)),
    ],
)
def test_parses_headers(tmp_path, header, expected):
    assert read(tmp_path, b">" + header + b"\nACGU\n") == [(*expected, b"ACGU")]


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"")], ids=["0", "blank", "gz"])
def test_refuses_an_empty_file(tmp_path, data):
    with pytest.raises(ValueError, match=r"in.fasta: holds no FASTA record; remove it"):
        read(tmp_path, data)


def test_refuses_what_is_not_fasta(tmp_path):
    with pytest.raises(ValueError, match=r"in.fasta, line 2: not FASTA.*begins with b'@read\\n'"):
        read(tmp_path, b"\n@read\nACGU\n+\nFFFF\n")


@pytest.mark.parametrize(
    "junk", [b"AC\x00GU", bytes(range(128, 256)) + b"\x07", b"\x7fELF"], ids=["nul", "bell", "elf"]
)
def test_binary_junk_stops_with_its_place(tmp_path, junk):
    with pytest.raises(ValueError, match=r"in.fasta, record 2, line 3: holds binary data"):
        read(tmp_path, b">a\nACGU\n>b\nACGU\n" + junk + b"\n>c\nACGU\n")


def test_a_header_may_hold_odd_characters_but_no_nul(tmp_path):
    records = read(tmp_path, ">é\x02old NCBI\nACGU\n".encode() + b">\xff latin\nACGU\n")
    assert [identifier.decode() for identifier, *_ in records] == ["é\x02old", "�"]
    with pytest.raises(ValueError, match="record 1, line 1: holds binary data"):
        read(tmp_path, b">a\x00b\nACGU\n")


def test_truncated_archive_names_file_record_line_and_cure(tmp_path):
    text = b"".join(b">r%d\n%s\n" % (n, b"ACGU" * 20) for n in range(20_000))
    packed = gzip.compress(text)
    message = (
        r"in.fasta, record (\d+), line (\d+) \(unpacked\): the gzip stream ends early: download"
    )
    with pytest.raises(ValueError, match=message) as stopped:
        read(tmp_path, packed[: len(packed) // 2])
    place = re.search(message, str(stopped.value))
    assert place
    record, line = map(int, place.groups())
    assert line in (2 * record - 1, 2 * record)
    assert 5_000 < record < 15_000
