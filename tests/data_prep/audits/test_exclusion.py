import random

import numpy as np
import pytest

from openrinalmo.data_prep.audits import exclusion
from openrinalmo.data_prep.audits.exclusion import ExclusionConfig, Labels, choose_kept, describe
from openrinalmo.data_prep.audits.searching import SearchConfig
from openrinalmo.data_prep.inspection.identity import reverse_complement
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, format_fasta, mutate

TYPES = ["unknown", "Gene; rRNA", "tRNA", "Gene; tRNA"]


def choose(tmp_path, sequences, benchmark=(), *, type_numbers=None, **settings):
    """Choose among text sequences; the benchmark's are written as FASTA, with T for U."""
    if benchmark:
        path = tmp_path / "benchmark.fa"
        records = [(f"b{n}", s.replace("U", "T").lower()) for n, s in enumerate(benchmark)]
        path.write_text(format_fasta(records))
        settings["benchmarks"] = (path,)
    config = ExclusionConfig(search=SearchConfig(threads=1), **settings)
    labels = [] if type_numbers is None else [Labels(np.array(type_numbers), TYPES)]
    encoded = [sequence.encode() for sequence in sequences]
    return choose_kept(lambda: encoded, len(encoded), labels, tmp_path / "work", config)


@requires_mmseqs
def test_each_planted_kind_goes_for_its_reason(tmp_path):
    rng = random.Random(0)
    strangers = [draw_sequence(rng, 150) for _ in range(30)]
    bench = [draw_sequence(rng, 150) for _ in range(5)]
    short = draw_sequence(rng, 21)
    planted = [
        bench[0],
        reverse_complement(bench[1].encode()).decode(),
        mutate(rng, bench[2], identity=0.88),
        bench[3][:60],  # 40 % of it: stays
        draw_sequence(rng, 100) + reverse_complement(short.encode()).decode(),
        mutate(rng, bench[4], identity=0.6),
        draw_sequence(rng, 90) + bench[4] + draw_sequence(rng, 90),
        reverse_complement(mutate(rng, bench[2], identity=0.9).encode()).decode(),
    ]
    keep, report = choose(tmp_path, strangers + planted, [*bench, short])
    assert keep[:30].all()
    assert keep[30:].tolist() == [False, False, False, True, False, True, False, False]
    assert report["left_out"] == {"family": 0, "identical": 2, "contains": 1, "near": 3}
    assert report["kept"] == 32
    assert report["sequences"] == 6
    assert report["shorter_than_25_nt"] == 1
    assert str(tmp_path) not in str(report)


@requires_mmseqs
def test_more_relatives_than_hits_are_kept_all_go(tmp_path):
    rng = random.Random(1)
    parent = draw_sequence(rng, 120)
    relatives = [mutate(rng, parent, identity=0.93) for _ in range(400)]  # past max_seqs
    keep, report = choose(tmp_path, [draw_sequence(rng, 120), *relatives], [parent])
    assert keep.tolist() == [True] + [False] * 400
    assert report["left_out"]["near"] == 400


@requires_mmseqs
def test_thresholds_decide(tmp_path):
    rng = random.Random(2)
    parent = draw_sequence(rng, 200)
    sequences = [mutate(rng, parent, identity=0.9), parent[:120]]
    assert choose(tmp_path, sequences, [parent])[0].tolist() == [False, True]
    strict = choose(tmp_path, sequences, [parent], identity=0.95, coverage=0.5)[0]
    assert strict.tolist() == [True, False]


@requires_mmseqs
def test_blocks_of_records_change_nothing(tmp_path, monkeypatch):
    rng = random.Random(5)
    bench = [draw_sequence(rng, nt) for nt in (40, 99, 100, 300)]
    sequences = [draw_sequence(rng, rng.randint(30, 200)) for _ in range(20)]
    sequences += [mutate(rng, s, identity=0.9) for s in bench] + [bench[3], bench[0][:21] + "A"]
    rng.shuffle(sequences)
    benchmark = [*bench, bench[0][:21]]
    whole = choose(tmp_path, sequences, benchmark)
    assert whole[1]["left_out"] == {"family": 0, "identical": 1, "contains": 1, "near": 4}
    monkeypatch.setattr(exclusion, "BLOCK_NT", 300)
    blocks = choose(tmp_path, sequences, benchmark)
    assert blocks[0].tolist() == whole[0].tolist()
    assert blocks[1] == whole[1]
    assert len(blocks[1]["mmseqs_search"]) == 2  # sequences under 100 nt and the others
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mmseqs.log"]


@requires_mmseqs
def test_order_and_names_of_the_benchmark_change_nothing(tmp_path):
    rng = random.Random(3)
    bench = [draw_sequence(rng, 80) for _ in range(4)]
    sequences = [mutate(rng, bench[1], identity=0.9), draw_sequence(rng, 80)]
    results = [choose(tmp_path, sequences, b) for b in (bench, bench[::-1] + bench[:2])]
    assert results[0][0].tolist() == results[1][0].tolist() == [False, True]
    assert results[0][1]["sequences_sha256"] == results[1][1]["sequences_sha256"]


def test_families_go_by_label_or_part_of_it(tmp_path):
    rng = random.Random(4)
    sequences = [draw_sequence(rng, 40) for _ in range(5)]
    keep, report = choose(
        tmp_path, sequences, type_numbers=[0, 1, 2, 3, 2], families=("tRNA", "Gene; rRNA")
    )
    assert keep.tolist() == [True, False, False, False, False]
    assert report["families"] == {"Gene; rRNA": 1, "tRNA": 3}
    assert report["left_out"]["family"] == 4
    with pytest.raises(ValueError, match=r"no record is of 'tmRNA'; known are Gene; rRNA, Gene"):
        choose(tmp_path, sequences, type_numbers=[0, 1, 2, 3, 2], families=("tmRNA",))


def test_the_description_names_content_and_not_files(tmp_path):
    texts = {"a.fa": ">x\nACGTACGT\n>y\nGGGG\n", "b.tsv": "id\tsequence\nq\tgggg\nr\tacguacgu\n"}
    found = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found.append(describe(ExclusionConfig(benchmarks=(tmp_path / name,))))
    assert found[0] == found[1]
    assert found[0] is not None
    assert "threads" not in str(found[0])
    assert describe(ExclusionConfig()) is None


def test_a_folder_with_a_file_that_is_not_read_is_refused(tmp_path):
    (tmp_path / "a.fa").write_text(">x\nACGUACGU\n")
    assert describe(ExclusionConfig(benchmarks=(tmp_path,)))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("words\n")
    with pytest.raises(ValueError, match=r"exclude.benchmarks: 1 files .*b.txt: not FASTA.*; name"):
        describe(ExclusionConfig(benchmarks=(tmp_path,)))


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"exclude.benchmarks: .*nothing.fa is no file"):
        ExclusionConfig(benchmarks=(tmp_path / "nothing.fa",))
    with pytest.raises(ValueError, match=r"exclude.identity must be in \(0, 1\], got 80"):
        ExclusionConfig(identity=80)
