"""The entry from a shell: the summary on standard output, clear words where one is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.families import build_lines, write_checkpoint, write_structures

ENTRY = Path(__file__).resolve().parents[2] / "pipeline" / "eval_families.py"
TWICE = ("--test", "A=x.dbn", "--test", "A=y.dbn")
SMALL = ("systems=pretrained,one-hot", "regime.max_steps=2", "workers=1", "device=cpu")


def run_entry(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-P", ENTRY, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_summary_and_files(tmp_path):
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
    (folder,) = (tmp_path / "runs" / "scorecards").iterdir()
    for name in ("families.json", "scorecard.html", "scorecard.md", "scorecard.csv"):
        assert (folder / name).exists()
    for name in ("families.csv", "families.svg", "families.md", "sequences.csv"):
        assert (folder / "families" / name).exists()
    assert str(folder.relative_to(tmp_path) / "scorecard.html") in done.stdout


def test_several_tasks_make_one_scorecard(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "run")
    data = write_structures(tmp_path / "toy.tsv", build_lines())
    given = ("--checkpoint", checkpoint, "--data", data, "--out", "card")
    done = run_entry(tmp_path, *given, "--tasks", "families", *SMALL)
    assert done.returncode == 0, done.stderr
    done = run_entry(tmp_path, *given, "--tasks", "embeddings", "min_family_size=3")
    assert done.returncode == 0, done.stderr
    stored = {path.name for path in (tmp_path / "card").glob("*.json")}
    assert stored >= {"families.json", "embeddings.json", "scorecard.json"}
    card = (tmp_path / "card" / "scorecard.html").read_text()
    assert "families held out" in card
    assert "Embeddings: families" in card

    other = write_checkpoint(tmp_path / "other", seed=1)
    done = run_entry(
        *(tmp_path, "--checkpoint", other, "--data", data, "--out", "card"),
        *("--tasks", "embeddings", "min_family_size=3"),
    )
    assert done.returncode == 0, done.stderr
    assert "families.json is of other weights" in done.stderr
    assert "families held out" not in (tmp_path / "card" / "scorecard.html").read_text()


def test_all_goes_on_where_a_task_refuses_the_data(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "run")
    one_family = [line for line in build_lines() if line[1] == "middle"]
    data = write_structures(tmp_path / "toy.tsv", one_family)
    done = run_entry(
        *(tmp_path, "--checkpoint", checkpoint, "--data", data, "--out", "card"),
        *("--tasks", "all"),
    )
    assert done.returncode == 1
    assert "not evaluated:\n  families: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Secondary structure, new sequences of known families" in done.stdout
    assert (tmp_path / "card" / "intra-family.json").exists()
    assert not (tmp_path / "card" / "families.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no --checkpoint; make one with `make pretrain`"),
        (("--checkpoint", "nowhere"), "nowhere"),
        (("--checkpoint", "run", "regime.max_step=2"), "did you mean 'max_steps'"),
        (("--checkpoint", "run", "--data", "nowhere"), "no data at nowhere"),
        (("--checkpoint", "run", "--folds", "rRNA"), "no family rRNA; there are"),
        (("--checkpoint", "run", "--tasks", "families,folding"), "no task folding; there are"),
        (("--checkpoint", "run", "--tasks", "families,families"), "name each task once"),
        (("--checkpoint", "run", "--tasks", "all", "seed=1"), "settings seed=1 are of one task"),
        (("--checkpoint", "run", "--tasks", "splice-donor"), "splice-donor needs --data FOLDER"),
        (
            ("--checkpoint", "run", "--tasks", "out-of-family", "--test", "mine"),
            "--test 'mine' must be NAME=PATH",
        ),
        (
            ("--checkpoint", "run", "--tasks", "out-of-family", *TWICE),
            "--test 'A=y.dbn' repeats the name A, which is x.dbn",
        ),
        (("--checkpoint", "run", *TWICE), "--test is of out-of-family, not of families: name its"),
        (("--checkpoint", "run", "--assays", "x.csv"), "--assays is of mutation-effects, not of"),
        (
            ("--checkpoint", "run", "--tasks", "mutation-effects", "--assays", "run"),
            "Is a directory: 'run'",
        ),
        (
            ("--checkpoint", "run", "--tasks", "embeddings", "--folds", "tRNA"),
            "--folds is of families, not of embeddings",
        ),
        (
            ("--checkpoint", "run", "--tasks", "embeddings", "--heads", "heads"),
            "--heads is of families and intra-family and out-of-family, not of embeddings",
        ),
        (("--checkpoint", "run", "--tasks", "all", "--data", "no"), "no has data for no task"),
        (
            ("--checkpoint", "run", "--heads", "no", "systems=one-hot"),
            "--heads decides nothing without pretrained in systems",
        ),
    ],
)
def test_mistakes_end_in_one_clear_line(tmp_path, arguments, message):
    write_checkpoint(tmp_path / "run")
    done = run_entry(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
