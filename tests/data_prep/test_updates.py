"""New releases whose old clusters stay: names, members, sides, and what is refused."""

import json
import lzma
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openrinalmo.data_prep.inspection.identity import reverse_complement
from openrinalmo.data_prep.inspection.verify import verify_folder
from openrinalmo.data_prep.products import load_product
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from openrinalmo.data_prep.shards import SPLITS, open_split
from openrinalmo.data_prep.unique import read_keys
from support.planted import prepare
from support.sequences import draw_sequence, format_fasta, mutate

pytestmark = pytest.mark.mmseqs


@pytest.fixture(scope="module")
def records() -> list[str]:
    with lzma.open(SAMPLE_FASTA, "rt") as file:
        return file.read().split(">")[1:]


def read_names(folder: Path) -> dict[bytes, set[bytes]]:
    """Digests of the members of each cluster, by the cluster's name."""
    keys, representatives = read_keys(folder / "steps"), load_product(folder / "steps", "clusters")
    names = np.load(folder / "steps/clusters/names.npy")
    return {
        bytes(name): {bytes(key) for key in keys[representatives == head]}
        for name, head in zip(names, np.unique(representatives), strict=True)
    }


def read_sides(folder: Path) -> dict[bytes, bool]:
    names = np.load(folder / "steps/clusters/names.npy")
    sides = load_product(folder / "steps", "split")
    return {bytes(name): bool(side) for name, side in zip(names, sides, strict=True)}


def read_report(folder: Path, step: str) -> dict[str, Any]:
    return json.loads((folder / "steps" / step / "step.json").read_text())["report"]


def read_heads(folder: Path) -> set[str]:
    """Sequences of the representatives."""
    splits = [open_split(folder, name) for name in SPLITS]
    return {
        split.sequence(first).tobytes().decode()
        for split in splits
        for first in split.cluster_starts[:-1].tolist()
    }


@pytest.fixture(scope="module")
def families() -> list[list[tuple[str, str]]]:
    """Sixty families of three, of two types."""
    rng = random.Random(3)
    founders = [draw_sequence(rng, 120) for _ in range(60)]
    return [
        [
            (f"f{n}_{m} rna_type={'tRNA' if n % 4 else 'miRNA'}", sequence)
            for m, sequence in enumerate(
                [founder, *(mutate(rng, founder[: 108 - m], identity=0.98) for m in range(2))]
            )
        ]
        for n, founder in enumerate(founders)
    ]


def write_fasta(path: Path, records: list[tuple[str, str]]) -> Path:
    path.write_text(format_fasta(records))
    return path


def test_old_clusters_keep_names_and_members_when_a_release_is_added(records, tmp_path):
    older = tmp_path / "older.fasta"
    older.write_text("".join(f">{record}" for record in records[::2]))
    prepare(tmp_path / "old", older)
    manifest = prepare(tmp_path / "new", SAMPLE_FASTA, "--update", tmp_path / "old")
    before, after = read_names(tmp_path / "old"), read_names(tmp_path / "new")
    assert manifest["counts"]["clusters"] == len(after) > len(before)
    for name, members in before.items():
        assert members <= after[name]
    assert any(len(after[name]) > len(members) for name, members in before.items())
    assert not [check for check in verify_folder(tmp_path / "new") if check.faults]


def test_an_update_knows_its_sequences_by_either_strand(tmp_path):
    rng = random.Random(0)
    sequences = [(f"s{n}", draw_sequence(rng, 60)) for n in range(40)]
    (tmp_path / "one.fa").write_text(format_fasta(sequences))
    others = [(f"r{n}", reverse_complement(s.encode()).decode()) for n, s in sequences]
    (tmp_path / "other.fa").write_text(format_fasta(others))
    prepare(tmp_path / "old", tmp_path / "one.fa", "--reverse-complement")
    inputs = (tmp_path / "other.fa", tmp_path / "one.fa")
    prepare(tmp_path / "new", *inputs, "--reverse-complement", "--update", tmp_path / "old")
    report = json.loads((tmp_path / "new/steps/clusters/step.json").read_text())["report"]
    assert (report["kept_sequences"], report["removed_clusters"]) == (40, 0)
    names = [np.load(tmp_path / name / "steps/clusters/names.npy") for name in ("old", "new")]
    assert {bytes(name) for name in names[0]} == {bytes(name) for name in names[1]}


def test_an_update_under_other_criteria_or_from_no_data_is_refused(records, tmp_path):
    older = tmp_path / "older.fasta"
    older.write_text("".join(f">{record}" for record in records[:40]))
    prepare(tmp_path / "old", older)
    with pytest.raises(ValueError, match=r"prepared with min_seq_id=0.7, this run has 0.9"):
        prepare(tmp_path / "new", older, "--update", tmp_path / "old", "--min-seq-id", 0.9)
    with pytest.raises(ValueError, match=r"prepared with reverse_complement=False, this run has T"):
        prepare(tmp_path / "new", older, "--update", tmp_path / "old", "--reverse-complement")
    with pytest.raises(ValueError, match="give a folder that `make data` wrote"):
        prepare(tmp_path / "new", older, "--update", tmp_path / "nowhere")


def test_clusters_stay_on_their_side_when_their_founders_go(families, tmp_path):
    before = write_fasta(tmp_path / "before.fa", [r for family in families[:40] for r in family])
    prepare(tmp_path / "old", before)
    heads = read_heads(tmp_path / "old")
    left = [record for family in families[:40] for record in family if record[1] not in heads]
    retyped = [(name.replace("miRNA", "tRNA"), sequence) for name, sequence in left]
    new = [record for family in families[40:] for record in family]
    after = write_fasta(tmp_path / "after.fa", [*retyped, *new])
    manifest = prepare(tmp_path / "new", after, "--update", tmp_path / "old", "--seed", 5)
    assert read_report(tmp_path / "new", "clusters")["representatives_replaced"] == 40
    old, updated = read_sides(tmp_path / "old"), read_sides(tmp_path / "new")
    assert len(updated) == 60
    assert {name: updated[name] for name in old} == old
    assert sum(old.values()) == 5  # three of 30 and two of 10 clusters
    assert manifest["counts"]["validation_clusters"] == 6, "and one of five new of miRNA"
    again = prepare(tmp_path / "again", after, "--update", tmp_path / "new")
    assert read_sides(tmp_path / "again") == updated
    assert again["counts"]["validation_clusters"] == 6


def test_another_earlier_folder_of_the_same_founders_is_another_update(families, tmp_path):
    every = [record for family in families for record in family]
    release = write_fasta(tmp_path / "all.fa", every)
    prepare(tmp_path / "a", release)
    heads = read_heads(tmp_path / "a")
    founders = [record for record in every if record[1] in heads]
    prepare(tmp_path / "b", write_fasta(tmp_path / "b.fa", founders))
    a, b = (read_report(tmp_path / name, "clusters") for name in "ab")
    assert a["names_sha256"] == b["names_sha256"]
    for old, kept in (("a", 180), ("b", 60)):
        prepare(tmp_path / "new", release, "--update", tmp_path / old)
        assert read_report(tmp_path / "new", "clusters")["kept_sequences"] == kept


def test_what_is_half_made_or_damaged_or_the_output_is_refused(families, tmp_path):
    small = write_fasta(tmp_path / "small.fa", [family[0] for family in families[:40]])
    more = write_fasta(tmp_path / "more.fa", [family[0] for family in families])
    prepare(tmp_path / "old", small)
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*.npy")}
    (tmp_path / "link").symlink_to(tmp_path / "old")
    for out in ("old", "link"):
        with pytest.raises(ValueError, match=r"old is --out itself.*a folder of its own"):
            prepare(tmp_path / out, more, "--update", tmp_path / "old")
    assert before == {path: path.read_bytes() for path in before}
    prepare(tmp_path / "more", more)
    shutil.copytree(tmp_path / "old", tmp_path / "mixed")
    for step in ("records", "unique"):
        shutil.rmtree(tmp_path / "mixed" / "steps" / step)
        shutil.copytree(tmp_path / "more/steps" / step, tmp_path / "mixed/steps" / step)
    with pytest.raises(ValueError, match="its step clusters was made from another unique than"):
        prepare(tmp_path / "new", more, "--update", tmp_path / "mixed")
    for name in ("unique/unique.npy", "clusters/names.npy", "split/split.npy"):
        path = tmp_path / "old" / "steps" / name
        damaged = bytearray(before[path])
        damaged[-1] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name} is not the file that its step made"):
            prepare(tmp_path / "new", more, "--update", tmp_path / "old")
        path.write_bytes(before[path])
