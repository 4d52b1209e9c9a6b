"""Published numbers stand beside the very RNAs they are of, and beside nothing of their name."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structure_folds.folds import Benchmark, Fold
from openrinalmo.pipeline.downstream.structure_folds.published_structure import (
    ARCHIVEII_PARTS,
    RNAS_OF_PART,
    describe_omitted,
    hash_rnas,
    list_published,
)
from openrinalmo.pipeline.downstream.structures.records import StructureRecord
from openrinalmo.pipeline.downstream.tasks.families import build_families_config, read_benchmark
from openrinalmo.pipeline.downstream.tasks.intra_family import (
    build_intra_family_config,
    read_intra_family,
)
from openrinalmo.pipeline.downstream.tasks.out_of_family import (
    build_out_of_family_config,
    read_out_of_family,
)
from support.shared import SHARED, requires_shared

DATA = "data/structure"
ARCHIVEII = f"{DATA}/archiveII_3966.tsv.xz"
BPRNA, BPRNA_NEW = f"{DATA}/bprna_spot_TR0_VL0_TS0.tsv.xz", f"{DATA}/bprna_new_5401.tsv.xz"


def build_record(number, sequence="GGGAAAACCC"):
    pairs_P2 = np.array([(0, 9), (1, 8)])
    return StructureRecord(id=f"r{number}", family="x", sequence=sequence, pairs_P2=pairs_P2)


@pytest.fixture
def build(monkeypatch):
    """A benchmark of one RNA a part; parts of `known` hold the RNAs that are published."""

    def build_benchmark(task, parts, known=()):
        records = [
            build_record(number, "GGGAAAACCC" + "A" * number) for number in range(len(parts))
        ]
        folds = [
            Fold(part=part, test=(number,), train=(), validation=())
            for number, part in enumerate(parts)
        ]
        for part, record in zip(parts, records, strict=True):
            if part in known:
                monkeypatch.setitem(RNAS_OF_PART, part, hash_rnas([record]))
        return Benchmark(task=task, title="", name="", sources={}, records=records, folds=folds)

    return build_benchmark


def test_all_of_archiveii(build):
    benchmark = build("families", sorted(ARCHIVEII_PARTS), ARCHIVEII_PARTS)
    table = {(one.system, one.part, one.metric): one.value for one in list_published(benchmark)}
    assert table["RiNALMo 650M", "telomerase", "F1 relaxed"] == 0.12
    assert table["AIDO.RNA 1.6B", "23s", "F1 relaxed"] == 0.896
    assert table["ERNIE-RNA, frozen", "grp1", "F1 strict"] == 0.317
    for system, metric in {(system, metric) for system, _, metric in table}:
        own = [table[system, part, metric] for part in ARCHIVEII_PARTS]
        # The published means are rounded, or of unrounded families.
        assert np.mean(own) == pytest.approx(table[system, "mean of families", metric], abs=0.006)
    assert describe_omitted(benchmark) == ()


def test_some_of_archiveii_have_no_mean(build):
    benchmark = build("families", sorted(ARCHIVEII_PARTS), ("5s", "srp"))
    assert {one.part for one in list_published(benchmark)} == {"5s", "srp"}
    (note,) = describe_omitted(benchmark)
    assert note.startswith(
        "Published numbers of 16s, 23s, RNaseP, grp1, tRNA, telomerase, tmRNA are"
    )


def test_test_sets(build):
    bprna = list_published(build("intra-family", ["TS0"], ["TS0"]))
    assert {one.part for one in bprna} == {"TS0", "TS0, pooled pairs"}
    assert {one.metric for one in bprna} == {
        *("precision relaxed", "recall relaxed", "F1 relaxed", "F1 strict")
    }
    new = list_published(build("out-of-family", ["bpRNA-new"], ["bpRNA-new"]))
    assert {one.part for one in new} == {"bpRNA-new, pooled pairs"}
    mine = build("out-of-family", ["mine", "TS0"])
    assert list_published(mine) == ()
    assert "Published numbers of TS0 are not shown" in describe_omitted(mine)[0]
    assert describe_omitted(build("out-of-family", ["mine"])) == ()


def test_rnas_are_the_same_in_any_order_and_under_any_id():
    first, second, third = (
        build_record(number, "GGGAAAACCC" + "A" * number) for number in range(3)
    )
    assert hash_rnas([first, second]) == hash_rnas([second, first])
    assert hash_rnas([first]) == hash_rnas([build_record(7)])
    assert (
        len({hash_rnas(some) for some in ([first], [first, first], [first, third], [third])}) == 4
    )


@requires_shared(ARCHIVEII, BPRNA, BPRNA_NEW)
def test_the_public_sets_are_known_and_draws_of_them_are_not():
    # Of at most 100 RNAs a family, as `budget` draws, small ones are whole.
    small = {"grp1", "16s", "telomerase", "23s"}
    whole = {*ARCHIVEII_PARTS, "mean of families"}
    for preset, expected in (("full", whole), ("budget", small), ("quick", set())):
        benchmark = read_benchmark(SHARED / ARCHIVEII, build_families_config(preset))
        assert {one.part for one in list_published(benchmark)} == expected
    config = build_intra_family_config("full")
    assert list_published(read_intra_family(SHARED / DATA, config))
    drawn = build_intra_family_config("budget")
    assert not list_published(read_intra_family(SHARED / DATA, drawn))
    tests = {"bpRNA-new": SHARED / BPRNA_NEW, "TS0": SHARED / BPRNA}
    config = build_out_of_family_config("full")
    benchmark = read_out_of_family(SHARED / DATA, config, tests=tests)
    assert {one.part.partition(",")[0] for one in list_published(benchmark)} == set(tests)
