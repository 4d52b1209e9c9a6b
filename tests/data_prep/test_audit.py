import csv
import gzip
import json
import os
import random
import re
import xml.etree.ElementTree as ET

import pytest

from openrinalmo.data_prep import audit
from openrinalmo.data_prep.audits.audit_lines import find_audit_line
from openrinalmo.data_prep.audits.audit_page import _count_bands
from openrinalmo.data_prep.audits.cmsearch import have_thresholds, label_families, read_best_models
from openrinalmo.data_prep.inspection.identity import reverse_complement
from openrinalmo.data_prep.mmseqs import find_mmseqs
from openrinalmo.data_prep.programs import SCRATCH_PREFIX
from openrinalmo.data_prep.shards import hash_file, read_manifest, write_manifest
from openrinalmo.pipeline.downstream.structures.records import hash_structures
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, mutate
from support.tiny_data import write_tiny_data


def write_table(path, rows, columns=("id", "family", "sequence")):
    lines = ["\t".join(row) for row in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def planted(tmp_path):
    """A corpus of 30 strangers and five planted records, and a benchmark of two families."""
    rng = random.Random(0)
    strangers = [draw_sequence(rng, 150) for _ in range(30)]
    copy, antisense, relative, far, cut, alone = (draw_sequence(rng, 150) for _ in range(6))
    records = [copy, reverse_complement(antisense.encode()).decode(), relative, far, cut[:75]]
    clusters = [
        [(f"r{n}", s, "tRNA" if n > 29 else "x")] for n, s in enumerate(strangers + records)
    ]
    write_tiny_data(tmp_path / "data", train=clusters[:32], validation=clusters[32:])
    benchmark = write_table(
        tmp_path / "bench.tsv",
        [
            ("a1", "five", copy.replace("U", "T").lower()),
            ("a2", "five", copy),
            ("a3", "five", antisense),
            ("b1", "six", mutate(rng, relative, identity=0.85)),
            ("b2", "six", mutate(rng, far, identity=0.95)),
            ("b3", "six", cut),
            ("b4", "six", alone),
            ("b5", "six", "GGGGGACCCCCAAAAA"),
        ],
    )
    return tmp_path / "data", benchmark


def run(corpus, benchmark, out, *flags):
    files = benchmark if isinstance(benchmark, list) else [benchmark]
    arguments = [corpus, "--benchmarks", *files, "--out", out, "--threads", 1, *flags]
    audit.main([str(argument) for argument in arguments])
    return json.loads((out / "audit.json").read_text())


@requires_mmseqs
def test_counts_and_tables_are_those_of_the_plants(planted, tmp_path, capsys):
    corpus, benchmark = planted
    out = tmp_path / "out"
    report = run(corpus, benchmark, out)
    rows = {row["family"]: row for row in report["rows"]}
    expected = {  # sequences, distinct, identical, >= .7 .8 .9 1.0, antisense, not searchable
        "five": (3, 2, 3, 3, 3, 3, 3, 1, 0),
        "six": (5, 5, 0, 2, 2, 1, 0, 0, 1),
        "all": (8, 7, 3, 5, 5, 4, 3, 1, 1),
    }
    keys = ["sequences", "distinct", "identical", *(f"identity_{t}" for t in (0.7, 0.8, 0.9, 1.0))]
    keys += ["antisense", "not_searchable"]
    assert {f: tuple(row[key] for key in keys) for f, row in rows.items()} == expected
    assert sum(rows["all"]["nearness_tenths"]) == 8

    neighbours = {row["id"]: row for row in read_rows(out / "neighbours.tsv")}
    assert [neighbours[f"a{n}"]["record_id"] for n in (1, 2, 3)] == ["r30", "r30", "r31"]
    assert [neighbours[f"a{n}"]["strand"] for n in (1, 2, 3)] == ["+", "+", "-"]
    assert neighbours["b1"]["record_split"] == "validation"
    assert neighbours["b1"]["record_rna_type"] == "tRNA"
    assert float(neighbours["b1"]["identity"]) == pytest.approx(0.85, abs=0.03)
    assert float(neighbours["b3"]["coverage"]) == pytest.approx(0.5, abs=0.03)
    assert float(neighbours["b3"]["record_coverage"]) == pytest.approx(1, abs=0.03)
    assert neighbours["b5"]["status"] == "not_searchable"
    assert [row["family"] for row in read_rows(out / "families.tsv")] == ["all", "six", "five"]
    assert re.search(r"five +3 +100.0% +100.0%", capsys.readouterr().out)
    assert not list(out.glob("*.partial"))
    assert {path.name for path in out.iterdir() if path.is_dir()} == set()


@requires_mmseqs
def test_the_line_is_found_by_the_file_until_the_corpus_changes(planted, tmp_path, caplog):
    corpus, benchmark = planted
    (entry,) = run(corpus, benchmark, tmp_path / "one")["files"]
    assert re.fullmatch(
        r"audit:[0-9a-f]{6}\|corpus:[0-9a-f]{8}\|benchmark:[0-9a-f]{8}\|id>=0.8&cov>=0.8:62.5%"
        r"\|unsearched:12.5%\|k:9\|mmseqs:[0-9a-f]{8}\|v:.*",
        entry["line"],
    )
    assert find_audit_line(corpus, hash_file(benchmark)) == entry["line"]
    assert find_audit_line(corpus, "0" * 64) is None
    path = corpus / "audits" / f"{hash_file(benchmark)}.json"
    whole = path.read_text()
    path.write_text(whole.replace("62.5%", "00.0%"))
    assert find_audit_line(corpus, hash_file(benchmark)) is None
    assert f"{path} is damaged: its content does not have its seal_sha256" in caplog.text
    path.write_text(whole)
    (again,) = run(corpus, benchmark, tmp_path / "two")["files"]
    assert again["line"] == entry["line"]
    for name in ("audit.json", "neighbours.tsv", "families.tsv", "audit.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    write_manifest(corpus, {**read_manifest(corpus), "changed": True})
    assert find_audit_line(corpus, hash_file(benchmark)) is None


def test_a_folder_of_structures_is_found_by_its_evaluation(planted, tmp_path):
    corpus, _ = planted
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("x", "y"):
        (folder / f"{name}.dbn").write_text(f">{name}1\nACGU\n....\n>{name}2\nACG\n...\n")
    (folder / "z.fa").write_text(">z\nACGUA\n")
    report = run(corpus, folder, tmp_path / "out", "--exact-only")
    assert [row["benchmark"] for row in report["rows"] if row["family"] == "all"] == ["x", "y", "z"]
    assert [file["name"] for file in report["files"]] == ["x", "y", "z", "set/"]
    assert [file["counts"]["sequences"] for file in report["files"]] == [2, 2, 1, 4]
    assert find_audit_line(corpus, hash_structures(folder)) == report["files"][3]["line"]
    (folder / "words.csv").write_text("words\n")
    report = run(corpus, folder, tmp_path / "out", "--exact-only")
    assert [file["name"] for file in report["files"]] == ["x", "y", "z"]
    assert len(report["skipped"]) == 1


@requires_mmseqs
def test_chance_makes_no_relatives_of_short_sequences(tmp_path):
    rng = random.Random(1)
    records = [[(f"r{n}", draw_sequence(rng, 900), "x")] for n in range(200)]
    corpus = write_tiny_data(tmp_path / "data", train=records[:150], validation=records[150:])
    rows = [(f"q{n}", f"nt{nt}", draw_sequence(rng, nt)) for nt in (20, 60) for n in range(100)]
    report = run(corpus, write_table(tmp_path / "bench.tsv", rows), tmp_path / "out")
    found = {row["family"]: row for row in report["rows"]}
    keys = ("identity_0.7", "antisense", "none", "not_searchable")
    assert [found["nt20"][key] for key in keys] == [0, 0, 0, 100]
    assert [found["nt60"][key] for key in keys[1:]] == [0, 100, 0]
    table = read_rows(tmp_path / "out" / "neighbours.tsv")
    assert sum(float(row["identity_at_coverage"] or 0) >= 0.7 for row in table[:100]) > 10
    assert [sum(_count_bands(row)) for row in report["rows"]] == [200, 100, 100]


def test_exact_only_needs_no_mmseqs(planted, tmp_path, monkeypatch, capsys):
    corpus, benchmark = planted
    monkeypatch.setattr(audit, "find_mmseqs", lambda: pytest.fail("looked for MMseqs2"))
    report = run(corpus, benchmark, tmp_path / "out", "--exact-only")
    row = report["rows"][0]
    assert (row["identical"], row["identity_1.0"], row["not_searchable"]) == (3, 3, 5)
    assert "identical:37.5%" in report["files"][0]["line"]
    assert "without MMseqs2" in capsys.readouterr().out


def test_the_page_stands_alone_and_escapes(planted, tmp_path):
    corpus, _ = planted
    table = write_table(tmp_path / "odd.tsv", [("x", "<b>&", "ACGU" * 10), ("y", "q", "ACGG" * 9)])
    run(corpus, table, tmp_path / "out", "--exact-only")
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert not re.search(r'(src|href)="|url\(|@import', page)
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        assert float(ET.fromstring(picture).attrib["width"]) > 0


def test_families_of_models_replace_those_of_the_file(planted, tmp_path, monkeypatch):
    corpus, benchmark = planted
    (tmp_path / "x.cm").write_text("INFERNAL1/a\n")

    def label(sequences, models, folder, *, threads):
        return ["RF00001" if len(sequence) > 100 else None for sequence in sequences]

    monkeypatch.setattr(audit, "label_families", label)
    report = run(corpus, benchmark, tmp_path / "out", "--exact-only", "--cm", tmp_path / "x.cm")
    assert {r["family"]: r["sequences"] for r in report["rows"]} == {"all": 8, "RF00001": 7, "-": 1}
    assert report["files"][0]["families_from"].startswith("cmsearch, models ")


def test_best_model_of_each_sequence():
    table = """#target name accession query name accession mdl from to from to strand
4 - tRNA RF00005 cm 1 71 1 73 + no 1 0.6 0.0 50.1 1e-9 ! -
4 - tRNA-Sec RF01852 cm 1 71 1 73 + no 1 0.6 0.0 61.0 1e-9 ! two words
1 - mine - cm 1 71 1 73 + no 1 0.6 0.0 20.5 1e-4 ! -
#
"""
    assert read_best_models(table, 5) == [None, "mine", None, None, "RF01852"]


def test_thresholds_count_if_every_model_has_one(tmp_path):
    models = tmp_path / "x.cm"
    rfam = "INFERNAL1/a [1.1.4]\nNAME x\nGA       16.00\nCM\n//\nHMMER3/f\nNAME x\n//\n"
    models.write_text(rfam * 2)
    assert have_thresholds(models)
    models.write_text(rfam + rfam.replace("GA       16.00\n", ""))
    assert not have_thresholds(models)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coverage", "80"], r"--coverage must be in \(0, 1\], got 80.0"),
        (["--cm", "none.cm"], r"--cm: none.cm is not a file"),
        (["--kmer-nt", "30"], r"kmer_nt must be in 7..15, got 30"),
        (["--sequence-column", "letters"], r"bench.tsv: no column 'letters' among id, family, seq"),
    ],
)
def test_refuses_with_the_cure(planted, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        run(*planted, tmp_path / "out", *flags)


def test_a_packed_benchmark_counts(planted, tmp_path):
    corpus, benchmark = planted
    packed = tmp_path / "again.tsv.gz"
    packed.write_bytes(gzip.compress(benchmark.read_bytes()))
    report = run(corpus, [benchmark, packed], tmp_path / "out", "--exact-only")
    assert [file["name"] for file in report["files"]] == ["bench", "again"]
    rows = [{k: v for k, v in r.items() if k != "benchmark"} for r in report["rows"]]
    assert rows[:3] == rows[3:]


@requires_mmseqs
def test_a_failed_audit_leaves_no_scratch_and_names_its_log(planted, tmp_path, monkeypatch):
    corpus, benchmark = planted
    out = tmp_path / "out"
    left = out / f"{SCRATCH_PREFIX}of-a-killed-audit"
    left.mkdir(parents=True)
    (left / "corpus.fasta").touch()
    shim = tmp_path / "bin" / "mmseqs"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n[ "$1" = search ] && exit 7\nexec {find_mmseqs()} "$@"\n')
    shim.chmod(0o700)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    words = rf"`mmseqs search` exited with 7; its last words \(all of them: {out}/mmseqs.log\)"
    with pytest.raises(SystemExit, match=words):
        run(corpus, benchmark, out)
    assert {path.name for path in out.iterdir()} == {".lock", "mmseqs.log"}


def test_cmsearch_that_fails_is_called_by_its_name(tmp_path, monkeypatch):
    binary = tmp_path / "bin" / "cmsearch"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\necho bad models\nexit 3\n")
    binary.chmod(0o700)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    (tmp_path / "x.cm").write_text("INFERNAL1/a\n")
    log = tmp_path / "out" / "cmsearch.log"
    with pytest.raises(
        RuntimeError, match=rf"`cmsearch` exited with 3.*{log}.*\n(.|\n)*bad models"
    ):
        label_families([b"ACGU"], tmp_path / "x.cm", tmp_path / "out", threads=1)
    assert [path.name for path in log.parent.iterdir()] == [log.name]
