"""Tables of families: what is read, refused, and drawn."""

import gzip

import pytest

from openrinalmo.pipeline.downstream.zero_shot.family_members import (
    FamilyMember,
    choose_members,
    read_members,
)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def choose(members, **changes):
    settings = {
        "min_family_size": 2,
        "max_families": 0,
        "max_per_family": 0,
        "max_length_nt": 100,
        "seed": 0,
    }
    return choose_members(members, **{**settings, **changes})


def test_tables_of_several_headers(tmp_path):
    expected = [FamilyMember("x", "ACGU"), FamilyMember("y", "GGU")]
    tabs = write(
        tmp_path / "a.tsv", "id\tfamily\tsequence\tstructure", "1\tx\tacgt\t....", "2\ty\tGGU\t..."
    )
    commas = write(tmp_path / "b.csv", "sequence,label", "ACGU,x", "GGT,y")
    rfam = write(tmp_path / "c.tsv", "rfam_acc\trfam_id\tsequence", "R1\tx\tACGU", "R2\ty\tGGU")
    packed = tmp_path / "d.csv.gz"
    packed.write_bytes(gzip.compress(commas.read_bytes()))
    dots = write(
        tmp_path / "z.dbn", ">1", "GGGAAAACCC", "(((....)))", ">2", "GGGAAACCC", "(((...)))"
    )
    for path in (tabs, commas, rfam, packed):
        assert read_members(path) == expected, path
    assert [one.sequence for one in read_members(dots)] == ["GGGAAAACCC", "GGGAAACCC"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,sequence", "1,ACG"], "no column that names the family"),
        (["family,sequence", "x"], ":2 has 1 columns, must be 2"),
        (["family,sequence", "x,ACG", ",ACG"], ":3 has an empty family"),
    ],
)
def test_tables_that_are_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_members(write(tmp_path / "bad.csv", *lines))


def list_members(**sizes):
    return [
        FamilyMember(family, "ACGU" * 2 + family.upper() * n)
        for family, size in sizes.items()
        for n in range(1, size + 1)
    ]


def test_copies_sequences_of_two_families_and_small_families_are_out():
    members = list_members(a=4, c=3, g=1)
    members += [members[0], FamilyMember("c", members[1].sequence), FamilyMember("a", "A" * 101)]
    chosen, notes = choose(members)
    assert {one.family for one in chosen} == {"a", "c"}
    assert len({one.sequence for one in chosen}) == len(chosen) == 6
    assert members[1].sequence not in {one.sequence for one in chosen}
    assert "2 exact repeats, 1 sequences" in notes[1]
    assert "1 RNAs of more than 100 nt, 1 families" in notes[1]
    assert choose(members) == (chosen, notes)


def test_limits():
    members = list_members(a=9, c=5, g=7)
    assert {one.family for one in choose(members, max_families=2)[0]} == {"a", "g"}
    few = choose(members, max_per_family=3)[0]
    assert [one.family for one in few] == ["a"] * 3 + ["c"] * 3 + ["g"] * 3
    assert choose(members, max_per_family=3, seed=1)[0] != few
    with pytest.raises(ValueError, match="min_family_size=8 distinct RNAs, got a"):
        choose(members, min_family_size=8)
