"""Broken input ends in right counts or in one clear line, never in anything else.

Hundreds of cases here, thousands under `exhaustive`; each has its own seed, which a failure
names, and leaves its bytes in the test's folder.
"""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrinalmo.data_prep.metadata import MetadataConfig, read_rna_types
from openrinalmo.data_prep.prepare import main
from openrinalmo.data_prep.shards import hash_manifest, verify_shards
from support.broken_fasta import draw_fasta, mutate_bytes, mutate_text
from support.fuzzing import (
    EXPECTED_ERRORS,
    MAX_MESSAGE,
    PACKERS,
    check_case,
    check_message,
    expect,
    limited,
    unpack,
)
from support.mmseqs import requires_mmseqs
from support.planted import ORIGINALS, prepare
from support.sequences import format_fasta

CHUNK = 100
"""Cases in one test."""


def chunks(in_ci, slow):
    """Number the chunks of cases; those beyond `in_ci` are exhaustive."""
    return [
        *range(in_ci),
        *(pytest.param(i, marks=pytest.mark.exhaustive) for i in range(in_ci, slow)),
    ]


def fuzz(chunk, folder, draw, **settings):
    """Check every case of a chunk; `draw(rng)` gives its bytes and what must come of them."""
    ends = Counter()
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        data, expected = draw(random.Random(number))
        try:
            ends[check_case(data, folder, expected, **settings)] += 1
        except BaseException as error:
            error.add_note(f"case {number}; its bytes: {folder / 'case.fasta'}")
            raise
    return ends


@pytest.mark.parametrize("chunk", chunks(1, 20))
@pytest.mark.parametrize("packer", PACKERS)
def test_legal_files_give_the_counts_of_the_slow_reading(tmp_path, packer, chunk):
    def draw(rng):
        texts = [draw_fasta(rng) for _ in range(rng.choice([1, 1, 2]))]
        text = b"".join(texts)
        return b"".join(map(PACKERS[packer], texts)), expect(text, "case.fasta")

    assert fuzz(chunk, tmp_path, draw)["read"] > CHUNK / 3


@pytest.mark.parametrize("chunk", chunks(5, 50))
def test_broken_text_is_counted_or_refused(tmp_path, chunk):
    def draw(rng):
        text = draw_fasta(rng)
        for _ in range(rng.choice([1, 1, 2, 4])):
            text = mutate_text(rng, text)
        return text, expect(text, "case.fasta")

    assert fuzz(chunk, tmp_path, draw).keys() == {"read", "refused"}


@pytest.mark.parametrize("chunk", chunks(1, 40))
@pytest.mark.parametrize("packer", PACKERS)
def test_broken_archives_are_never_misread(tmp_path, packer, chunk):
    pack = PACKERS[packer]

    def draw(rng):
        data = mutate_bytes(rng, pack(draw_fasta(rng, max_records=40)), pack(draw_fasta(rng)))
        text = unpack(data)
        return data, None if text is None else expect(text, "case.fasta")

    # Plain text is all that it says; an archive that the standard library reads may be refused.
    assert fuzz(chunk, tmp_path, draw, may_refuse=packer != "plain")["refused"]


@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "plain"])
def test_every_cut_of_an_archive_is_refused(tmp_path, packer):
    packed = PACKERS[packer](format_fasta([("a", ORIGINALS[0]), ("b", ORIGINALS[1])]).encode())
    for length in range(len(packed)):
        check_case(packed[:length], tmp_path, None)


headers = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40)
sequences = st.text("ACGUTacgutNRY-. *", max_size=60) | st.text("ACGU", min_size=14, max_size=18)
files = st.lists(
    st.one_of(
        headers.map(lambda header: f">{header}".encode()),
        sequences.map(str.encode),
        st.binary(max_size=12),
        st.sampled_from([b"", b"\r", b">", b"@r", b"+"]),
    ),
    max_size=12,
).map(b"\n".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hypothesis")


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(text=st.just(b">a\nACGUACGUACGUACGU\n").flatmap(lambda first: files.map(first.__add__)))
def test_lines_of_any_kind_after_a_record(folder, text):
    check_case(text, folder, expect(text, "case.fasta"))


def check_lines(text, folder):
    """A text that begins with `@` may be refused: it may be taken for FASTQ."""
    check_case(text, folder, expect(text, "case.fasta"), may_refuse=text.startswith(b"@"))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(text=files)
def test_lines_of_any_kind(folder, text):
    check_lines(text, folder)


@pytest.mark.exhaustive
@settings(max_examples=20_000, deadline=None, database=None)
@given(text=files)
def test_many_lines_of_any_kind(folder, text):
    check_lines(text, folder)


@pytest.mark.parametrize("chunk", chunks(1, 20))
def test_broken_tables_of_types_are_read_or_refused_by_name(tmp_path, chunk):
    path = tmp_path / "types.tsv"
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        rng = random.Random(number)
        types = rng.choices([b"tRNA", b"", b"NA", b"Gene; rRNA"], k=20)
        table = b"id\ttype\n" + b"".join(b"r%d\t%s\n" % row for row in enumerate(types))
        pack = rng.choice(list(PACKERS.values()))
        path.write_bytes(mutate_bytes(rng, rng.choice([pack(table), table]), pack(table)))
        try:
            with limited():
                rna_types = read_rna_types(MetadataConfig(path=path))
        except EXPECTED_ERRORS as error:
            check_message(error, path)
        except BaseException as error:
            error.add_note(f"case {number}; its bytes: {path}")
            raise
        else:
            assert len(rna_types.find([b"r%d" % row for row in range(20)])) == 20


@requires_mmseqs
@pytest.mark.parametrize("chunk", chunks(1, 10))
def test_the_entry_ends_in_one_line_and_leaves_what_was_there(tmp_path, capsys, chunk):
    good = tmp_path / "good.fasta"
    good.write_text(format_fasta([(f"g{n}", sequence) for n, sequence in enumerate(ORIGINALS)]))
    out = tmp_path / "out"
    prepare(out, good)
    before = hash_manifest(out)
    path = tmp_path / "case.fasta"
    refused = 0
    for number in range(chunk * 12, chunk * 12 + 12):
        rng = random.Random(number)
        pack = rng.choice(list(PACKERS.values()))
        path.write_bytes(mutate_bytes(rng, pack(mutate_text(rng, draw_fasta(rng))), b"\0"))
        with limited(60):
            try:
                main([str(path), "--out", str(out), "--threads=1"])
            except SystemExit as stopped:
                refused += 1
                line = str(stopped.code)
                assert line.startswith("error: "), f"case {number}"
                assert len(line) < MAX_MESSAGE, f"case {number}"
                assert hash_manifest(out) == before, f"case {number}: published all the same"
                verify_shards(out)
            else:
                prepare(out, good)
                assert hash_manifest(out) == before
    assert refused
    assert "Traceback" not in capsys.readouterr().err
