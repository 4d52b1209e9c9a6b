"""The entry from a shell: the table on standard output, clear words where something is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.families import build_lines, write_checkpoint, write_structures

ENTRY = Path(__file__).resolve().parents[2] / "pipeline" / "eval_families.py"
SMALL = ("systems=pretrained,one-hot", "fit.head_steps=2", "workers=1", "device=cpu")


def run_entry(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-P", ENTRY, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_table_and_files(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "run")
    data = write_structures(tmp_path / "toy.tsv", build_lines())
    done = run_entry(
        *(tmp_path, "--checkpoint", checkpoint, "--data", data, "--local_rank", 0),
        *("--folds", "long,short", *SMALL),
    )
    assert done.returncode == 0, done.stderr
    assert "mean of families" in done.stdout
    assert "benchmark:toy-fam|" in done.stdout
    assert "|folds:long+short|" in done.stdout
    (folder,) = (tmp_path / "runs" / "families").iterdir()
    assert folder.name.startswith("toy-")
    for name in ("families.csv", "families.json", "families.svg", "families.md", "sequences.csv"):
        assert (folder / name).exists()
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no --checkpoint; make one with `make pretrain`"),
        (("--checkpoint", "nowhere"), "nowhere"),
        (("--checkpoint", "run", "fit.head_step=2"), "did you mean 'head_steps'"),
        (("--checkpoint", "run", "--data", "nowhere"), "no data at nowhere"),
        (("--checkpoint", "run", "--folds", "rRNA"), "no family rRNA; there are"),
    ],
    ids=["no checkpoint", "no file", "typo", "no data", "no family"],
)
def test_mistakes_end_in_one_clear_line(tmp_path, arguments, message):
    write_checkpoint(tmp_path / "run")
    done = run_entry(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
