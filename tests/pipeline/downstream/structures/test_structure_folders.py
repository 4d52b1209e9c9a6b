"""Folders of structure files: what is read of them, and which families and partitions they say."""

from pathlib import Path

import pytest

from openrinalmo.pipeline.downstream.structures.records import (
    describe_structures_lack,
    find_structures,
    hash_structures,
    read_structures,
)
from support.structure_files import read_one, write, write_ct


def read_families(source):
    return [(one.id, one.family) for one in read_structures(source)]


def test_files_named_as_archiveiis_are_of_the_family_they_begin_with(tmp_path):
    for name in ("5s_x1", "tRNA_y1", "RNaseP_z"):
        write(tmp_path, f"flat/{name}.ct", write_ct("GAAAC", {1: 5, 5: 1}))
    named = [("5s_x1", "5s"), ("RNaseP_z", "RNaseP"), ("tRNA_y1", "tRNA")]
    assert read_families(tmp_path / "flat") == named
    text = "".join(f">{name}\nGAAAC\n(...)\n" for name, _ in named)
    assert read_families(write(tmp_path, "all.dbn", text)) == named
    # Where one is named otherwise, a prefix may be anything: of a database, say.
    write(tmp_path, "flat/PDB_1.ct", write_ct("GAAAC", {}))
    assert {family for _, family in read_families(tmp_path / "flat")} == {"flat"}


def test_the_folder_that_is_read_is_a_family_but_no_partition(tmp_path, monkeypatch):
    write(tmp_path, "dev/a.ct", write_ct("GAAAC", {}))
    write(tmp_path, "dev/TR0/b.ct", write_ct("GAAAC", {}))
    monkeypatch.chdir(tmp_path / "dev")
    for source in (tmp_path / "dev", Path()):
        records = read_structures(source)
        assert [(one.id, one.family, one.partition) for one in records] == [
            ("b", "TR0", "TR0"),
            ("a", "dev", ""),
        ]


RNASTRALIGN = (
    *("16S_rRNA_database/Actinobacteria/a", "16S_rRNA_database/Chlamydiae/b"),
    *("5S_rRNA_database/Bacteria/c", "tRNA_database/d"),
)


@pytest.mark.parametrize("source", ["", "*_database", "*/**/*.ct"])
def test_relatives_in_folders_inside_a_familys_are_of_that_family(tmp_path, source):
    for name in RNASTRALIGN:
        write(tmp_path / "set", f"{name}.ct", write_ct("GAAAC", {}))
    assert read_families(tmp_path / "set" / source) == [
        *(("a", "16S_rRNA_database"), ("b", "16S_rRNA_database")),
        *(("c", "5S_rRNA_database"), ("d", "tRNA_database")),
    ]


@pytest.mark.parametrize("place", ["{part}/{family}/x", "{family}/{part}/x", "{part}/x/{family}"])
@pytest.mark.parametrize("source", ["", "**/*.st"])
def test_partitions_and_families_are_folders_in_any_order(tmp_path, place, source):
    pairs = [("TR0", "5S"), ("TS0", "tRNA"), ("test", "5S")]
    for part, family in pairs:
        name = place.format(part=part, family=family)
        write(tmp_path / "val", f"{name}/{part}.st", f"#Name: {part}\nGAAAC\n(...)\n")
    records = read_structures(tmp_path / "val" / source)
    assert {one.id: one.partition for one in records} == {part: part for part, _ in pairs}
    outermost = {part: "x" if place.endswith("family}") else family for part, family in pairs}
    assert {one.id: one.family for one in records} == outermost


def test_files_beside_one_of_several_rnas_are_families_too(tmp_path):
    one, two = (f">{name}\nGAAAC\n(...)\n" for name in "xy")
    for name, text in {
        **{"TR0/5S": one + two, "TS0/5S": one.replace("x", "z"), "tmRNA": one},
        **{"sub/a": one + two, "sub/b": one, "other/c": one},
    }.items():
        write(tmp_path / "set", f"{name}.dbn", text)
    assert {family for _, family in read_families(tmp_path / "set")} == {
        *("5S", "tmRNA", "a", "b", "other"),
    }
    # A file that states its families says nothing of those beside it.
    alignment = "# STOCKHOLM 1.0\n#=GF ID f\nx GC\ny GC\n#=GC SS_cons ..\n//\n"
    write(tmp_path / "set", "other/seed.sto", alignment)
    assert dict(read_families(tmp_path / "set"))["x"] == "tmRNA"
    assert {family for _, family in read_families(tmp_path / "set/other")} == {"f", "other"}


def test_partitions_are_columns_or_folders(tmp_path):
    table = "id\tpartition\tsequence\tstructure\nx\tTR0\tGAAAC\t(...)\n"
    assert read_one(tmp_path, "x.tsv", table).partition == "TR0"
    write(tmp_path / "bp", "TS0/y.st", "#Name: y\nGAAAC\n(...)\n")
    (record,) = read_structures(tmp_path / "bp")
    assert (record.id, record.partition, record.family) == ("y", "TS0", "TS0")


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="none ends in"):
        read_structures(tmp_path)
    with pytest.raises(FileNotFoundError, match="give a structure file, a folder or a glob"):
        read_structures(tmp_path / "*.ct")


def test_what_is_not_read_of_a_folder_is_named(tmp_path, caplog):
    for name in ("a.dbn", "5S.fa", "seed.stockholm.txt", "README", "paper.pdf", ".x/b.dbn"):
        write(tmp_path / "set", name, ">x\nG\n.\n")
    for name in ("._a.dbn", ".ipynb_checkpoints/a.dbn", "__MACOSX/a.dbn"):
        write(tmp_path / "set", name, "\0")
    assert read_families(tmp_path / "set") == [("x", "set")]
    assert "2 files are not read, for what their names end in: 5S.fa, seed.stockh" in caplog.text
    # A hidden folder may be what is asked for.
    assert read_families(tmp_path / "set/.x") == [("x", ".x")]


def test_linked_folders_are_read_once(tmp_path):
    write(tmp_path / "far", "x.ct", write_ct("GAAAC", {}))
    write(tmp_path / "set", "5S/y.ct", write_ct("GAAAC", {}))
    for name, target in {
        "tRNA": "../far",
        "0": "5S",
        "5S/up": "..",
        "tRNA/round": "../set",
    }.items():
        (tmp_path / "set" / name).symlink_to(target)
    for source in ("set", "set/*"):
        assert read_families(tmp_path / source) == [("y", "5S"), ("x", "tRNA")]
    for source in ("set", "set/*.ct"):
        (tmp_path / "set/z.ct").unlink(missing_ok=True)
        (tmp_path / "set/z.ct").symlink_to("nowhere")
        with pytest.raises(FileNotFoundError, match=r"set/z\.ct is a link to nothing"):
            read_structures(tmp_path / source)


def test_the_hash_of_a_folder_is_that_of_its_files(tmp_path):
    first = write(tmp_path / "set", "a.dbn", ">x\nG\n.\n")
    alone = hash_structures(first)
    before = hash_structures(tmp_path / "set")
    assert before != alone
    assert hash_structures(tmp_path / "set") == before
    write(tmp_path / "set", "b.dbn", ">y\nG\n.\n")
    assert hash_structures(tmp_path / "set") != before


def test_the_hash_and_the_name_are_of_the_folder_however_it_is_spelled(tmp_path, monkeypatch):
    for name in ("a", "TR0/5S/b", "5S/c"):
        write(tmp_path / "set", f"{name}.dbn", f">{name[-1]}\nG\n.\n")
    before = hash_structures(tmp_path / "set")
    assert hash_structures(tmp_path / "set" / "**" / "*.dbn") == before
    monkeypatch.chdir(tmp_path / "set" / "5S")
    for source in (Path("../"), Path("../../set/5S/..")):
        assert hash_structures(source) == before
        assert find_structures(source).name == "set"
        assert describe_structures_lack(source) == ""
    monkeypatch.chdir(tmp_path / "set")
    assert hash_structures(Path()) == before
    assert find_structures(Path()).name == "set"
    # The partition of an RNA is in the hash.
    (tmp_path / "set/TR0").rename(tmp_path / "set/TS0")
    assert hash_structures(Path()) != before
