"""The whole way, on planted cases: what goes in, and where it ends."""

import gzip
import json
import lzma
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.prepare import main
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from openrinalmo.data_prep.shards import SPLITS, hash_file, hash_manifest, open_split, read_manifest
from support.mmseqs import requires_mmseqs
from support.planted import ORIGINALS, PLANTED, RELATIVES, prepare, read_records
from support.sequences import format_fasta

pytestmark = [pytest.mark.filterwarnings("error")]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    (folder / "in.fasta").write_text(format_fasta(PLANTED))
    prepare(folder / "out", folder / "in.fasta")
    return folder


@requires_mmseqs
def test_counts_at_every_step(planted):
    counts = read_manifest(planted / "out")["counts"]
    rejected = {"empty": 1, "letters": 1, "too_short": 1, "too_long": 1, "ambiguous": 1}
    assert counts["read"] == len(PLANTED)
    assert counts["rejected"] == rejected
    assert counts["accepted"] == counts["duplicates"] + counts["unique"] == len(PLANTED) - 5
    assert counts["duplicates"] == 4
    assert counts["clusters"] == counts["train_clusters"] + counts["validation_clusters"] == 31
    assert counts["singletons"] == 20
    assert read_manifest(planted / "out")["rejected_examples"]["letters"] == ["protein"]


@requires_mmseqs
def test_every_unique_sequence_ends_in_one_cluster(planted):
    records = read_records(planted / "out")
    expected = {*ORIGINALS, *RELATIVES, ORIGINALS[24] + "ACGU", "ACGUACGUACGUACGU"}
    assert Counter(record[1] for record in records) == Counter(expected)


@requires_mmseqs
def test_near_duplicates_share_a_cluster_and_strangers_do_not(planted):
    cluster_of = {record[1]: record[2] for record in read_records(planted / "out")}
    for original, relative in zip(ORIGINALS[:10], RELATIVES, strict=True):
        assert cluster_of[original] == cluster_of[relative]
    assert cluster_of[ORIGINALS[24]] == cluster_of[ORIGINALS[24] + "ACGU"]
    assert len({cluster_of[original] for original in ORIGINALS}) == len(ORIGINALS)


@requires_mmseqs
def test_clusters_are_whole_and_adjacent(planted):
    seen = {}
    for name in SPLITS:
        split = open_split(planted / "out", name)
        starts = split.cluster_starts
        for first, last in pairwise(starts):
            numbers = {split.cluster(i) for i in range(first, last)}
            assert len(numbers) == 1
            assert not numbers & seen.keys()
            seen[numbers.pop()] = name
    assert set(seen.values()) == set(SPLITS)


@requires_mmseqs
def test_a_cluster_begins_with_its_representative(planted):
    steps = planted / "out" / "steps"
    positions = np.unique(np.load(steps / "clusters" / "clusters.npy"))
    records = pa.ipc.open_file(steps / "records" / "records.arrow").read_all()
    indices = np.load(steps / "unique" / "unique.npy")[positions]
    representatives = records.column("sequence").take(indices).to_pylist()
    first = [
        split.sequence(start).tobytes()
        for split in (open_split(planted / "out", name) for name in SPLITS)
        for start in split.cluster_starts[:-1]
    ]
    assert sorted(first) == sorted(representatives)


@requires_mmseqs
def test_labels_follow_their_record(planted):
    records = {record[0]: record for record in read_records(planted / "out")}
    assert records["original3"][3:5] == ("in.fasta", "tRNA")
    assert records["relative3"][4] == "rRNA"
    assert records["short"][4] == "miRNA"
    assert "original20" in records, "of duplicates, the one with a type is kept"


@requires_mmseqs
def test_manifest_describes_the_shards(planted):
    manifest = read_manifest(planted / "out")
    records = read_records(planted / "out")
    for name in SPLITS:
        part = manifest["splits"][name]
        mine = [record for record in records if record[5] == name]
        letters = Counter("".join(record[1] for record in mine))
        total = letters.total()
        entropy = -sum(n / total * math.log(n / total) for n in letters.values())
        assert part["letters"] == dict(letters)
        assert part["unigram_entropy_nats_per_nt"] == pytest.approx(entropy, abs=1e-6)
        assert part["records"] == len(mine)
        assert part["nt"] == total
        assert part["clusters"] == len({record[2] for record in mine})
        types = {name: row["records"] for name, row in part["rna_types"].items() if row["records"]}
        assert types == Counter(record[4] for record in mine)
        assert sum(row["clusters"] for row in part["rna_types"].values()) == part["clusters"]
        for shard in part["shards"]:
            assert hash_file(planted / "out" / shard["file"]) == shard["sha256"]
    assert manifest["tools"].keys() == {"openrinalmo", "python", "pyarrow", "mmseqs"}
    assert manifest["inputs"][0]["sha256"] == hash_file(planted / "in.fasta")
    assert str(planted) not in (planted / "out" / "manifest.json").read_text()


@requires_mmseqs
@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_packed_input_gives_the_same_shards(planted, tmp_path, pack):
    (tmp_path / "in.fasta").write_bytes(pack((planted / "in.fasta").read_bytes()))
    manifest = prepare(tmp_path / "out", tmp_path / "in.fasta")
    assert manifest["splits"] == read_manifest(planted / "out")["splits"]


@requires_mmseqs
def test_order_of_records_and_names_of_files_decide_nothing(planted, tmp_path):
    halves = [PLANTED[20:][::-1], PLANTED[:20][::-1]]
    paths = [tmp_path / "b.fasta", tmp_path / "a.fasta"]
    for path, half in zip(paths, halves, strict=True):
        path.write_text(format_fasta(half))
    prepare(tmp_path / "out", *paths)
    keep = [1, 2, 5]  # sequence, cluster, split
    expected = [[record[i] for i in keep] for record in read_records(planted / "out")]
    assert [[record[i] for i in keep] for record in read_records(tmp_path / "out")] == expected


@requires_mmseqs
def test_metadata_gives_types(planted, tmp_path):
    table = "n\tkind\n" + "".join(f"original{n}\tGene; snRNA\n" for n in range(30))
    (tmp_path / "meta.tsv").write_text(table)
    columns = ["--metadata-id-column", "n", "--metadata-type-column", "kind"]
    arguments = [planted / "in.fasta", "--metadata", tmp_path / "meta.tsv", *columns]
    prepare(tmp_path / "out", *arguments)
    types = Counter(record[4] for record in read_records(tmp_path / "out"))
    assert types == {"Gene; snRNA": 31, "rRNA": 10, "miRNA": 1}
    with pytest.raises(ValueError, match="column 'kind' holds none of the identifiers"):
        prepare(tmp_path / "out", *arguments[:3], "--metadata-id-column=kind", *columns[2:])


@requires_mmseqs
def test_small_shards_hold_the_same_records(planted, tmp_path):
    manifest = prepare(tmp_path / "out", planted / "in.fasta", "--max-shard-nt=1000")
    assert len(manifest["splits"]["train"]["shards"]) > 5
    assert all(shard["nt"] <= 1000 for shard in manifest["splits"]["train"]["shards"])
    assert read_records(tmp_path / "out") == read_records(planted / "out")


@requires_mmseqs
def test_sample_gives_every_common_type_to_validation(tmp_path, capsys):
    main(["--out", str(tmp_path / "out"), "--threads=1"])
    manifest = read_manifest(tmp_path / "out")
    assert manifest["inputs"][0]["sha256"] == hash_file(SAMPLE_FASTA)
    assert (manifest["counts"]["read"], manifest["counts"]["accepted"]) == (3498, 3497)
    assert manifest["counts"]["duplicates"] == 0
    validation = manifest["splits"]["validation"]["rna_types"]
    assert len(validation) == 8
    assert all(row["clusters"] >= 3 for row in validation.values())
    summary = capsys.readouterr().out
    assert hash_manifest(tmp_path / "out")[:12] in summary
    assert "3,498 records" in summary


@requires_mmseqs
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no FASTA record"),
        (gzip.compress(format_fasta(PLANTED).encode())[:-30], "the gzip stream ends early"),
        (b">a\n" + ORIGINALS[0].encode() + b"\n>b\n\x00\x01\n", "record 2, line 3: holds binary"),
        (b">a\nACGU\n", r"none of the 1 records .* passed the filters; .*'too_short': 1"),
    ],
    ids=["empty", "truncated", "binary", "all_rejected"],
)
def test_bad_files_stop_before_anything_is_published(planted, tmp_path, data, message):
    (tmp_path / "bad.fasta").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "out", tmp_path / "bad.fasta")
    assert not (tmp_path / "out" / "manifest.json").exists()
    prepare(tmp_path / "out", planted / "in.fasta")
    before = hash_manifest(tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "out", tmp_path / "bad.fasta")
    assert hash_manifest(tmp_path / "out") == before, "the old data stays"
    assert read_records(tmp_path / "out") == read_records(planted / "out")


@pytest.fixture
def tables(tmp_path):
    """Local files as RNAcentral and Rfam publish them."""
    family = ["RF00017", "Metazoa_SRP", *["x"] * 16, "Gene;"]
    (tmp_path / "mapping").write_text(
        "URS0000000001\tENA\tx\t1\tmisc_RNA\t\nURS0000000002\tENA\tx\t1\trRNA\t\n"
    )
    (tmp_path / "hits").write_text("URS0000000001\tRF00017\t50\t1e-9\t11\t190\t1\t99\twords\n")
    (tmp_path / "family").write_text("\t".join(family) + "\n")
    return tmp_path


@requires_mmseqs
def test_types_come_from_local_tables(tables, tmp_path):
    records = [(f"URS000000000{n}_9606", ORIGINALS[n]) for n in range(1, 4)]
    (tmp_path / "in.fasta").write_text(format_fasta(records))
    flags = ("--id-mapping", tables / "mapping", "--rfam-annotations", tables / "hits")
    prepare(tmp_path / "out", tmp_path / "in.fasta", *flags, "--family-table", tables / "family")
    found = {record[0][12]: record[4] for record in read_records(tmp_path / "out")}
    assert found == {"1": "SRP_RNA", "2": "rRNA", "3": "unknown"}


def test_named_tables_stand_for_those_that_were_fetched(tables, tmp_path):
    files = [
        {"file": name, "bytes": (tables / name).stat().st_size, "annotation": kind}
        for name, kind in (("mapping", "id_mapping"), ("family", "family"), ("hits", None))
    ]
    (tables / "sources.json").write_text(json.dumps([{"files": files}]))
    (tables / "mine").write_text("URS0000000001\tENA\tx\t1\tRNA\t\n")
    named = {"--fetched": tables, "--id-mapping": tables / "mine", "--out": tmp_path}
    config = parse_arguments([str(part) for pair in named.items() for part in pair])
    assert config.annotations.id_mapping == tables / "mine"
    assert config.annotations.family == tables / "family"
    assert config.annotations.rfam_annotations is None
    with pytest.raises(ValueError, match="nowhere is not a file"):
        parse_arguments(["--id-mapping", "nowhere", "--out", "x"])
    with pytest.raises(ValueError, match="give their types too, with --family-table"):
        parse_arguments(["--rfam-annotations", "hits", "--out", "x"])


def test_main_ends_with_one_line_on_an_error(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "absent.fasta"), "--out", str(tmp_path / "out")])
    assert str(stopped.value).startswith("error: ")
    assert "absent.fasta is not a file" in str(stopped.value)
