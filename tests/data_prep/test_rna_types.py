"""RNA types by identifier: RNAcentral's mapping, Rfam's hits and family table."""

import bz2
import gzip
import random
from pathlib import Path

import pytest

from openrinalmo.data_prep import urs_types
from openrinalmo.data_prep.rna_types import AnnotationConfig, Annotations, read_rfam_types
from support.annotations import FAMILIES, MAPPING, RFAM_HITS, family_row, find_types, to_table


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
    assert find_types(annotations, "x", ids, length_nt=100) == expected
    assert find_types(annotations, "x", ids, length_nt=250) == [None] * 5


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
    found = find_types(annotations, "x", [urs.encode() for urs in ids], length_nt=100)
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
    assert find_types(annotations, "rnacentral_active.fasta.gz", found) == list(found.values())
    assert find_types(annotations, "x", []) == []
    ids = [b"AB1234.1/1-99", b"URS0000000001", b"URS0000020000"]
    mixed = find_types(annotations, "RF00005.fa.gz", ids)
    assert mixed == ["tRNA", b"rRNA", "tRNA"], "the file's family tells more than other"


def test_without_annotations_nothing_is_known():
    assert find_types(Annotations(AnnotationConfig()), "RF00005.fa.gz", [b"URS0000000001"]) == [
        None
    ]
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
    found = find_types(annotations, "x", [urs.encode() for urs in ids])
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
