"""Which words of the command line are inputs, and which belong to a flag."""

import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.sample import SAMPLE_FASTA

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mix.fa", "a.fa", "b.fa"):
        Path(name).write_text(">a\nACGU\n")


def test_a_file_after_exclude_is_an_input(files):
    config = parse_arguments(["--out", "o", "--exclude", "a.fa", "mix.fa"])
    assert config.inputs == (Path("mix.fa"),)
    assert config.exclude.benchmarks == (Path("a.fa"),)
    config = parse_arguments(["--out", "o", "--exclude-family", "tRNA", "mix.fa"])
    assert (config.inputs, config.exclude.families) == ((Path("mix.fa"),), ("tRNA",))


def test_exclude_may_be_given_again(files):
    flags = ["--exclude=a.fa", "--exclude=b.fa", "--exclude-family=x", "--exclude-family=y"]
    exclude = parse_arguments(["mix.fa", "--out", "o", *flags]).exclude
    assert exclude.benchmarks == (Path("a.fa"), Path("b.fa"))
    assert exclude.families == ("x", "y")


def test_a_second_value_beside_named_inputs_is_refused(files, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["mix.fa", "--out", "o", "--exclude", "a.fa", "b.fa"])
    assert "unrecognized arguments: b.fa" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--exclude", "a.fa"], ["--update", "old"]])
def test_the_sample_is_no_stand_in_for_forgotten_inputs(files, flag):
    with pytest.raises(ValueError, match=f"{flag[0]} without a FILE to prepare.*{SAMPLE_FASTA}"):
        parse_arguments(["--out", "o", *flag])
    assert parse_arguments([str(SAMPLE_FASTA), "--out", "o", *flag]).inputs == (SAMPLE_FASTA,)


def test_the_sample_goes_without_a_family(files):
    assert parse_arguments(["--out", "o", "--exclude-family", "tRNA"]).inputs == (SAMPLE_FASTA,)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_hands_on_every_word(files, tmp_path):
    said = subprocess.run(
        [
            *["make", "-n", "-C", str(ROOT), "data", "FASTA=mix.fa", "EXCLUDE_FAMILY=tRNA rRNA"],
            f"EXCLUDE={tmp_path}/[ab].fa none.tsv",
        ],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    words = shlex.split(said)
    pairs = list(pairwise(words))
    assert [value for flag, value in pairs if flag == "--exclude"] == [
        f"{tmp_path}/a.fa",
        f"{tmp_path}/b.fa",
        "none.tsv",
    ]
    assert [value for flag, value in pairs if flag == "--exclude-family"] == ["tRNA", "rRNA"]
