"""Structure files that are refused: the error names the file, the line and the cure."""

import bz2
import io
import pickle
import tarfile
import zipfile

import pytest

from openrinalmo.pipeline.downstream.structures.records import read_structures
from support.structure_files import write, write_ct


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.dbn", ">x\nGGA\n", r"a\.dbn:1 \(x\): a sequence of 3 nt but no structure"),
        ("a.dbn", ">x\n(((...)))\n", r"a\.dbn:2: '\(\(\(\.\.\.\)\)\)' where a seq.*comes first"),
        ("a.dbn", ">x\nG.A_C\n(...)\n", r"a\.dbn:2: 'G\.A_C' where a sequence .* '-' only"),
        ("a.dbn", ">x\nGA&AC\n(.&.)\n", r"a\.dbn:2: '&' joins two strands: give one RNA of"),
        ("a.dbn", ">x\n>y\nG\n.\n", r"a\.dbn:1 \(x\): a record without a sequence"),
        ("a.dbn", ">x\nGGA\n...\n...\n", r"a\.dbn:4: '\.\.\.' follows a structure as long"),
        ("a.dbn", ">x\nGGA\n....\n", r"a\.dbn:1 \(x\): 3 nt but a structure of 4"),
        ("a.dbn", ">y\nGG\n..\n>x\nGGA\n(..\n", r"a\.dbn:4 \(x\): .* position 1 of 3 is never"),
        ("a.dbn", ">x\nGGAAC 12\n(...)\n", r"a\.dbn:2: 'GGAAC 12' is neither letters"),
        ("a.dbn", ">x\nGAAAC (...)\n", r"a\.dbn:2: 'GAAAC .*' is neither letters"),
        ("a.dbn", ">x\nGAAAC\n(...) x1\n", r"a\.dbn:3: 'x1' after the structure is neither"),
        ("a.dbn", ">x\nGAAAC GAAAC\n(...) (...\n", r"a\.dbn:1 \(x\): 10 nt but a structure of 9"),
        ("a.dbn", ">x\nGPA\n...\n", r"a\.dbn:1 \(x\): letter 'P' at position 2 of 3 .* write N"),
        ("a.dbn", ">x\nG\N{LATIN SMALL LETTER ETH}A\n...\n", r"letter .* at position 2 of 3"),
        ("a.dbn", ">x\n---\n...\n", r"a\.dbn:1 \(x\): the sequence is all gaps"),
        ("a.dbn", ">x\nG\n.\n>x\nG\n.\n", r"a\.dbn:4 repeats the id 'x'"),
        (
            "a.dbn",
            ">x\nG\n.\n>x\nA\n.\n",
            r"a\.dbn:4 repeats the id 'x' of .*:1; give each its own",
        ),
        ("a.ct", "x\n1 G 0 2 0 1\n", r"a\.ct:2: a base, but no number of bases before it"),
        ("a.ct", "3 x\n1 G 0 2 0 1\n2 G 1 3 0 2\n", r"a\.ct:1: the CT record of 3 .* after 2"),
        (
            "a.ct",
            "2 x\n1 G 0 2 3 1\n2 G 1 0 0 2\n",
            r"a\.ct:2: base 1 pairs with 3, but .* 2 bases",
        ),
        ("a.ct", "2 x\n1 G 0 2 2 1\n2 G 1 0 0 2\n", r"a\.ct:2: base 1 pairs with 2, which has no"),
        ("a.ct", "1 x\n1 G 0 2 1 1\n", r"a\.ct:2: base 1 pairs with itself"),
        ("a.ct", "2 x\n1 G 0 2 0 1\n3 G 1 0 0 2\n", r"a\.ct:3: base 3 where 2 of 2 must stand"),
        ("a.ct", "2 x\n1 G 0\n", r"a\.ct:2: a CT line has at least 5 columns, got 3: base 1 of 2"),
        ("a.bpseq", "1 G 0\n3 A 0\n", r"a\.bpseq:2: base 3 follows base 1"),
        ("a.bpseq", "1 G 0\n1 A 0\n", r"a\.bpseq:2: base 1 is A, but G on line 1"),
        ("a.bpseq", "1 G x\n2 G 0\n", r"a\.bpseq:1: 'x' is not the number of a partner"),
        ("a.sto", "# STOCKHOLM 1.0\nx GGA\n//\n", r"a\.sto:1 \(unnamed.*no `#=GC SS_cons`"),
        (
            "a.sto",
            "# STOCKHOLM 1.0\nx GGA\n#=GC SS_cons ..\n//\n",
            r"a\.sto:2 \(x\): 3 columns, but",
        ),
        (
            "a.sto",
            "# STOCKHOLM 1.0\nx GGA\n#=GR x SS ..\n//\n",
            r"a\.sto:2 \(x\): 3 columns, but its SS has 2",
        ),
        ("a.sto", "# STOCKHOLM 1.0\nx G\n#=GR y SS .\n//\n", r"a\.sto:3: `#=GR y SS` is of no"),
        ("a.sto", "# STOCKHOLM 1.0\nx G\n#=GR x SS (\n//\n", r"a\.sto:3: SS of x: .* never"),
        (
            "a.sto",
            "# STOCKHOLM 1.0\nx GG\n#=GC SS_cons ..\n#=GC SS_cons_1 .\n//\n",
            r"a\.sto:4: SS_cons_1 has 1 columns, the line before it 2",
        ),
        ("a.sto", "# STOCKHOLM 1.0\nx GGA\n#=GC SS_cons ...\n", r"a\.sto:1: .* no closing //"),
        ("a.sto", "# STOCKHOLM 1.0\nx GGA\n#=GC SS_cons (..\n//\n", r"SS_cons: .* is never closed"),
        (
            "a.tsv",
            "id\tsequence\nx\tG\n",
            r"a\.tsv:1: no column structure; a table must begin with .*, take it out of the folder",
        ),
        (
            "a.csv",
            "# a set\nid,sequence\nx,G\n",
            r"a\.csv:2: no column structure; .* id family sequence structure, separated by tabs",
        ),
        (
            "a.csv",
            'id,sequence,structure\nx,G,.\n\ny,"G,.\nz,G,.\n',
            r"a\.csv:4: unexpected end of data; a quote that opens a value must close it",
        ),
        (
            "a.csv",
            'id,sequence,structure\nx,G,.\ny,"G,.\n' + "z,GAAAC,(...)\n" * 10_000,
            r"a\.csv:3: field larger than field limit .*; a quote that opens",
        ),
        ("a.csv", 'id,sequence,structure,x\nx,G,.,"a\nb"\ny,G,.\n', r"a\.csv:4 has 3 columns"),
        ("a.txt", "hello, world\n", r"a\.txt:1: neither a table"),
        ("a.txt", "", r"a\.txt:1: neither a table"),
        ("a.tsv.xz", "not packed", r"^[^:]*a\.tsv\.xz cannot be read"),
        ("a.TSV.GZ", "not packed", r"^[^:]*a\.TSV\.GZ cannot be read .*; fetch it again"),
        (
            "a.csv",
            f"id,sequence,structure\nx,G,.\ny,{'G' * 200_000},.\n",
            r"a\.csv:3: field larger than field limit .*; such a value is no part of an RNA",
        ),
        ("a.csv", "id,organism\nx,y\n", r"a\.csv:1: no header .*, take it out of the folder"),
        ("a.tsv", "1\t20\n", r"a\.tsv:1: no header with sequence and structure"),
        ("a.tsv", "name\nx\n1\n", r"a\.tsv:1: no header with sequence and structure"),
        ("a.tsv", "#id\tsequence\tstructure\n1\tG\t.\n", r"a\.tsv:1: a header that begins with"),
        ("a.txt", "#id\tsequence\tstructure\n1\tG\t.\n", r"a\.txt:1: a header that begins with"),
        ("a.sto", "#=GF ID x\n# STOCKHOLM 1.0\n//\n", r"a\.sto:1: an alignment begins with"),
    ],
)
def test_errors_name_file_record_and_line(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_structures(write(tmp_path, name, text))


def write_zip():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.dbn", ">x\nG\n.\n")
    return packed.getvalue()


def write_tar():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x.dbn"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pickle", pickle.dumps(["x", "GAAAC", "(...)"])),
        ("a.pkl", pickle.dumps(["x", "GAAAC", "(...)"], protocol=2)),
        ("a.zip", write_zip()),
        ("a.tar.gz", write_tar()),
        ("a.dbn.bz2", bz2.compress(b">x\nGAAAC\n(...)\n")),
        ("a.tsv", "id\tsequence\tstructure\nx\tG\t.\n".encode("utf-16")),
    ],
)
def test_what_is_no_text_is_said_to_be_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}:1: this is no text .*; unpack it, or write a"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize("title", ["x", ""])
def test_several_structures_of_one_rna_are_refused(tmp_path, title):
    first = write_ct("GAAAC", {1: 5, 5: 1}, title, "{n} ENERGY = -1.0 {title}")
    second = write_ct("GAAAC", {}, title, "{n} ENERGY = -0.5 {title}")
    message = r"a\.ct:7 gives '.*' of .*a\.ct:1 another structure, .* keep one structure of each"
    with pytest.raises(ValueError, match=message):
        read_structures(write(tmp_path, "a.ct", first + second))
