"""Excluded relatives and families, what was merged, patterns: through the entry."""

import json
import lzma
import random
import shutil
from pathlib import Path

import pytest

from openrinalmo.data_prep.inspection.inspect_data import describe_record
from openrinalmo.data_prep.inspection.verify import verify_folder
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from openrinalmo.data_prep.shards import SPLITS, open_split
from support.planted import prepare
from support.sequences import draw_sequence, format_fasta

pytestmark = pytest.mark.mmseqs


@pytest.fixture(scope="module")
def records() -> list[str]:
    with lzma.open(SAMPLE_FASTA, "rt") as file:
        return file.read().split(">")[1:]


def read_ids(folder: Path) -> set[str]:
    return {
        split.id(i)
        for name in SPLITS
        for split in [open_split(folder, name)]
        for i in range(len(split))
    }


def test_no_relative_of_the_benchmark_and_none_of_the_family_is_left(records, tmp_path):
    targets = [record for record in records if "rna_type=snoRNA" in record][:5]
    assert len(targets) == 5
    benchmark = tmp_path / "benchmark.fasta"
    benchmark.write_text("".join(f">{record}" for record in targets))
    families = ["--exclude-family", "tRNA", "--exclude-family", "vault_RNA"]
    manifest = prepare(tmp_path / "without", SAMPLE_FASTA, "--exclude", benchmark, *families)
    left_out = manifest["exclusion"]["left_out"]
    assert left_out["family"] == sum(manifest["exclusion"]["families"].values()) > 1000
    assert left_out["identical"] == 5
    assert manifest["counts"]["excluded"] == sum(left_out.values())
    types = set(manifest["rna_types"])
    assert "riboswitch" in types
    assert not types & {"tRNA", "vault_RNA"}
    assert not read_ids(tmp_path / "without") & {record.split()[0] for record in targets}
    assert not [check for check in verify_folder(tmp_path / "without") if check.faults]


def test_the_exclusion_is_part_of_what_the_data_is(records, tmp_path):
    whole = prepare(tmp_path / "data")
    without = prepare(tmp_path / "data", "--exclude-family", "tRNA")
    again = prepare(tmp_path / "data")
    assert whole == again
    assert without["counts"]["unique"] < whole["counts"]["unique"]
    assert whole["exclusion"] is None


def test_an_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tRNAs"):
        prepare(tmp_path, "--exclude-family", "tRNAs")


def write_typed(path, sequences, rna_type, first):
    records = [(f"{rna_type}{first + n} rna_type={rna_type}", s) for n, s in enumerate(sequences)]
    path.write_text(format_fasta(records))
    return path


def test_a_family_takes_what_any_record_of_a_sequence_calls_so(tmp_path):
    rng = random.Random(1)
    sequences = [draw_sequence(rng, 60) for _ in range(44)]
    inputs = [
        write_typed(tmp_path / "ensembl.fa", sequences[:40], "misc_RNA", 0),
        write_typed(tmp_path / "RF00005.fa", sequences[:40], "tRNA", 0),
        write_typed(tmp_path / "mixed.fa", sequences[40:42], "rRNA", 40),
        write_typed(tmp_path / "again.fa", sequences[40:41], "tRNA", 40),
        write_typed(tmp_path / "more.fa", sequences[42:], "rRNA", 42),
    ]
    manifest = prepare(tmp_path / "whole", *inputs)
    assert manifest["rna_types"] == ["rRNA", "tRNA"], "what tells nothing is not kept"
    assert "merged    1 duplicate: misc_RNA0 (ensembl.fa, misc_RNA)" in describe_record(
        tmp_path / "whole", "tRNA0"
    )
    manifest = prepare(tmp_path / "without", *inputs, "--exclude-family", "tRNA")
    assert read_ids(tmp_path / "without") == {"rRNA41", "rRNA42", "rRNA43"}
    assert manifest["exclusion"]["families"] == {"tRNA": 41}
    for name, kept in (("misc_RNA7", "tRNA7"), ("tRNA40", "rRNA40")):
        with pytest.raises(ValueError, match=f"a duplicate of {kept}, which was excluded"):
            describe_record(tmp_path / "without", name)
    with pytest.raises(ValueError, match=r"it was excluded \(--exclude or --exclude-family\)"):
        describe_record(tmp_path / "without", "rRNA40")
    shutil.rmtree(tmp_path / "without" / "steps")
    with pytest.raises(ValueError, match=r"may have been rejected or excluded"):
        describe_record(tmp_path / "without", "rRNA40")
    with pytest.raises(ValueError, match="a duplicate of tRNA7, which was excluded"):
        describe_record(tmp_path / "without", "misc_RNA7")


def test_prepared_data_as_an_input_gives_what_was_merged_too(tmp_path):
    rng = random.Random(2)
    sequences = [draw_sequence(rng, 60) for _ in range(30)]
    inputs = [
        write_typed(tmp_path / "a.fa", sequences, "rRNA", 0),
        write_typed(tmp_path / "b.fa", sequences[:7], "tRNA", 0),
        write_typed(tmp_path / "c.fa", sequences[5:10], "misc_RNA", 5),
    ]
    whole = prepare(tmp_path / "whole", *inputs)
    assert whole["counts"]["duplicates"] == whole["merged"]["duplicates"] == 12
    again = prepare(tmp_path / "again", tmp_path / "whole")
    assert again["counts"]["read"] == whole["counts"]["read"] == 42
    assert again["merged"]["duplicates"] == 12
    assert read_ids(tmp_path / "again") == read_ids(tmp_path / "whole")
    assert again["sources"] == ["whole", "a.fa", "c.fa", "b.fa"]  # as they are met
    described = describe_record(tmp_path / "again", "rRNA6")
    assert "source    a.fa\n" in described
    assert "tRNA6 (b.fa, tRNA)" in described
    more = write_typed(tmp_path / "b.fa", sequences[20:25], "tRNA", 20)  # a name that is known
    both = prepare(tmp_path / "both", tmp_path / "whole", more)
    assert both["sources"] == ["whole", "b.fa", "a.fa", "c.fa"]
    assert [row["read"] for row in both["counts"]["sources"]] == [42, 5]
    assert "tRNA20 (b.fa, tRNA)" in describe_record(tmp_path / "both", "rRNA20")
    assert not [check for check in verify_folder(tmp_path / "both") if check.faults]
    for name in ("tRNA0", "tRNA6", "misc_RNA6", "misc_RNA9"):
        with pytest.raises(ValueError, match=f"a duplicate of rRNA{name[-1]}, which was kept"):
            describe_record(tmp_path / "again", name)
    without = prepare(tmp_path / "without", tmp_path / "whole", "--exclude-family", "tRNA")
    assert without["counts"]["excluded"] == 7
    (tmp_path / "whole" / "shards" / "merged.arrow").unlink()
    with pytest.raises(ValueError, match=r"merged.arrow is missing or cut short: copy the folder"):
        prepare(tmp_path / "lost", tmp_path / "whole")


def test_a_mistyped_cap_is_refused_before_the_clusters(records, tmp_path):
    with pytest.raises(ValueError, match=r"no RNA type 'trna'; did you mean 'tRNA'\?"):
        prepare(tmp_path, "--type-caps", "trna=0.2")
    assert {path.name for path in (tmp_path / "steps").iterdir() if path.is_dir()} == {"records"}


def test_caps_that_exclusion_leaves_nothing_of_are_refused_before_the_clusters(tmp_path):
    rng = random.Random(3)
    sequences = [draw_sequence(rng, 60) for _ in range(10)]
    inputs = [
        write_typed(tmp_path / "a.fa", sequences[:5], "rRNA", 0),
        write_typed(tmp_path / "b.fa", sequences[5:], "tRNA", 0),
        *("--exclude-family", "tRNA"),
    ]
    with pytest.raises(ValueError, match="the data has no RNA type 'tRNA'"):
        prepare(tmp_path / "a", *inputs, "--type-caps", "tRNA=0.2")
    with pytest.raises(ValueError, match=r"the shares of rRNA sum to 0\.2, and the data has no"):
        prepare(tmp_path / "a", *inputs, "--type-caps", "rRNA=0.2")
    steps = {path.name for path in (tmp_path / "a" / "steps").iterdir() if path.is_dir()}
    assert steps == {"records", "unique"}


def test_the_manifest_names_the_files_of_the_last_command(tmp_path):
    rng = random.Random(4)
    sequences = [draw_sequence(rng, 60) for _ in range(10)]
    data = write_typed(tmp_path / "in.fa", sequences, "rRNA", 0)
    near = write_typed(tmp_path / "near.fa", sequences[:2], "rRNA", 0)
    prepare(tmp_path / "out", data, "--exclude", near)
    renamed = write_typed(tmp_path / "same.fa", sequences[:2], "tRNA", 0)
    manifest = prepare(tmp_path / "out", data, "--exclude", renamed)
    assert manifest["counts"]["excluded"] == 2
    assert [file["name"] for file in manifest["exclusion"]["benchmarks"]] == ["same"]


def test_patterns_are_inputs(records, tmp_path):
    for number in range(2):
        part = tmp_path / f"part{number}.fa"
        part.write_text("".join(f">{record}" for record in records[number:60:2]))
    by_pattern = prepare(tmp_path / "a", tmp_path / "part*.fa")
    assert by_pattern["counts"]["read"] == 60
    assert json.dumps(by_pattern["inputs"]).count("part") == 2
