"""The step against a loop over records, and what it holds in memory."""

import json
import random
import shutil
import tracemalloc
from bisect import bisect_right
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from openrinalmo.data_prep import records
from openrinalmo.data_prep.config import DataConfig
from openrinalmo.data_prep.dedup import DedupConfig, hash_sequence
from openrinalmo.data_prep.filters import REJECT_REASONS
from openrinalmo.data_prep.inputs import fasta
from openrinalmo.data_prep.inputs.blocks import RecordBlock
from openrinalmo.data_prep.lengths import LENGTH_EDGES_NT
from openrinalmo.data_prep.merged import (
    KeptRecord,
    MergedRecord,
    find_kept,
    publish_merged,
    read_merged,
)
from openrinalmo.data_prep.metadata import MetadataConfig
from openrinalmo.data_prep.records import build_records
from openrinalmo.data_prep.rna_types import AnnotationConfig
from openrinalmo.data_prep.shards import FORMAT_VERSION, SPLITS, write_manifest
from openrinalmo.data_prep.unique import build_unique
from support.sequences import draw_sequence
from support.slow_fasta import judge_slowly, normalise_slowly, read_slowly


def run(tmp_path, *inputs, metadata=None, config=None, **settings):
    paths = []
    for number, data in enumerate(inputs):
        paths.append(tmp_path / str(number) / "in.fasta")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(data)
    parts = {"metadata": metadata, **(config or {})}
    config = DataConfig(inputs=tuple(paths), out=tmp_path / "out", **parts)
    folder = tmp_path / "out" / "records"
    folder.mkdir(parents=True, exist_ok=True)
    report = build_records(folder, config, **settings)
    (folder / "step.json").write_text(json.dumps({"report": report}))
    return report, pa.ipc.open_file(folder / "records.arrow").read_all()


def build_slowly(inputs, types):
    """Return report and rows as a loop over records makes them."""
    rejected, examples, rows = Counter(), {}, []
    names, rna_types = ["in.fasta", "in.fasta#2", "in.fasta#3"], ["unknown"]
    sources, lengths = [], [0] * len(LENGTH_EDGES_NT)
    for source, data in enumerate(inputs):
        slow_records = read_slowly(data)
        accepted = len(rows)
        for record in slow_records:
            sequence = normalise_slowly(record.letters)
            lengths[max(0, bisect_right(LENGTH_EDGES_NT.tolist(), len(sequence)) - 1)] += 1
            name = record.id or f"{names[source]}:{record.number}"
            if reason := judge_slowly(sequence, 16, 8192, 0.1):
                rejected[reason] += 1
                if len(examples.setdefault(reason, [])) < 5:
                    examples[reason].append(name)
                continue
            rna_type = types.get(name) or record.rna_type or "unknown"
            if rna_type not in rna_types:
                rna_types.append(rna_type)
            rows.append(
                (sequence, name, hash_sequence(sequence), source, rna_types.index(rna_type))
            )
        sources.append((names[source], len(slow_records), len(rows) - accepted))
    return {
        "read": sum(read for _, read, _ in sources),
        "rejected": {reason: rejected[reason] for reason in REJECT_REASONS},
        "rejected_examples": examples,
        "accepted": len(rows),
        "accepted_nt": sum(len(row[0]) for row in rows),
        "sources": [{"source": s, "read": r, "accepted": a} for s, r, a in sources],
        "source_names": [name for name, _, _ in sources],
        "lengths_as_read": lengths,
        "rna_types": rna_types,
    }, rows


def draw_fasta(rng, number):
    lines = []
    for index in range(number):
        name = rng.choice([f"r{index}", "same", "é", "", f"r{index} rna_type=tRNA more"])
        lines += [
            f">{name}{rng.choice(['', ' rna_type=' + rng.choice(['rRNA', 'ü', '', 'unknown'])])}"
        ]
        letters = draw_sequence(rng, rng.choice([0, 3, 15, 16, 40, 100, 8193]))
        letters += rng.choice(["", "", "", "E", "N", "NNNN", "*", "-", "\r\nACGU", "x"])
        lines.append(letters)
    return "\n".join(lines).encode()


@pytest.mark.parametrize("block_bytes", [100, 1 << 21])
@pytest.mark.parametrize("with_metadata", [False, True])
def test_agrees_with_a_loop_over_records(tmp_path, monkeypatch, block_bytes, with_metadata):
    monkeypatch.setattr(fasta, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(records, "BATCH_RECORDS", 50)
    rng = random.Random(1)
    inputs = [draw_fasta(rng, number) for number in (200, 1, 300)]
    types = {"same": "snRNA", "r5": "tRNA", "in.fasta#3:1": "x", "é": "ü"} if with_metadata else {}
    metadata = None
    if with_metadata:
        table = tmp_path / "meta.tsv"
        table.write_text("id\ttype\n" + "".join(f"{k}\t{v}\n" for k, v in types.items()))
        metadata = MetadataConfig(path=table)
    expected, rows = build_slowly(inputs, types)
    report, table = run(tmp_path, *inputs, metadata=metadata)
    report.pop("sha256")
    assert json.dumps(report) == json.dumps(expected), "the order of keys included"
    table.validate(full=True)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert set(report["rejected_examples"]) == set(REJECT_REASONS)


def test_takes_blocks_of_another_reader(tmp_path):
    def read_blocks(source, on_read, /):
        on_read(1)
        letters = b"ACGU" * 4 + b"tttt" * 4
        ends = np.array([16, 32])
        yield RecordBlock([b"a", b""], [b"tRNA", None], np.frombuffer(letters, np.uint8), ends, 1)
        yield RecordBlock([b"\xff"], [b""], np.frombuffer(b"G" * 16, np.uint8), np.array([16]), 3)

    report, table = run(tmp_path, b"", read_blocks=read_blocks)
    assert table.column("id").to_pylist() == ["a", "in.fasta:2", "�"]
    assert table.column("sequence").to_pylist() == [b"ACGU" * 4, b"U" * 16, b"G" * 16]
    assert table.column("rna_type").to_pylist() == [1, 0, 0]
    assert report["rna_types"] == ["unknown", "tRNA"]


def test_what_tells_nothing_overrides_nothing(tmp_path):
    held = ["tRNA", "misc_RNA", "NA", "-", "unknown"]
    lines = [
        f">URS{n:010X} rna_type={rna_type}\nACGU{'ACGU' * 4}" for n, rna_type in enumerate(held)
    ]
    text = "\n".join(lines).encode()
    given = ["misc_RNA", "other", "ncRNA", "rRNA", "."]
    (tmp_path / "map.tsv").write_text(
        "".join(f"URS{n:010X}\tENA\tx\t1\t{name}\t\n" for n, name in enumerate(given))
    )
    (tmp_path / "meta.tsv").write_text(
        "id\ttype\n" + "".join(f"URS{n:010X}\t{name}\n" for n, name in enumerate(given))
    )
    for settings in (
        {"annotations": AnnotationConfig(id_mapping=tmp_path / "map.tsv")},
        {"metadata": MetadataConfig(path=tmp_path / "meta.tsv")},
    ):
        report, table = run(tmp_path, text, config=settings)
        found = [report["rna_types"][n] for n in table.column("rna_type").to_pylist()]
        assert found == ["tRNA", "other", "ncRNA", "rRNA", "unknown"]


def test_memory_is_that_of_blocks_not_of_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(records, "BATCH_BYTES", 1 << 16)
    small = b"".join(b">r%d\n%s\n" % (n, b"ACGUU" * 30) for n in range(2_000))
    peaks = []
    for copies in (2, 20):
        tracemalloc.start()
        arrow_before = pa.total_allocated_bytes()
        run(tmp_path, small * copies)
        peaks.append(tracemalloc.get_traced_memory()[1] - len(small) * copies)
        tracemalloc.stop()
        assert pa.total_allocated_bytes() - arrow_before < 1 << 20
    assert peaks[1] < peaks[0] + (1 << 20)


@pytest.mark.parametrize("both_strands", [False, True])
def test_remembers_what_was_merged(tmp_path, both_strands):
    first = b">a\nAACCGGUUAACCGGUA\n>b\nGGGGGGGGGGGGGGGG\n>c rna_type=misc_RNA\nAACCGGTTAACCGGTA\n"
    second = b">d\nUACCGGUUAACCGGUU\n>e rna_type=tRNA\naaccgguuaaccggua\n>f\nUUUUUUUUUUUUUUUU\n"
    records_report, _ = run(tmp_path, first, second)
    steps = tmp_path / "out"
    (steps / "unique").mkdir()
    config = DedupConfig(reverse_complement=both_strands)
    rna_types = records_report["rna_types"]
    report = build_unique(steps / "unique", steps, config, rna_types=rna_types)
    assert (report["unique"], report["duplicates"]) == ((3, 3) if both_strands else (4, 2))
    (tmp_path / "data" / "shards").mkdir(parents=True)
    entry = publish_merged(steps, tmp_path / "data", records_report)
    splits = {split: {"shards": []} for split in SPLITS}
    manifest = {"format_version": FORMAT_VERSION, "rna_types": [], "splits": splits}
    write_manifest(tmp_path / "data", {**manifest, "merged": entry})
    assert entry["duplicates"] == report["duplicates"]
    shutil.rmtree(steps)
    digest = hash_sequence(b"AACCGGUUAACCGGUA")
    expected = [("c", "in.fasta", "misc_RNA"), ("a", "in.fasta", "unknown")]
    expected += [("d", "in.fasta#2", "unknown")] * both_strands
    merged = read_merged(tmp_path / "data", digest)
    assert merged == [MergedRecord(*row) for row in expected], "e has a telling type: it is kept"
    assert read_merged(tmp_path / "data", hash_sequence(b"G" * 16)) == []
    assert find_kept(tmp_path / "data", "c") == KeptRecord("e", digest)
    assert find_kept(tmp_path / "data", "e") is None
    assert not list(steps.rglob("*.rows"))


def test_the_hash_of_both_strands_tells_the_strand_that_was_kept(tmp_path):
    strands = b">a\nAACCGGUUAACCGGUA\n", b">d\nUACCGGUUAACCGGUU\n"
    hashes = set()
    for order in (strands, strands[::-1]):
        run(tmp_path, *order)
        (tmp_path / "out" / "unique").mkdir(exist_ok=True)
        for both_strands in (False, True):
            config = DedupConfig(reverse_complement=both_strands)
            report = build_unique(
                tmp_path / "out" / "unique", tmp_path / "out", config, rna_types=["unknown"]
            )
            hashes.add((both_strands, report["sequences_sha256"]))
    assert len(hashes) == 3, "one of both sequences, one of each alone"
