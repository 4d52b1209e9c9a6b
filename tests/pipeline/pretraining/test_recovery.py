from pathlib import Path
from typing import Any

import pytest
import torch

from openrinalmo.data_prep.shards import open_split
from openrinalmo.pipeline.overrides import apply_overrides
from openrinalmo.pipeline.pretraining import recovery
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import RunState
from openrinalmo.pipeline.pretraining.incidents import INCIDENTS_NAME
from openrinalmo.pipeline.pretraining.json_rows import read_rows
from openrinalmo.pipeline.pretraining.presets import PRESETS
from openrinalmo.pipeline.pretraining.recovery import Recovery
from openrinalmo.pipeline.pretraining.start import build_stream
from openrinalmo.pipeline.pretraining.step import StepResult
from openrinalmo.pipeline.ranks import Ranks
from support.corpora import make_corpus

START = RunState(
    step=0, updates=0, skipped_packs=[], guards={}, config={}, manifest_hash="", versions={}
)


def build(tmp_path: Path, state: RunState = START, *settings: str, rank: int = 0) -> Recovery:
    corpus = tmp_path / "corpus"
    if not corpus.exists():
        make_corpus(corpus)
    small = ("batches.micro_batch_tokens=200", "batches.global_batch_tokens=400")
    fixed = ("sampling.max_length_nt=90", f"out={tmp_path}", f"data={corpus}")
    guards = ("guards.window_steps=8", "guards.max_rollbacks=1")
    config = apply_overrides(PRESETS["tiny"](), [*small, *fixed, *guards, *settings])
    split = open_split(corpus, "train")
    ranks = Ranks(rank=rank, local_rank=rank, world_size=2, device=torch.device("cpu"))
    return Recovery(config, ranks, build_stream(config, split, 0), split.rna_types, state)


def result(loss: float = 1.0, *, applied: bool = True) -> StepResult:
    return StepResult(
        loss=loss,
        pack_losses=[loss, loss],
        masked=20,
        tokens=150,
        squares=900,
        applied=applied,
        is_asked_to_stop=False,
    )


def spike(recovery: Recovery, first: int) -> None:
    verdicts = [recovery.judge(step, result(9.0), 1.0) for step in range(first, first + 3)]
    assert verdicts == ["fine", "fine", "spike"]


class FakeCheckpoint:
    def __init__(self, state: RunState) -> None:
        self.state = state


@pytest.fixture
def checkpoints(monkeypatch) -> dict[str, Any]:
    found: dict[str, Any] = {"state": None, "at_most": None}

    def open_newest(folder: Path, ranks: Ranks, *, at_most: int) -> FakeCheckpoint | None:
        found["at_most"] = at_most
        return FakeCheckpoint(found["state"]) if found["state"] else None

    monkeypatch.setattr(recovery, "open_newest", open_newest)
    return found


def test_after_a_roll_back_the_packs_of_the_spike_are_left_out(tmp_path, checkpoints):
    run = build(tmp_path)
    for step in range(10):
        run.judge(step, result(), 1.0)
    checkpoints["state"] = START._replace(step=8, updates=8)
    spike(run, 10)
    assert run.roll_back(12) is not None
    assert checkpoints["at_most"] == 10
    assert [run.number(place) for place in (16, 19, 20, 21)] == [16, 19, 26, 27]
    assert run.state()["skipped_packs"] == [[20, 26]]
    assert run.state()["guards"]["rollbacks"] == 1
    (incident,) = read_rows(tmp_path / INCIDENTS_NAME)
    assert [pack["number"] for pack in incident["packs"]] == list(range(20, 26))


def test_what_was_asked_to_be_left_out_still_is_after_a_roll_back(tmp_path, checkpoints):
    """The checkpoint gone back to is from before the asking."""
    run = build(tmp_path, START, "batches.skip_packs=40-41")
    for step in range(10):
        run.judge(step, result(), 1.0)
    checkpoints["state"] = START._replace(step=8, updates=8)
    spike(run, 10)
    run.roll_back(12)
    assert run.state()["skipped_packs"] == [[20, 26], [40, 42]]


def test_without_an_earlier_checkpoint_the_run_goes_on(tmp_path, checkpoints, caplog):
    run = build(tmp_path)
    for step in range(10):
        run.judge(step, result(), 1.0)
    spike(run, 10)
    assert run.roll_back(12) is None
    assert "no checkpoint is from before it: going on" in caplog.text
    assert run.state()["skipped_packs"] == []
    assert run.explain_end() is None
    assert run.judge(13, result(9.0), 1.0) == "fine", "a new streak begins"


def test_the_run_is_told_to_end_when_it_helped_itself_too_often(tmp_path, checkpoints):
    run = build(tmp_path)
    for round_ in range(2):
        assert run.explain_end() is None
        for step in range(10):
            run.judge(step, result(), 1.0)
        checkpoints["state"] = START._replace(step=8, guards=run.state()["guards"])
        spike(run, 10)
        run.roll_back(12)
        assert run.state()["guards"]["rollbacks"] == round_ + 1
    assert "spiked again after guards.max_rollbacks=1" in (run.explain_end() or "")


def test_other_ranks_judge_alike_and_write_nothing(tmp_path):
    run = build(tmp_path, rank=1)
    assert run.judge(0, result(float("nan"), applied=False), float("inf")) == "unusable"
    assert not (tmp_path / INCIDENTS_NAME).exists()
