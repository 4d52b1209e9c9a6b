"""Faults of every kind, put into a prepared folder: each is found and named."""

import json
import random
import shutil

import numpy as np
import pytest

from openrinalmo.data_prep.audits.audit_lines import write_audit
from openrinalmo.data_prep.inspection.verify import format_checks, verify_folder
from openrinalmo.data_prep.inspection.verify_contents import check_contents
from openrinalmo.data_prep.look import main
from openrinalmo.data_prep.reports.report import write_report
from openrinalmo.data_prep.seals import find_broken_seal, hash_files, write_sealed
from openrinalmo.data_prep.shards import hash_file, hash_manifest
from support.mmseqs import requires_mmseqs
from support.planted import PLANTED, prepare
from support.sealed import seal_steps
from support.sequences import format_fasta
from support.tiny_data import write_tiny_data

FLIPS_A_FILE = 12
AUDITED = "ab" * 32


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    (folder / "in.fasta").write_text(format_fasta(PLANTED))
    prepare(folder / "out", folder / "in.fasta")
    seal_steps(folder / "out")
    write_report(folder / "out")
    entry = {"sha256": AUDITED, "corpus": hash_manifest(folder / "out"), "line": "audit:1|é"}
    write_audit(folder / "out", entry)
    return folder / "out"


def list_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def find_faults(folder):
    return [fault for check in verify_folder(folder) for fault in check.faults]


def find_content_faults(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return [fault for check in check_contents(folder, manifest) for fault in check.faults]


@requires_mmseqs
def test_a_whole_folder_has_no_faults(sealed):
    checks = verify_folder(sealed)
    assert [check.faults for check in checks] == [[]] * 11
    assert all(check.looked_at for check in checks[:-1])
    assert [check.notes for check in checks] == [[]] * 11
    assert "FAULT" not in format_checks(checks)


@requires_mmseqs
def test_a_flipped_byte_anywhere_is_found_and_its_file_named(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    gen = random.Random(0)
    for path in list_files(folder):
        name = path.relative_to(folder).as_posix()
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *gen.choices(range(len(whole)), k=FLIPS_A_FILE)}
        for place in sorted(places):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << gen.randrange(8)
            path.write_bytes(damaged)
            faults = find_faults(folder)
            assert any(fault.startswith(name) for fault in faults), (name, place, faults)
        path.write_bytes(whole)
    assert not find_faults(folder)


@requires_mmseqs
def test_a_missing_file_is_named(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    not_missed = {"steps/inputs.json", f"audits/{AUDITED}.json"}  # a cache; what anybody may add
    for path in list_files(folder):
        name = path.relative_to(folder).as_posix()
        whole = path.read_bytes()
        path.unlink()
        if name == "manifest.json":
            with pytest.raises(FileNotFoundError, match="no prepared data"):
                verify_folder(folder)
        else:
            found = [fault for fault in find_faults(folder) if fault.startswith(f"{name} is miss")]
            assert len(found) == (name not in not_missed), name
        path.write_bytes(whole)
    assert not find_faults(folder)


@requires_mmseqs
def test_a_missing_step_is_named_where_others_are_there(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    shutil.rmtree(folder / "steps" / "unique")
    assert any("steps/unique/step.json is missing" in fault for fault in find_faults(folder))
    shutil.rmtree(folder / "steps")
    assert not find_faults(folder)


@requires_mmseqs
def test_an_audit_of_another_file_or_corpus_is_told(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    path = folder / "audits" / f"{AUDITED}.json"
    entry = json.loads(path.read_text())
    write_audit(folder, {**entry, "corpus": "0" * 64})
    notes = [note for check in verify_folder(folder) for note in check.notes]
    assert any(f"audits/{path.name} is of another manifest than this" in note for note in notes)
    write_sealed(path, {**entry, "sha256": "cd" * 32})
    assert any("is the audit of another file: cdcd" in fault for fault in find_faults(folder))


@requires_mmseqs
def test_a_mangled_manifest_never_gives_a_traceback_where_steps_are_gone(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    shutil.rmtree(folder / "steps")
    shutil.rmtree(folder / "report")
    text = (folder / "manifest.json").read_bytes()
    gen = random.Random(1)
    for _ in range(400):
        damaged = bytearray(text)
        damaged[gen.randrange(len(damaged))] ^= 1 << gen.randrange(8)
        (folder / "manifest.json").write_bytes(damaged)
        format_checks(verify_folder(folder))


@requires_mmseqs
def test_the_table_and_the_exit_code(sealed, tmp_path, capsys):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    with pytest.raises(SystemExit) as stopped:
        main([str(folder), "verify"])
    assert stopped.value.code == 0
    (folder / "steps" / "clusters" / "mmseqs.log").write_text("other words")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main([str(folder), "verify"])
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "FAULT: steps/clusters/mmseqs.log is damaged" in printed
    assert "note: notes.txt is not of the data" in printed


@requires_mmseqs
def test_a_product_of_another_run_is_named(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    step = folder / "steps" / "split"
    np.save(step / "split.npy", ~np.load(step / "split.npy"))
    content = json.loads((step / "step.json").read_text())
    content["report"]["sha256"] = hash_file(step / "split.npy")
    content["files"] = {"split.npy": hash_file(step / "split.npy")}
    write_sealed(step / "step.json", content)
    assert any(
        "steps/split" in fault and "another product" in fault for fault in find_faults(folder)
    )


@requires_mmseqs
def test_a_step_without_a_seal_is_said_to_be_so(sealed, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    path = folder / "steps" / "unique" / "step.json"
    step = json.loads(path.read_text())
    path.write_text(json.dumps({key: step[key] for key in ("fingerprint", "report", "seconds")}))
    notes = [note for check in verify_folder(folder) for note in check.notes]
    assert "steps/unique/step.json has no seal: only its product is hashed" in notes
    np.save(path.with_name("unique.npy"), np.arange(3))
    assert any("steps/unique: none of" in fault for fault in find_faults(folder))


def one(name, sequence):
    return [(name, sequence, "tRNA")]


GOOD = [one("a", "ACGUACGUACGUACGUA"), one("b", "GGGGCCCCAAAAUUUUNN")]
VALIDATION = [one("v", "GCGCGCGCGCGCGCGCGC")]


def test_shards_of_legal_records_have_no_faults(tmp_path):
    folder = write_tiny_data(tmp_path / "data", train=GOOD, validation=VALIDATION)
    assert find_content_faults(folder) == []


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([*GOOD, one("c", "ACGUTACGUACGUACGU")], "letters that are none of RNA: 'T', first in t"),
        ([*GOOD, one("c", "acguacguacguacgua")], "none of RNA: 'a', 'c', 'g', 'u', first in train"),
        ([*GOOD, one("c", GOOD[0][0][1])], "train:2 c has the sequence of train:0 a"),
        ([*GOOD, one("c", VALIDATION[0][0][1])], "validation:0 v has the sequence of train:2 c"),
    ],
    ids=["T", "lower_case", "twice", "twice_over_splits"],
)
def test_illegal_records_are_named(tmp_path, train, message):
    folder = write_tiny_data(tmp_path / "data", train=train, validation=VALIDATION)
    assert any(message in fault for fault in find_content_faults(folder))


@requires_mmseqs
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m["parameters"]["filter"].update(min_length_nt=17),
            "of other lengths than 17 to",
        ),
        (
            lambda m: m["splits"]["train"].update(nt=1),
            "splits.train.nt is not what the shards hold",
        ),
        (lambda m: m["splits"]["train"]["shards"][0].update(nt=1), "the manifest says 1"),
        (lambda m: m["splits"]["train"]["shards"][0].update(clusters=1), "the manifest says 1"),
        (lambda m: m["sources"].append("x.fa"), "names other sources than the manifest"),
        (lambda m: m["rna_types"].append("x"), "knows other RNA types than the manifest"),
    ],
    ids=["lengths", "nt", "shard_nt", "shard_clusters", "sources", "types"],
)
def test_a_manifest_that_says_otherwise_is_found(sealed, change, message):
    manifest = json.loads((sealed / "manifest.json").read_text())
    change(manifest)
    faults = [fault for check in check_contents(sealed, manifest) for fault in check.faults]
    assert any(message in fault for fault in faults), faults


@requires_mmseqs
def test_clusters_that_are_torn_or_in_both_splits_are_named(sealed, tmp_path):
    """The shards of a wrong split: a cluster's members apart, one cluster on both sides."""
    import pyarrow as pa

    from openrinalmo.data_prep.shards import SPLITS, write_manifest

    folder = tmp_path / "out"
    shutil.copytree(sealed, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    entries = [manifest["splits"][split]["shards"][0] for split in SPLITS]
    batches = [
        pa.ipc.open_file(str(folder / e["file"])).read_all().to_batches()[0] for e in entries
    ]
    numbers = batches[0].column("cluster").to_numpy()
    pair = int(np.flatnonzero(np.diff(numbers) == 0)[0])
    order = np.roll(np.arange(len(numbers)), -pair - 1)  # begins within a cluster, and ends in it
    torn = batches[0].take(pa.array(order))
    both = batches[1].set_column(
        2, "cluster", pa.array(np.full(len(batches[1]), numbers[0]), pa.int64())
    )
    for entry, batch in zip(entries, (torn, both), strict=True):
        schema = pa.ipc.open_file(str(folder / entry["file"])).schema
        table = pa.table(batch.columns, schema=schema)
        with pa.ipc.new_file(str(folder / entry["file"]), schema) as writer:
            writer.write_table(table)
        path = folder / entry["file"]
        runs = np.count_nonzero(np.diff(batch.column("cluster").to_numpy())) + 1
        entry.update(sha256=hash_file(path), bytes=path.stat().st_size, clusters=int(runs))
    write_manifest(folder, manifest)
    faults = find_content_faults(folder)
    assert any(f"cluster {numbers[pair]} of train lies in several places" in f for f in faults)
    assert any(f"cluster {numbers[0]} is in both splits" in fault for fault in faults)
    assert any("begins with" in fault and "no representative" in fault for fault in faults)


def test_seals_show_every_change(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"x": 1, "y": ["é", None, 0.1]})
    assert find_broken_seal(path) is None
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 3, 6):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert find_broken_seal(path), (place, bit)


def test_known_hashes_are_not_computed_again(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("b")
    (tmp_path / "a").write_text("a")
    hashes = hash_files(tmp_path, known={"a": "given"})
    assert hashes == {"a": "given", "sub/b": hash_file(tmp_path / "sub" / "b")}
