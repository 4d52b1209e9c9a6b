"""The generator against what its corpora say of themselves, read slowly."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
import zstandard

import make_corpus
from make_corpus import Corpus, CorpusConfig, write_corpus
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from templates import LETTERS, read_templates

COMPLEMENT = str.maketrans("ACGURYKMBVDH", "UGCAYRMKVBHD")


@pytest.fixture(scope="module")
def templates():
    return read_templates([SAMPLE_FASTA])


def read_fasta(path):
    """Return headers and sequences."""
    lines = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode().split()
    assert [line[0] for line in lines[:2]] == [">", "r"]
    return lines[0::3], lines[1::3], lines[2::3]


def test_truth_is_what_the_file_holds(tmp_path, templates):
    path = tmp_path / "corpus.fasta.zst"
    config = CorpusConfig(num_records=3000, seed=3, reverse_complements=0.01)
    truth = write_corpus(path, templates, config)
    assert json.loads((tmp_path / "corpus.fasta.zst.json").read_text()) == truth
    ids, types, sequences = read_fasta(path)
    assert len(set(ids)) == len(sequences) == truth["records"] == 3000
    assert len(set(sequences)) == truth["unique"]
    assert sum(map(len, sequences)) == truth["nt"]
    records = Counter(name.removeprefix("rna_type=") for name in types)
    assert records == {name: row["records"] for name, row in truth["rna_types"].items()}
    assert 3000 - len(set(sequences)) >= truth["duplicates"] > 200
    flips = len({s.translate(COMPLEMENT)[::-1] for s in sequences} & set(sequences))
    assert flips >= truth["reverse_complements"] > 10
    assert 250 < truth["fragments"] < 650
    assert not set("".join(sequences)) - set(LETTERS.decode())
    assert not list(tmp_path.glob("*.partial"))


def test_a_seed_gives_one_corpus_and_another_gives_another(tmp_path, templates, monkeypatch):
    def make(name, seed):
        write_corpus(tmp_path / name, templates, CorpusConfig(num_records=500, seed=seed))
        return (tmp_path / name).read_bytes()

    first = make("a", 1)
    monkeypatch.setattr(make_corpus, "BLOCK_RECORDS", 100)
    assert read_fasta(tmp_path / "a") == (make("b", 1) and read_fasta(tmp_path / "b"))
    assert make("c", 2) != first


def test_members_are_their_template_changed_as_drawn(templates):
    """Without indels, cuts and copies a record is its template with letters substituted."""
    real = {
        templates.codes[start : start + length].tobytes()
        for start, length in zip(templates.starts, templates.lengths, strict=True)
    }
    shares = {}
    for change in (0.0, 0.3):
        config = CorpusConfig(
            num_records=2000,
            duplicates=0,
            reverse_complements=0,
            fragments=0,
            max_founder_change=change,
            max_member_change=0,
        )
        codes = np.zeros(256, np.uint8)
        codes[list(LETTERS)] = np.arange(16) << 4
        drawn = [
            codes[list(sequence)].tobytes()
            for sequences, _, _ in Corpus(templates, config).iter_blocks()
            for sequence in sequences
        ]
        shares[change] = sum(sequence in real for sequence in drawn) / len(drawn)
    assert shares[0.0] > 0.45, "those without an indel are real: seven tenths of seven tenths"
    assert shares[0.3] < 0.3


def test_weights_are_shares_of_the_corpus(tmp_path):
    for name, letter in (("a", "A"), ("b", "C")):
        (tmp_path / f"{name}.fasta").write_text(f">x\n{letter * 40}\n")
    config = CorpusConfig(num_records=4000, records_per_founder=0.1)
    templates = read_templates([tmp_path / "a.fasta", tmp_path / "b.fasta"], weights=[3, 1])
    blocks = list(Corpus(templates, config).iter_blocks())
    counts = np.bincount(np.concatenate([types for _, types, _ in blocks]), minlength=2)
    assert templates.rna_types == ["a", "b"]
    assert counts[0] / counts.sum() == pytest.approx(0.75, abs=0.1)
    with pytest.raises(ValueError, match="1 weights for 2 files"):
        read_templates([tmp_path / "a.fasta", tmp_path / "b.fasta"], weights=[1])


def test_the_entry_prints_the_truth(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_corpus.py", "50", str(tmp_path / "c.fasta.zst")])
    make_corpus.main()
    assert json.loads(capsys.readouterr().out)["records"] == 50
