import csv
import importlib.resources
import lzma
import os
import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

from openrinalmo.data_prep import sample
from openrinalmo.data_prep.sample import SAMPLE_FASTA, SAMPLE_STRUCTURES

CLOSING = {")": "(", "]": "[", "}": "{"}
README = importlib.resources.files(sample).joinpath("README.md").read_text()
INFERNAL_SOURCE = os.environ.get("INFERNAL_SOURCE")


@pytest.fixture(scope="module")
def records():
    with lzma.open(SAMPLE_FASTA, "rt") as file:
        text = file.read()
    found = re.findall(r">(\S+) family=(\S+) rna_type=(\S+)\n([A-Z]+)\n", text)
    assert "".join(f">{i} family={f} rna_type={t}\n{s}\n" for i, f, t, s in found) == text
    return found


@pytest.fixture(scope="module")
def structures():
    with lzma.open(SAMPLE_STRUCTURES, "rt", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def pair_table(structure):
    """Return the partner of each paired position; every bracket kind is nested in itself."""
    stacks = {"(": [], "[": [], "{": []}
    partner = {}
    for position, symbol in enumerate(structure):
        if symbol in stacks:
            stacks[symbol].append(position)
        elif symbol != ".":
            left = stacks[CLOSING[symbol]].pop()
            partner[left], partner[position] = position, left
    assert not any(stacks.values())
    return partner


def test_both_files_are_well_under_a_megabyte():
    assert SAMPLE_FASTA.stat().st_size + SAMPLE_STRUCTURES.stat().st_size < 300_000


def test_sequences_are_unique_rna(records):
    assert len(records) == 3498
    assert len({id_ for id_, *_ in records}) == len({seq for *_, seq in records}) == len(records)
    assert set("".join(seq for *_, seq in records)) <= set("ACGURYKMSWBDHVN")


def test_structures_are_balanced_and_hairpins_possible(structures):
    for row in structures:
        assert len(row["structure"]) == len(row["sequence"])
        partner = pair_table(row["structure"])
        assert all(abs(left - right) > 3 for left, right in partner.items())


def test_structures_belong_to_records(records, structures):
    known = {(id_, family, seq) for id_, family, _, seq in records}
    rows = {(row["id"], row["family"], row["sequence"]) for row in structures}
    assert len(rows) == len(structures)
    assert rows < known


def test_pairs_are_mostly_canonical(structures):
    pairs = Counter()
    for row in structures:
        for left, right in pair_table(row["structure"]).items():
            pairs[row["sequence"][left] + row["sequence"][right]] += left < right
    canonical = sum(pairs[p] for p in ("AU", "UA", "CG", "GC", "GU", "UG"))
    assert 0.93 < canonical / pairs.total() < 0.95


def test_known_trna_has_its_cloverleaf(structures):
    structure = next(r["structure"] for r in structures if r["id"] == "CP001399.1/1433538-1433611")
    acceptor, d_arm, anticodon, t_arm = 7, 4, 5, 5
    arms = ["(" * n + "." * loop + ")" * n for n, loop in ((d_arm, 9), (anticodon, 7), (t_arm, 7))]
    inside = f"..{arms[0]}.{arms[1]}.....{arms[2]}"
    assert structure == "(" * acceptor + inside + ")" * acceptor + "."


def test_rnase_p_keeps_its_pseudoknots(structures):
    with_knots = {row["family"] for row in structures if "[" in row["structure"]}
    assert with_knots == {"RNaseP_bact_a"}


def test_counts_are_as_documented(records, structures):
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (\d+) \| (\d+) \| \d+ \|", README, re.MULTILINE)
    sequences = Counter((family, rna_type) for _, family, rna_type, _ in records)
    with_structure = Counter(row["family"] for row in structures)
    documented = {(family, rna_type): int(number) for family, rna_type, number, _ in rows}
    assert documented == sequences
    assert {row[0]: int(row[3]) for row in rows if int(row[3])} == with_structure
    assert len(sequences) == 11


@pytest.mark.skipif(not INFERNAL_SOURCE, reason="INFERNAL_SOURCE names no Infernal 1.1.4 source")
def test_regeneration_is_byte_identical(tmp_path, monkeypatch, capsys):
    script = SAMPLE_FASTA.with_name("build_sample.py")
    monkeypatch.setattr(sys, "argv", [str(script), str(INFERNAL_SOURCE), "--out", str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    for product in (SAMPLE_FASTA, SAMPLE_STRUCTURES):
        assert (tmp_path / product.name).read_bytes() == Path(product).read_bytes()
    documented = {tuple(re.split(r" *\| *", line)[1:-1]) for line in README.splitlines()}
    for line in capsys.readouterr().out.splitlines():
        cells = line.split("\t")
        assert any(set(cells) - {""} <= set(row) for row in documented), line
