import bz2
import dataclasses
import gzip
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openrinalmo.data_prep import fetch, urs_types
from openrinalmo.data_prep.downloads import sources
from openrinalmo.data_prep.downloads.fetched import fetch_sources, read_fetched
from openrinalmo.data_prep.downloads.sources import SOURCES, SourcesConfig
from openrinalmo.data_prep.downloads.transfer import DownloadConfig
from openrinalmo.data_prep.rna_types import AnnotationConfig, Annotations, read_rfam_types
from support.flaky_server import FlakyServer, error, good

QUICK = DownloadConfig(max_retries=2, stall_seconds=2, first_wait_seconds=0)


def family_row(name, rna_type, comment="c", rfam_id="id"):
    fields = [
        name,
        rfam_id,
        "2020",
        "description",
        *["x"] * 5,
        comment,
        *["x"] * 8,
        rna_type,
        "y",
        "z",
    ]
    return "\t".join(fields) + "\n"


FAMILIES = (
    family_row("RF00001", "Gene; rRNA;")
    + family_row("RF00005", "Gene; tRNA;", comment="two\\\nlines\\\tand a tab")
    + family_row("RF00012", "Gene; snRNA; snoRNA; CD-box;")
    + family_row("RF00174", "Cis-reg; riboswitch;")
    + family_row("RF01234", "Gene;")
)
MAPPING = [
    ("URS0000000001", "ENA", "GU1.1:1..2:rRNA", "77133", "rRNA", ""),
    ("URS0000000002", "ENA", "x", "9606", "misc_RNA", ""),
    ("URS0000000002", "RFAM", 'RF"00001', "9606", "tRNA", "gene\xe9"),
    ("URS0000000002", "RFAM", "RF00001", "9606", "rRNA", ""),
    ("URS000000000A", "ENA", "x", "1", "lncRNA", ""),
    ("URS000000000A", "ENA", "x", "1", "misc_RNA", ""),
    ("URS000001ABCD", "ENA", "x", "1", "misc_RNA", ""),
    ("URS0000020000", "ENA", "x", "1", "other", ""),
]
RFAM_HITS = "".join(
    f"{urs}\t{family}\t50.1\t1e-9\t1\t20\t1\t20\tsome words\n"
    for urs, family in [
        ("URS000000000A", "RF00005"),
        ("URS000001ABCD", "RF00174"),
        ("URS0000020000", "RF01234"),
        ("URS0000012345", "RF00012"),
        ("URS0000012346", "RF09999"),
    ]
)


def to_table(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode("latin-1")


def find(annotations, source, ids, length_nt=20):
    return annotations.find(source, list(ids), np.full(len(ids), length_nt))


@pytest.fixture
def annotated(tmp_path):
    (tmp_path / "map").write_bytes(gzip.compress(to_table(MAPPING)))
    (tmp_path / "rfam").write_bytes(bz2.compress(RFAM_HITS.encode()))
    (tmp_path / "family").write_bytes(gzip.compress(FAMILIES.encode()))
    return AnnotationConfig(
        id_mapping=tmp_path / "map",
        rfam_annotations=tmp_path / "rfam",
        family=tmp_path / "family",
    )


def test_types_of_rfam_families(annotated):
    assert read_rfam_types(annotated.family) == {
        "RF00001": "rRNA",
        "RF00005": "tRNA",
        "RF00012": "snoRNA",
        "RF00174": "riboswitch",
        "RF01234": "ncRNA",
    }


@pytest.mark.parametrize(
    ("name", "rna_type", "expected"),
    [
        ("Metazoa_SRP", "Gene;", "SRP_RNA"),
        ("Bacteria_small_SRP", "Gene;", "SRP_RNA"),
        ("tmRNA", "Gene;", "tmRNA"),
        ("mt-tmRNA", "Gene;", "tmRNA"),
        ("Telomerase-vert", "Gene;", "telomerase_RNA"),
        ("Sacc_telomerase", "Gene;", "telomerase_RNA"),
        ("Telomerase_Asco", "Gene;", "telomerase_RNA"),
        ("Y_RNA", "Gene;", "Y_RNA"),
        ("RNaseP_bact_a", "Gene; ribozyme;", "RNase_P_RNA"),
        ("RNaseP-T", "Gene; ribozyme;", "RNase_P_RNA"),
        ("RNase_P", "Gene; ribozyme;", "RNase_P_RNA"),
        ("RNase_MRP", "Gene; ribozyme;", "RNase_MRP_RNA"),
        ("Vault", "Gene;", "vault_RNA"),
        ("RNaseE_UTR_element", "Cis-reg;", "cis_reg"),
        ("Tymo_tRNA-like", "Cis-reg;", "cis_reg"),
        ("6S", "Gene;", "ncRNA"),
    ],
)
def test_families_that_rfam_calls_only_genes_are_known_by_name(tmp_path, name, rna_type, expected):
    (tmp_path / "family").write_text(family_row("RF00017", rna_type, rfam_id=name))
    assert read_rfam_types(tmp_path / "family") == {"RF00017": expected}


def write_hits(folder, rows):
    lines = [
        f"{urs}\t{family}\t{score}\t1e-9\t{start}\t{stop}\t1\t9\twords\n"
        for urs, family, score, start, stop in rows
    ]
    (folder / "hits").write_text("".join(lines))
    (folder / "family").write_text(FAMILIES)
    return AnnotationConfig(rfam_annotations=folder / "hits", family=folder / "family")


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_the_best_hit_counts_if_it_spans_half_of_the_sequence(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(urs_types, "CSV_BLOCK_BYTES", block_bytes)
    rows = [
        ("URS0000000001", "RF00005", 30.5, 1, 72),  # the leftmost is not the best
        ("URS0000000001", "RF00001", 90.5, 80, 199),
        ("URS0000000001", "RF00012", 90.5, 20, 140),  # nor the last of equals
        ("URS0000000002", "RF00005", 50, 51, 100),
        ("URS0000000003", "RF00005", 50, 51, 99),
        ("URS0000000004", "RF00005", 50, 100, 51),
        ("URS0000000005", "RF09999", 99, 1, 100),  # of a family that the table has not
        ("URS0000000005", "RF00174", -5, 1, 100),
    ]
    annotations = Annotations(write_hits(tmp_path, rows))
    ids = [f"URS{number:010X}".encode() for number in range(1, 6)]
    expected = [b"rRNA", b"tRNA", None, b"tRNA", b"riboswitch"]
    assert find(annotations, "x", ids, length_nt=100) == expected
    assert find(annotations, "x", ids, length_nt=250) == [None] * 5


def test_the_best_of_many_hits_is_that_of_a_dictionary(tmp_path, monkeypatch):
    monkeypatch.setattr(urs_types, "CSV_BLOCK_BYTES", 5_000)
    draw = random.Random(1)
    families = {"RF00001": b"rRNA", "RF00005": b"tRNA", "RF00174": b"riboswitch"}
    rows, best = [], {}
    for _ in range(5_000):
        urs, score = f"URS{draw.randrange(900):010X}", draw.randrange(-20, 400) / 4
        start = draw.randrange(1, 200)
        rows.append((urs, draw.choice([*families]), score, start, start + draw.randrange(100)))
        if urs not in best or score > best[urs][2]:
            best[urs] = rows[-1]
    annotations = Annotations(write_hits(tmp_path, rows))
    ids = [f"URS{number:010X}" for number in range(1_000)]
    found = find(annotations, "x", [urs.encode() for urs in ids], length_nt=100)
    assert found == [
        families[best[urs][1]] if urs in best and best[urs][4] - best[urs][3] + 1 >= 50 else None
        for urs in ids
    ]


def test_a_hit_without_a_score_is_refused(tmp_path):
    config = write_hits(tmp_path, [("URS0000000001", "RF00005", "", 1, 72)])
    with pytest.raises(ValueError, match="hits: not a table separated by tabs: .*column.*float"):
        Annotations(config)


@pytest.mark.parametrize(
    "text", ["RF00001\tx\n", family_row("RF1", "Gene;"), family_row("RF00001", "12")]
)
def test_another_layout_of_the_family_table_is_refused(tmp_path, text):
    (tmp_path / "family").write_text(family_row("RF00002", "Gene;") + text)
    with pytest.raises(ValueError, match="family, row 2: expected a family.* column 19"):
        read_rfam_types(tmp_path / "family")


def test_types_by_identifier_and_by_file(annotated):
    found = {
        b"URS0000000001": b"rRNA",
        b"URS0000000002": b"tRNA",  # the first that tells something
        b"URS0000000002_9606": b"tRNA",
        b"URS000000000A": b"lncRNA",
        b"URS000001ABCD": b"riboswitch",  # from Rfam, since misc_RNA tells nothing
        b"URS0000020000": b"other",  # Rfam has nothing better
        b"URS0000012345": b"snoRNA",
        b"URS0000012346": None,  # a family that the table has not
        b"URS0000000003": None,
        b"URS00FFFFFFFF": None,
        b"": None,
        b"URS000000000": None,
        b"URS0000000001x": None,
        b"URS0000000001_": None,
        b"urs0000000001": None,
        b"URS000000000g": None,
        b"AB1234.1/1-99": None,
    }
    annotations = Annotations(annotated)
    assert find(annotations, "rnacentral_active.fasta.gz", found) == list(found.values())
    assert find(annotations, "x", []) == []
    ids = [b"AB1234.1/1-99", b"URS0000000001", b"URS0000020000"]
    mixed = find(annotations, "RF00005.fa.gz", ids)
    assert mixed == ["tRNA", b"rRNA", "tRNA"], "the file's family tells more than other"


def test_without_annotations_nothing_is_known():
    assert find(Annotations(AnnotationConfig()), "RF00005.fa.gz", [b"URS0000000001"]) == [None]
    with pytest.raises(ValueError, match="--rfam-annotations x names families: .*--family-table"):
        AnnotationConfig(rfam_annotations=Path("x"))


def test_many_identifiers_in_any_order_against_a_dictionary(tmp_path, monkeypatch):
    monkeypatch.setattr(urs_types, "CSV_BLOCK_BYTES", 5_000)
    draw = random.Random(0)
    types = ["rRNA", "tRNA", "misc_RNA", "other", "lncRNA"]
    rows = [
        (f"URS{draw.randrange(4_000):010X}", "DB", "x", "1", draw.choice(types), "")
        for _ in range(10_000)
    ]
    expected = {}
    for urs, *_, rna_type, _ in rows:
        if urs not in expected or (expected[urs] in types[2:4] and rna_type not in types[2:4]):
            expected[urs] = rna_type
    (tmp_path / "map").write_bytes(to_table(rows))
    annotations = Annotations(AnnotationConfig(id_mapping=tmp_path / "map"))
    ids = [f"URS{number:010X}" for number in range(4_100)]
    found = find(annotations, "x", [urs.encode() for urs in ids])
    assert found == [expected[urs].encode() if urs in expected else None for urs in ids]


def test_odd_lines_of_a_mapping_are_passed_over(tmp_path, caplog):
    rows = [*MAPPING, ("URS0000000007", "too", "few"), ("id", "a", "b", "c", "tRNA", "")]
    (tmp_path / "map").write_bytes(to_table([*rows, ("URSFFFFFFFFFF", "a", "b", "c", "x", "")]))
    Annotations(AnnotationConfig(id_mapping=tmp_path / "map"))
    assert "1 lines have not 6 columns" in caplog.text
    assert "2 lines without an identifier URS" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: 1 columns.*at least 5"),
        (b"URS0000000001,rRNA\n", "line 1: 1 columns"),
        (b"a\tb\tc\td\te\tf\n", "none of its lines has an identifier URS"),
        (gzip.compress(to_table(MAPPING))[:-9], "ends early"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path, data, message):
    (tmp_path / "map").write_bytes(data)
    with pytest.raises(ValueError, match=f"map.*{message}"):
        Annotations(AnnotationConfig(id_mapping=tmp_path / "map"))


def bsd_sum(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    done = subprocess.run(["sum", "-r", tmp_path / "x"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MIN_BYTES", {})
    fasta = gzip.compress(b">URS0000000001 x\nACGUACGUACGUACGUACGU\n")
    human = gzip.compress(b">ENST1 ncrna transcript_biotype:miRNA\nACGUACGUACGUACGU\n")
    base = "/ebi/RNAcentral/current_release"
    files = {
        f"{base}/release_notes.txt": b"RNAcentral Release 27\n2026-07-20\n",
        f"{base}/sequences/rnacentral_active.fasta.gz": fasta,
        f"{base}/id_mapping/id_mapping.tsv.gz": gzip.compress(to_table(MAPPING)),
        f"{base}/rfam/rfam_annotations.tsv.gz": gzip.compress(RFAM_HITS.encode()),
        "/ebi/Rfam/CURRENT/README": b"The Rfam database\n\nRelease 15.1\n",
        "/ebi/Rfam/CURRENT/database_files/family.txt.gz": gzip.compress(FAMILIES.encode()),
        "/ens/VERSION": b"116\n",
        "/ens/release-116/species_EnsemblVertebrates.txt": (
            b"#name\tspecies\tx\nHuman\thomo_sapiens\t1\n"
        ),
        "/ens/release-116/fasta/homo_sapiens/ncrna/CHECKSUMS": (
            f"{bsd_sum(human, tmp_path)} Homo_sapiens.GRCh38.ncrna.fa.gz\n00001 1 README\n".encode()
        ),
        "/ens/release-116/fasta/homo_sapiens/ncrna/Homo_sapiens.GRCh38.ncrna.fa.gz": human,
    }
    for line in FAMILIES.split("\n"):
        if line.startswith("RF"):
            files[f"/ebi/Rfam/CURRENT/fasta_files/{line[:7]}.fa.gz"] = fasta
    with FlakyServer(files) as running:
        yield running


@pytest.fixture
def config(server):
    return SourcesConfig(
        ebi_url=f"{server.url}/ebi/",
        ensembl_url=f"{server.url}/ens",
        ensembl_species=("homo_sapiens",),
        download=QUICK,
    )


def test_fetches_everything_and_goes_on_without_asking_again(server, config, tmp_path):
    out = tmp_path / "out"
    fetched = fetch_sources(list(SOURCES), out, config)
    assert [str(path.relative_to(out)) for path in fetched.inputs] == [
        "rnacentral-27/rnacentral_active.fasta.gz",
        *(f"rfam-15.1/RF{n:05d}.fa.gz" for n in (1, 5, 12, 174, 1234)),
        "ensembl-116/Homo_sapiens.GRCh38.ncrna.fa.gz",
    ]
    assert [fact["release"] for fact in fetched.facts] == ["27", "15.1", "116"]
    assert all(len(f["sha256"]) == 64 for fact in fetched.facts for f in fact["files"])
    annotations = Annotations(fetched.annotations)
    found = find(annotations, "RF00005.fa.gz", [b"URS0000000001", b"x"])
    assert found == [b"rRNA", "tRNA"]
    assert read_fetched(out) == fetched
    asked = len(server.requests)
    assert fetch_sources(list(SOURCES), out, config) == fetched
    again = {path for path, _ in server.requests[asked:]}
    assert all(re.search("release_notes|README|VERSION|species|CHECKSUMS", path) for path in again)
    assert not [path for path in out.rglob("*") if "partial" in path.name or "list" in path.name]


def test_without_its_server_what_is_held_is_gone_on_with(server, config, tmp_path, caplog):
    out = tmp_path / "out"
    fetched = fetch_sources(list(SOURCES), out, config)
    asked = len(server.requests)
    patient = dataclasses.replace(QUICK, max_retries=6)
    server.plan = [error(503)] * 9
    assert fetch_sources(list(SOURCES), out, dataclasses.replace(config, download=patient)) == (
        fetched
    )
    assert len(server.requests) == asked + 9
    assert "503 Service Unavailable; gave up after 3 attempts" in caplog.text
    assert "rfam: going on with release 15.1, fetched before" in caplog.text
    server.plan = [error(503)] * 9
    assert fetch_sources(list(SOURCES), out, config) == fetched
    fetched.inputs[0].unlink()
    server.plan = [error(503)] * 9
    with pytest.raises(ValueError, match="active.fasta.gz is missing or cut short: fetch"):
        fetch_sources(list(SOURCES), out, config)


@pytest.mark.parametrize("change", [{"rfam_families": ("RF00005",)}, {"ebi_url": "http://[::1]:9"}])
def test_what_other_settings_brought_does_not_serve(server, config, tmp_path, change):
    fetch_sources(["rfam"], tmp_path / "out", config)
    server.plan = [error(503)] * 9
    with pytest.raises(ConnectionError, match="gave up after 3 attempts"):
        fetch_sources(["rfam"], tmp_path / "out", dataclasses.replace(config, **change))


def test_a_damaged_ensembl_file_is_found_by_its_sum(server, config, tmp_path):
    name = next(name for name in server.files if "GRCh38" in name)
    server.files[name] = gzip.compress(b">ENST1\nACGU\n")
    with pytest.raises(ValueError, match=r"GRCh38.*damaged twice \(its sum is"):
        fetch_sources(["ensembl"], tmp_path / "out", config)


def test_a_family_without_a_file_stops_if_there_are_many(server, config, tmp_path, monkeypatch):
    del server.files["/ebi/Rfam/CURRENT/fasta_files/RF00012.fa.gz"]
    with pytest.raises(ValueError, match="1 of 6 files of rfam-15.1 are missing.*RF00012"):
        fetch_sources(["rfam"], tmp_path / "out", config)
    monkeypatch.setattr("openrinalmo.data_prep.downloads.fetched.MAX_MISSING_FAMILIES", 0.5)
    fetched = fetch_sources(["rfam"], tmp_path / "out", config)
    assert fetched.facts[0]["missing"] == ["Rfam/CURRENT/fasta_files/RF00012.fa.gz"]
    assert len(fetched.inputs) == 4


def test_a_release_that_changes_meanwhile_is_refused(server, config, tmp_path):
    def newer(handler, data):
        handler.give(data)
        server.files["/ebi/RNAcentral/current_release/release_notes.txt"] = b"Release 28.0"

    server.plan = [newer]
    with pytest.raises(ValueError, match="from release 27 to 28.0 meanwhile: run again"):
        fetch_sources(["rnacentral"], tmp_path / "out", config)


def test_a_file_too_small_to_be_a_release_is_refused(server, config, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MIN_BYTES", {"rnacentral_active.fasta.gz": 10**9})
    with pytest.raises(ValueError, match="at least 1000000000 were expected"):
        fetch_sources(["rnacentral"], tmp_path / "out", config)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nt"], "nt is not downloaded: .* as a FASTA file"),
        (["rfma"], "no source 'rfma'; there are rnacentral, rfam, ensembl"),
        (["rfam", "rfam"], "name each source once"),
        ([], "name each source once"),
    ],
)
def test_names_that_are_no_sources(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        fetch_sources(names, tmp_path)


def test_species_and_families_that_are_not_there(config, tmp_path):
    unicorn = dataclasses.replace(config, ensembl_species=("homo_sapiens", "unicorn"))
    with pytest.raises(ValueError, match=r"Ensembl 116 has no species unicorn: take them from"):
        fetch_sources(["ensembl"], tmp_path / "out", unicorn)
    last = dataclasses.replace(config, rfam_families=("RF00005", "RF99999"))
    with pytest.raises(ValueError, match=r"Rfam 15.1 has no family RF99999"):
        fetch_sources(["rfam"], tmp_path / "out", last)


def test_a_folder_that_is_not_whole_is_refused(server, config, tmp_path):
    with pytest.raises(ValueError, match=r"sources.json is missing: run .*fetch.py"):
        read_fetched(tmp_path)
    fetched = fetch_sources(["ensembl"], tmp_path / "out", config)
    fetched.inputs[0].write_bytes(b"")
    with pytest.raises(ValueError, match="ncrna.fa.gz is missing or cut short"):
        read_fetched(tmp_path / "out")


def test_a_release_page_without_a_number(server, config, tmp_path):
    server.files["/ens/VERSION"] = b"soon"
    with pytest.raises(ValueError, match="VERSION names no release: it begins with 'soon'"):
        fetch_sources(["ensembl"], tmp_path / "out", config)


def run(*arguments, expect=0):
    command = [sys.executable, fetch.__file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr


def test_the_command_lists_without_asking():
    out = run("--list")
    assert all(name in out for name in (*SOURCES, "nt", "licence"))


def test_the_command_plans_and_fetches(server, config, tmp_path):
    roots = ("--ebi-url", config.ebi_url, "--ensembl-url", config.ensembl_url)
    plan = run("ensembl", "--dry-run", "--species", "homo_sapiens", *roots)
    assert plan.splitlines() == [
        "ensembl 116",
        f"  {server.url}/ens/release-116/fasta/homo_sapiens/ncrna/Homo_sapiens.GRCh38.ncrna.fa.gz",
    ]
    out = run("ensembl", "--species", "homo_sapiens", "--out", tmp_path / "out", *roots)
    assert "ensembl 116: 1 files" in out
    assert json.loads((tmp_path / "out" / "sources.json").read_text())[0]["name"] == "ensembl"
    assert "error: nt is not downloaded" in run("nt", "--out", tmp_path, expect=1)
    server.plan = [error(404)]
    assert "error: http" in run("rfam", "--out", tmp_path, *roots, expect=1)


def test_downloads_are_one_at_a_time(server, config, tmp_path):
    open_now, most = [], []

    def count(handler, data):
        open_now.append(1)
        most.append(len(open_now))
        handler.give(data)
        open_now.pop()

    server.plan = [count] * 20
    fetch_sources(["rfam", "ensembl"], tmp_path / "out", config)
    assert max(most) == 1


def test_a_broken_transfer_is_gone_on_with_by_the_next_run(server, config, tmp_path):
    server.plan = [good(), good(sent=20), *[error(500)] * 3]
    with pytest.raises(ConnectionError, match="20 bytes are kept"):
        fetch_sources(["rnacentral"], tmp_path / "out", config)
    assert len(fetch_sources(["rnacentral"], tmp_path / "out", config).inputs) == 1
    assert "bytes=20-" in [headers.get("Range") for _, headers in server.requests]
