"""A checkpoint and a benchmark of three families, both made up."""

import pytest

from openrinalmo.pipeline.downstream.representations.embed import load_checkpoint
from support.families import build_lines, write_checkpoint, write_structures


@pytest.fixture
def checkpoint(tmp_path):
    return load_checkpoint(write_checkpoint(tmp_path / "run"))


@pytest.fixture
def data(tmp_path):
    return write_structures(tmp_path / "toy_3.tsv", build_lines())
