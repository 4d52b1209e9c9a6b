"""Text files of users: damaged ones and what csv cannot read are errors with a place."""

import gzip

import pytest

from openrinalmo.pipeline.downstream.structures.text_files import open_text
from openrinalmo.pipeline.downstream.tasks.families import read_fold_file
from openrinalmo.pipeline.downstream.zero_shot.family_members import read_members
from openrinalmo.pipeline.downstream.zero_shot.variant_tables import read_assays

VALUE = "G" * 200_000
MEMBERS = "family,sequence\nx,GA\n"
ASSAYS = "wild_type,variant,effect\nGA,G1A,1\n"


@pytest.mark.parametrize("read", [read_members, read_assays, read_fold_file])
def test_a_damaged_file_is_named(tmp_path, read):
    path = tmp_path / "a.csv.GZ"
    path.write_bytes(gzip.compress(MEMBERS.encode())[:12])
    with pytest.raises(ValueError, match=r"^[^:]*a\.csv\.GZ cannot be read .*; fetch it again"):
        read(path)


@pytest.mark.parametrize(("read", "rows"), [(read_members, MEMBERS), (read_assays, ASSAYS)])
@pytest.mark.parametrize(
    ("more", "cure"),
    [(f"y,{VALUE},1\n", "is no part of an RNA"), ('y,"G\n' + "y,G,1\n" * 30_000, "a quote that")],
)
def test_what_csv_cannot_read_is_an_error_with_its_line(tmp_path, read, rows, more, cure):
    path = tmp_path / "a.csv"
    path.write_text(rows + more)
    with pytest.raises(ValueError, match=rf"a\.csv:3: field larger than field limit .*{cure}"):
        read(path)


def test_a_file_of_another_encoding_is_refused_or_read_with_replacements(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"G\xe9\n")
    with open_text(path, errors="replace") as lines:
        assert lines.read() == "G\ufffd\n"
    with pytest.raises(ValueError, match=r"a\.txt cannot be read"), open_text(path) as lines:
        lines.read()
    with pytest.raises(FileNotFoundError, match="no file"), open_text(tmp_path / "b"):
        pass
