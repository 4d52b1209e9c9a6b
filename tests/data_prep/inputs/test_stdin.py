import io
import lzma

import pytest

from openrinalmo.data_prep.inputs.fasta import iter_fasta_blocks
from openrinalmo.data_prep.inputs.stdin import spool_stdin


def test_becomes_a_file_that_reads_like_any(tmp_path):
    path = spool_stdin(tmp_path / "steps", io.BytesIO(lzma.compress(b">a\nACGU\n")))
    assert path == tmp_path / "steps" / "stdin"
    assert [block.ids for block in iter_fasta_blocks(path)] == [[b"a"]]


def test_refuses_nothing(tmp_path):
    with pytest.raises(ValueError, match="standard input is empty: pipe"):
        spool_stdin(tmp_path, io.BytesIO())
    assert not list(tmp_path.iterdir())


def test_a_broken_pipe_leaves_no_file(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1, /):
            raise OSError("input/output error")

    with pytest.raises(OSError, match="input/output"):
        spool_stdin(tmp_path, Broken())
    assert not (tmp_path / "stdin").exists()
