"""Tables of measured variants: every way to write one, and errors that name the line."""

import gzip
import lzma

import pytest

from openrinalmo.pipeline.downstream.zero_shot.variant_tables import parse_variant, read_assays

WILD = "ACGUACGU"


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("A1G", "GCGUACGU"),
        ("a1t", "UCGUACGU"),
        ("T4A", "ACGAACGU"),
        ("U4a,G3C", "ACCAACGU"),
        ("A1G:C2U", "GUGUACGU"),
        ("A1G C2U;G3A", "GUAUACGU"),
        ("WT", WILD),
        ("wt", WILD),
        ("acgtacgtt", "ACGUACGUU"),
        ("ACG", "ACG"),
    ],
)
def test_variants(variant, expected):
    assert parse_variant(variant, WILD) == expected


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("G1A", "expects G at position 1, the wild type has A"),
        ("A0G", "outside the wild type of 8 nt"),
        ("A9G", "outside the wild type of 8 nt"),
        ("A1A", "another of A, C, G, U"),
        ("U4T", "another of A, C, G, U"),
        ("A1N", "another of A, C, G, U"),
        ("A1G,A1C", "position 1 twice"),
        ("A1del", "no substitution such as A12G"),
        ("12", "no substitution such as A12G"),
        ("ACGX", "letter 'X' at position 4"),
    ],
)
def test_variants_that_are_refused(variant, message):
    with pytest.raises(ValueError, match=message):
        parse_variant(variant, WILD)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_tabs_commas_and_compression_give_the_same(tmp_path):
    rows = [
        ["wild_type", "variant", "effect"],
        ["acgtACGT", "A1G", "0.5"],
        ["", "A1G,C2U", "-1e-3"],
        ["", "WT", "1"],
    ]
    tabs = write(tmp_path / "dms.tsv", *("\t".join(row) for row in rows))
    commas = write(tmp_path / "dms.csv", *(",".join(f'"{value}"' for value in row) for row in rows))
    packed = tmp_path / "dms.tsv.gz"
    # As a spreadsheet on Windows writes it.
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + tabs.read_bytes().replace(b"\n", b"\r\n")))
    [assay] = read_assays(tabs)
    assert (assay.name, assay.wild_type) == ("dms", WILD)
    assert [tuple(one) for one in assay.variants] == [
        ("A1G", "GCGUACGU", 0.5),
        ("A1G,C2U", "GUGUACGU", -0.001),
        ("WT", WILD, 1.0),
    ]
    assert read_assays(commas) == read_assays(packed) == [assay]


def test_several_assays_in_one_table(tmp_path):
    path = write(
        tmp_path / "two.csv",
        "assay,wild_type,variant,effect,reads",
        *(f"{name},{wild},{wild[0]}1{to},{effect},9" for name, wild in (("x", "AC"), ("y", "GU"))
          for effect, to in enumerate("CU")),
        "x,,A1G,7,9",
        "y,,G1A,7,9",
    )  # fmt: skip
    assert [(one.name, one.wild_type, len(one.variants)) for one in read_assays(path)] == [
        ("x", "AC", 3),
        ("y", "GU", 3),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["variant,effect"], "lacks the column wild_type"),
        ([""], "lacks the column wild_type, variant, effect"),
        (["wild_type,variant,effect"], "a header but no variant"),
        (["wild_type,variant,effect", ",A1G,1"], ":2: the first row of assay 'bad' needs"),
        (["wild_type,variant,effect", "ACG,A1G,1,2"], ":2 has 4 columns, must be 3"),
        (["wild_type,variant,effect", "ACG,A1G,low"], ":2: effect 'low' is no number"),
        (["wild_type,variant,effect", "ACG,A1G,inf"], ":2: effect 'inf' is not finite"),
        (["wild_type,variant,effect", "ACG,G1A,"], ":2: G1A expects G at position 1"),
        (["wild_type,variant,effect", "ACG,A1G,", ",A1C,na"], "0 variants with 0 different"),
        (["wild_type,variant,effect", "ACG,,1"], ":2: the variant is empty"),
        (["wild_type,variant,effect", "AC?,A1G,1"], ":2: wild_type: letter '\\?' at position 3"),
        (
            ["wild_type,variant,effect", "ACG,A1G,1", "ACU,A1C,1"],
            ":3: assay 'bad' has another wild type",
        ),
        (["wild_type,variant,effect", "ACG,A1G,1", ",A1C,2"], "2 variants with 2 different"),
        (
            ["wild_type,variant,effect", "ACG,A1G,1", ",A1C,1", ",A1U,1"],
            "3 variants with 1 different",
        ),
    ],
)
def test_tables_that_are_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_assays(write(tmp_path / "bad.csv", *lines))


def test_rows_without_an_effect_are_left_out_and_counted(tmp_path):
    path = write(
        tmp_path / "dms.csv",
        "assay,wild_type,variant,effect",
        *("x,AC,A1G,", "x,,A1C,1", "x,,A1U,2", "x,,C2A,3", "x,,C2G,NA", "x,,C2U,NaN"),
        *("y,GU,G1A,1", "y,,G1C,2", "y,,WT,3"),
    )
    assays = read_assays(path)
    assert [(one.name, len(one.variants), one.num_unmeasured) for one in assays] == [
        ("x", 3, 3),
        ("y", 3, 0),
    ]
    assert [one.effect for one in assays[0].variants] == [1, 2, 3]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_damaged_table_is_named(tmp_path, pack):
    rows = ["wild_type,variant,effect", *(f"{WILD},A1G,{number}" for number in range(2000))]
    packed = pack("\n".join(rows).encode())
    suffix = ".gz" if pack is gzip.compress else ".xz"
    middle = len(packed) // 2
    for damaged in (
        packed[:middle],
        packed[:middle] + bytes(20) + packed[middle + 20 :],
        rows[0].encode(),
    ):
        path = tmp_path / f"dms.csv{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"dms.csv{suffix} cannot be read .* fetch it again"):
            read_assays(path)
    path = tmp_path / "latin.csv"
    path.write_bytes("wild_type,variant,effect,\xe9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.csv cannot be read"):
        read_assays(path)


def test_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no table of variants"):
        read_assays(tmp_path / "none.csv")
