import dataclasses
import gzip
import json
import re
import subprocess
import sys

import pytest

from openrinalmo.data_prep import fetch
from openrinalmo.data_prep.downloads import sources
from openrinalmo.data_prep.downloads.fetched import fetch_sources, read_fetched
from openrinalmo.data_prep.downloads.sources import SOURCES, SourcesConfig
from openrinalmo.data_prep.downloads.transfer import DownloadConfig
from openrinalmo.data_prep.rna_types import Annotations
from support.annotations import FAMILIES, MAPPING, RFAM_HITS, find_types, to_table
from support.flaky_server import FlakyServer, error, good

QUICK = DownloadConfig(max_retries=2, stall_seconds=2, first_wait_seconds=0)


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
    found = find_types(annotations, "RF00005.fa.gz", [b"URS0000000001", b"x"])
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
