"""Blocks against a reader that goes line by line, on text made to be awkward."""

import lzma
import random
import re

import numpy as np
import pytest

from openrinalmo.data_prep.filters import (
    REJECT_REASONS,
    FilterConfig,
    find_reject_reasons,
    normalise,
    select_records,
)
from openrinalmo.data_prep.inputs import fasta
from openrinalmo.data_prep.inputs.fasta import iter_fasta_blocks
from support.slow_fasta import Refused, judge_slowly, normalise_slowly, read_slowly

PIECES = [
    *(
        b">",
        b"\n",
        b"\n>",
        b"\n>",
        b"\n>",
        b"\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b"-",
        b".",
        b"*",
        b"ACGU",
    ),
    *(b"acgt", b"GGGGCCCC", b"N", b"ryk", b"X", b"E", b"\xc3\xa9", b"\xff", b"\x0b", b"\x0c", b"I"),
    *(b"id", b" rna_type=tRNA", b" rna_type=", b"rna_type=x", b"\x85", b"\xc2\xa0", b"AC" * 20),
]
ODD = [b"\0", b"\x01", b"\x1c", b"\x1f", b"\x7f"]
PLAIN = [piece for piece in PIECES if re.fullmatch(rb"[\n -~]+", piece)]
WORDS = [b"\n>id", b"\n>id rna_type=tRNA", b"\n", b"rna_type=rRNA ", b"rna_type", b"=", b"  "]


def draw_text(rng):
    pieces = rng.choice([PIECES, [*PIECES, *ODD], [*PLAIN, *WORDS], [*PLAIN, *WORDS]])
    start = rng.choice([b">a", b">", b"\n\n >"[:2] + b">b", b" \n>"])
    return start + b"".join(rng.choices(pieces, k=rng.randint(0, 60)))


def read_blocks(tmp_path, data):
    path = tmp_path / "in.fasta"
    path.write_bytes(data)
    return list(iter_fasta_blocks(path))


def flatten(blocks):
    rows = []
    for block in blocks:
        assert len(block.ids) == len(block.rna_types) == len(block.ends)
        assert block.first_number == len(rows) + 1
        pieces = np.split(block.letters, block.ends)
        assert not len(pieces.pop()), "letters that belong to no record"
        rows += zip(block.ids, block.rna_types, (p.tobytes() for p in pieces), strict=True)
    return rows


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 21])
def test_any_text_gives_what_line_by_line_gives(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(fasta, "BLOCK_BYTES", block_bytes)
    rng = random.Random(block_bytes)
    refusals = 0
    for _ in range(500):
        data = draw_text(rng)
        try:
            expected = read_slowly(data)
        except Refused as refused:
            number, line = refused.args
            place = f"record {number}, line {line}: holds binary" if number else f"line {line}: not"
            with pytest.raises(ValueError, match=f"in.fasta, {place}"):
                read_blocks(tmp_path, data)
            refusals += 1
            continue
        rows = flatten(read_blocks(tmp_path, data))
        assert [
            (i.decode(errors="replace"), t and t.decode(), normalise_slowly(s)) for i, t, s in rows
        ] == [(r.id, r.rna_type, normalise_slowly(r.letters)) for r in expected], data
    assert 10 < refusals < 400


@pytest.mark.parametrize("seed", range(5))
def test_filters_judge_as_one_by_one(seed):
    rng = random.Random(seed)
    letters = [
        b"".join(rng.choices([*PIECES, b"ACGU" * 5], k=rng.randint(0, 5))) for _ in range(500)
    ]
    letters = [text.replace(b">", b"") for text in letters] + [b"*", b"**", b"A" * 16 + b"*", b""]
    config = FilterConfig(min_length_nt=4, max_length_nt=50, max_ambiguous=0.25)
    ends = np.cumsum([len(text) for text in letters])
    joined, ends = normalise(np.frombuffer(b"".join(letters), np.uint8), ends)
    reasons = find_reject_reasons(joined, ends, config)
    sequences = [piece.tobytes() for piece in np.split(joined, ends)[:-1]]
    assert sequences == [normalise_slowly(text) for text in letters]
    expected = [judge_slowly(sequence, 4, 50, 0.25) for sequence in sequences]
    assert [(None, *REJECT_REASONS)[reason] for reason in reasons] == expected
    assert set(expected) == {None, *REJECT_REASONS}
    joined, ends = select_records(joined, ends, reasons == 0)
    kept = [piece.tobytes() for piece in np.split(joined, ends)[:-1]]
    assert kept == [s for s, reason in zip(sequences, expected, strict=True) if reason is None]


def test_a_huge_record_is_shortened_and_its_verdict_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "LONGEST_NT", 100)
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 64)
    config = FilterConfig(max_length_nt=100)
    tails = {
        "plain": b"ACGU" * 400,
        "stop": b"ACGU" * 400 + b"*",
        "stop inside": b"ACGU" * 200 + b"*" + b"ACGU" * 200,
        "stop inside and at the end": b"ACGU" * 200 + b"*" + b"ACGU" * 200 + b"*",
        "two stops": b"ACGU" * 400 + b"*" * 2,
        "wrong letter": b"ACGU" * 200 + b"E" + b"ACGU" * 200,
        "gaps": b"-" * 3000 + b"ACGU" * 5,
        "wrapped": b"ACGUACGU\n" * 200,
    }
    data = b"".join(b">%s\n%s\n" % (k.encode(), v) for k, v in tails.items())
    blocks = read_blocks(tmp_path, data)
    assert max(len(block.letters) for block in blocks) < 400
    sequences = [
        normalise(np.frombuffer(letters, np.uint8), np.array([len(letters)]))
        for _, _, letters in flatten(blocks)
    ]
    verdicts = [find_reject_reasons(*sequence, config)[0] for sequence in sequences]
    expected = [judge_slowly(normalise_slowly(text), 16, 100, 0.1) for text in tails.values()]
    assert [(None, *REJECT_REASONS)[number] for number in verdicts] == expected
    line = data.count(b"\n") + 1
    with pytest.raises(ValueError, match=f"record 9, line {line}: holds binary"):
        read_blocks(tmp_path, data + b">binary\nACGU\0\n")


def test_refuses_a_header_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "LONGEST_NT", 100)
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 64)
    with pytest.raises(ValueError, match=r"record 2, line 3: its header is longer than 100 bytes"):
        read_blocks(tmp_path, b">a\nACGU\n>" + b"b" * 1000)


def test_blocks_do_not_depend_on_the_packing(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 1000)
    data = b"".join(b">r%d\n%s\n" % (n, b"ACGU" * (n % 30)) for n in range(500))
    plain = read_blocks(tmp_path, data)
    assert [b.first_number for b in read_blocks(tmp_path, lzma.compress(data))] == [
        b.first_number for b in plain
    ]
    assert len(plain) > 20
