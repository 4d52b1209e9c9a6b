import gzip
import re

import pytest

from openrinalmo.data_prep.fasta import (
    FilterConfig,
    find_reject_reason,
    iter_fasta,
    normalise,
    parse_header,
)


def read(tmp_path, data):
    path = tmp_path / "in.fasta"
    path.write_bytes(data)
    return [(record.header, normalise(record.letters)) for record in iter_fasta(path)]


def test_reads_wrapped_lines_windows_ends_and_blank_lines(tmp_path):
    records = read(tmp_path, b"\n>a first\r\nACG\r\nUAC\r\n\r\n>b\nGG\nCC")
    assert records == [("a first", b"ACGUAC"), ("b", b"GGCC")]


def test_numbers_records_and_lines(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text(">a\nAC\nGU\n>b\n>c\nAC\n")
    assert [(r.number, r.line) for r in iter_fasta(path)] == [(1, 1), (2, 4), (3, 5)]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        (b"acguACGU", b"ACGUACGU"),
        (b"ttTT", b"UUUU"),
        (b"AC-GU..A C\tG\n", b"ACGUACG"),
        (b"nryswkmbdhvi", b"NRYSWKMBDHVI"),
        (b"ACGU*", b"ACGU"),
        (b"AC*GU", b"AC*GU"),
    ],
)
def test_normalises_to_rna(letters, expected):
    assert normalise(letters) == expected


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
    assert find_reject_reason(sequence, FilterConfig()) == reason


def test_limits_are_settings():
    config = FilterConfig(min_length_nt=4, max_length_nt=5, max_ambiguous=0.5)
    verdicts = [find_reject_reason(s, config) for s in (b"ACG", b"NNGU", b"NNNU", b"ACGUAC")]
    assert verdicts == ["too_short", None, "ambiguous", "too_long"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_length_nt": 0}, "min_length_nt must be at least 1, got 0"),
        ({"max_length_nt": 15}, "max_length_nt must be at least min_length_nt = 16, got 15"),
        ({"max_ambiguous": 1.5}, "max_ambiguous must be in 0..1, got 1.5"),
    ],
)
def test_refuses_impossible_limits(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FilterConfig(**settings)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a", ("a", None)),
        ("a rna_type=tRNA", ("a", "tRNA")),
        ("a family=x rna_type=rRNA more", ("a", "rRNA")),
        ("a rna_type=", ("a", None)),
        ("a not_rna_type=tRNA", ("a", None)),
        ("", ("", None)),
    ],
)
def test_parses_headers(header, expected):
    assert parse_header(header) == expected


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"")], ids=["0", "blank", "gz"])
def test_refuses_an_empty_file(tmp_path, data):
    with pytest.raises(ValueError, match=r"in.fasta: holds no FASTA record; remove it"):
        read(tmp_path, data)


def test_refuses_what_is_not_fasta(tmp_path):
    with pytest.raises(ValueError, match=r"in.fasta, line 2: not FASTA.*begins with b'@read"):
        read(tmp_path, b"\n@read\nACGU\n+\nFFFF\n")


@pytest.mark.parametrize(
    "junk", [b"AC\x00GU", bytes(range(128, 256)) + b"\x07", b"\x7fELF"], ids=["nul", "bell", "elf"]
)
def test_binary_junk_stops_with_its_place(tmp_path, junk):
    with pytest.raises(ValueError, match=r"in.fasta, record 2, line 3: holds binary data"):
        read(tmp_path, b">a\nACGU\n>b\nACGU\n" + junk + b"\n>c\nACGU\n")


def test_a_header_may_hold_odd_characters_but_no_nul(tmp_path):
    records = read(tmp_path, ">é\x01old NCBI\nACGU\n".encode() + b">\xff latin\nACGU\n")
    assert [header for header, _ in records] == ["é\x01old NCBI", "� latin"]
    with pytest.raises(ValueError, match="record 1, line 1: holds binary data"):
        read(tmp_path, b">a\x00b\nACGU\n")


def test_truncated_archive_names_file_record_line_and_cure(tmp_path):
    text = b"".join(b">r%d\n%s\n" % (n, b"ACGU" * 20) for n in range(20_000))
    packed = gzip.compress(text)
    message = r"in.fasta, record \d+, line \d+ \(unpacked\): the gzip stream ends early: download"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, packed[: len(packed) // 2])
