from openrinalmo.data_prep.prepare import main as prepare
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from openrinalmo.data_prep.shards import read_manifest
from openrinalmo.pipeline.pretraining.excluded import keep_common, read_excluded

BEFORE = {
    "families": ["5S_rRNA", "tRNA"],
    "benchmarks": {"a" * 64: "archiveii.tsv"},
    "identity": 0.8,
    "coverage": 0.8,
}


def test_data_says_which_families_and_benchmarks_it_was_made_without(tmp_path):
    benchmark = tmp_path / "two.fasta"
    benchmark.write_text(">a\nGGGAAACCCUUUGGGAAACCCUUUGGGAAACCC\n")
    out = tmp_path / "data"
    prepare([str(SAMPLE_FASTA), "--out", str(out), "--threads", "1", "--exclude-family", "tRNA"])
    excluded = read_excluded(read_manifest(out))
    assert excluded == {"families": ["tRNA"], "benchmarks": {}, "identity": 0.8, "coverage": 0.8}
    prepare([str(SAMPLE_FASTA), "--out", str(out), "--threads", "1", "--exclude", str(benchmark)])
    excluded = read_excluded(read_manifest(out))
    assert excluded is not None
    assert list(excluded["benchmarks"].values()) == ["two"]
    prepare([str(SAMPLE_FASTA), "--out", str(out), "--threads", "1"])
    assert read_excluded(read_manifest(out)) is None


def test_a_run_that_went_on_with_other_data_never_saw_what_neither_held():
    now = {**BEFORE, "families": ["tRNA", "SRP"], "identity": 0.9}
    common = {"families": ["tRNA"], "benchmarks": BEFORE["benchmarks"]}
    assert keep_common(BEFORE, now) == {**common, "identity": 0.9, "coverage": 0.8}
    assert keep_common(BEFORE, BEFORE) == BEFORE
    assert keep_common(BEFORE, None) is None
    assert keep_common(None, now) is None
    assert keep_common(BEFORE, {**BEFORE, "families": ["SRP"], "benchmarks": {}}) is None
