import errno
import logging
import random
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openrinalmo.pipeline.pretraining.checkpoints import checkpoint_writer
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import find_checkpoints
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_writer import (
    CheckpointConfig,
    CheckpointWriter,
)
from support.checkpoint_faults import (
    fail_on_rank_one,
    join,
    open_on_all,
    play,
    report_prefix,
    save_as_nobody,
    save_for_ever,
    save_twice,
    save_until_event,
    save_with_little_space,
    start,
)
from support.checkpoints import (
    ALONE,
    KEEP_ALL,
    SHAPES,
    assert_holds,
    cut,
    flip,
    make_state,
    make_values,
    open_alone,
    save,
)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_is_saved_is_what_was_there_at_the_call(tmp_path, asynchronous):
    writer = CheckpointWriter(tmp_path, CheckpointConfig(asynchronous=asynchronous), ALONE)
    for step in (1, 2, 3):
        values = cut(make_values(step), 0, (0,))
        state = make_state(step)
        writer.save(values.items(), SHAPES, state)
        state.skipped_packs.append([99, 100])
        for kinds in values.values():
            for value in kinds.values():
                value.fill_(-1)
        if not asynchronous:
            assert_holds(open_alone(tmp_path), make_values(step))
    writer.finish()
    writer.finish()
    for step, path in find_checkpoints(tmp_path).items():
        assert_holds(checkpoint_writer.Checkpoint(path), make_values(step))
        assert checkpoint_writer.Checkpoint(path).state == make_state(step)


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "kept"),
    [
        (0, 0, [10, 20, 30, 40, 50]),
        (2, 0, [40, 50]),
        (1, 20, [20, 40, 50]),
        (2, 30, [30, 40, 50]),
        (9, 0, [10, 20, 30, 40, 50]),
    ],
)
def test_what_is_kept(tmp_path, keep_last, keep_every, kept):
    config = CheckpointConfig(keep_last=keep_last, keep_every=keep_every)
    for step in (10, 20, 30, 40, 50):
        save(tmp_path, step, config=config)
    assert list(find_checkpoints(tmp_path)) == kept
    assert {path.name for path in tmp_path.iterdir()} == {
        "latest",
        *(f"step-000000{step}" for step in kept),
    }


def test_after_a_roll_back_the_new_course_is_kept_and_replaces_the_old(tmp_path):
    config = CheckpointConfig(keep_last=1)
    for step in (10, 20, 30):
        save(tmp_path, step)
    save(tmp_path, 20, config=config, values=make_values(99))
    assert list(find_checkpoints(tmp_path)) == [20, 30]
    assert_holds(open_alone(tmp_path), make_values(99))
    save(tmp_path, 30, config=config, values=make_values(100))
    assert list(find_checkpoints(tmp_path)) == [30]
    assert_holds(open_alone(tmp_path), make_values(100))


def test_settings_below_zero_are_refused():
    with pytest.raises(ValueError, match="checkpoint.keep_every must not be negative, got -1"):
        CheckpointConfig(keep_every=-1)


@pytest.mark.parametrize("next_step", [10, 20])
def test_killed_before_any_file_operation_old_or_new_is_the_newest_whole_one(
    tmp_path, next_step, caplog
):
    """`next_step` 10 replaces the old one; 20 is put beside it, and the old one deleted."""
    new = make_values(1000 + next_step)
    outcomes = set()
    event, code = 0, -9
    while code == -9:
        event += 1
        folder = tmp_path / str(event)
        old = save(folder, 10)
        code = join(start(save_until_event, folder, next_step, event))
        newest = open_alone(folder)
        is_new = torch.equal(newest.read("beta"), new["beta"]["weight"])
        assert_holds(newest, new if is_new else old)
        outcomes.add((code, is_new))
        after = save(folder, 30, config=CheckpointConfig(keep_last=2))
        assert_holds(open_alone(folder), after)
        assert not list(folder.glob("*.partial"))
        assert not list(folder.glob("*.replaced"))
    assert code == 0
    assert outcomes == {(-9, False), (-9, True), (0, True)}
    assert event > 15
    assert "passing over" not in caplog.text


def test_killed_at_random_moments_the_newest_is_always_whole(tmp_path, caplog):
    moments = random.Random(0)
    steps = [1]
    save(tmp_path, 1)
    for _ in range(30):
        child = start(save_for_ever, tmp_path, steps[-1] + 1)
        time.sleep(moments.uniform(0.02, 0.25))
        child.kill()
        assert join(child) == -9
        newest = open_alone(tmp_path)
        assert_holds(newest, make_values(newest.state.step))
        steps.append(newest.state.step)
    assert steps == sorted(steps)
    assert steps[-1] > 30
    assert "damaged" not in caplog.text


def read_report(folder: Path) -> str:
    (report,) = Path("/tmp").glob(f"{report_prefix(folder)}*")
    text = report.read_text()
    report.unlink()
    return text


@pytest.mark.parametrize("max_file_bytes", [100, 1000])
def test_a_full_disk_is_named_and_leaves_the_one_before(tmp_path, max_file_bytes):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    save(folder, 10)
    assert join(start(save_with_little_space, folder, 20, max_file_bytes)) == 7
    number, _, message = read_report(folder).partition(" ")
    assert int(number) == errno.EFBIG
    assert f"step-00000020 was not saved: File too large, in {folder}" in message
    assert "MB free" in message
    assert {path.name for path in folder.iterdir()} == {"latest", "step-00000010"}
    assert_holds(open_alone(folder), make_values(10))


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, 10)
    usage = shutil.disk_usage(tmp_path)._replace(free=300)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="No space left on device, in .*0 MB free, 0 MB") as caught:
        save(tmp_path, 20)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name for path in tmp_path.iterdir()} == {"latest", "step-00000010"}


def test_a_read_only_folder_is_named():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # nobody cannot reach pytest's own folders
    try:
        save(folder, 10)
        folder.chmod(0o555)
        assert join(start(save_as_nobody, folder, 20)) == 7
        assert f"step-00000020 was not saved: Permission denied, in {folder}" in read_report(folder)
        assert {path.name for path in folder.iterdir()} == {"latest", "step-00000010"}
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OSError, match="step-00000010 was not saved: Not a directory"):
        save(tmp_path / "checkpoints", 10)


def test_a_rank_that_never_comes_is_named(tmp_path):
    save(tmp_path, 10)
    ranks = replace(ALONE, world_size=3)
    writer = CheckpointWriter(tmp_path, KEEP_ALL, ranks, wait_limit_seconds=0.2)
    writer.save(cut(make_values(20), 0, (1, 1, 1)).items(), SHAPES, make_state(20))
    with pytest.raises(OSError, match="not saved: nothing from rank 1, 2 in 0 s"):
        writer.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"latest", "step-00000010"}


def test_the_next_save_raises_what_the_one_before_ran_into(tmp_path):
    ranks = replace(ALONE, world_size=2)
    writer = CheckpointWriter(tmp_path, KEEP_ALL, ranks, wait_limit_seconds=0.1)
    writer.save(cut(make_values(10), 0, (1, 1)).items(), SHAPES, make_state(10))
    with pytest.raises(OSError, match="step-00000010 was not saved: nothing from rank 1"):
        writer.save(cut(make_values(20), 0, (1, 1)).items(), SHAPES, make_state(20))


def test_real_ranks_save_one_checkpoint_together(tmp_path):
    (tmp_path / "meeting").mkdir()
    assert play(save_twice, tmp_path / "out", tmp_path / "meeting", 2) == ["saved", "saved"]
    assert list(find_checkpoints(tmp_path / "out")) == [10, 20]
    assert_holds(open_alone(tmp_path / "out"), make_values(20))


def test_where_one_rank_cannot_write_all_say_so_and_the_next_save_works(tmp_path):
    (tmp_path / "meeting").mkdir()
    said = play(fail_on_rank_one, tmp_path / "out", tmp_path / "meeting", 2)
    assert "20: [Errno 5] step-00000020 was not saved: rank 1 could not write" in said[0]
    assert "20: [Errno 27] step-00000020 was not saved: File too large" in said[1]
    assert list(find_checkpoints(tmp_path / "out")) == [10, 30]
    assert_holds(open_alone(tmp_path / "out"), make_values(30))


def test_real_ranks_agree_on_what_to_open(tmp_path):
    folder = tmp_path / "out"
    save(folder, 10)
    save(folder, 20, sizes=(3, 3, 3))
    flip(folder / "step-00000020" / "rank-00001-of-00003.safetensors", -1)
    for meeting, expected in (
        ("one", ["step 10"] * 2),
        ("two", ["no checkpoint in", "opening the newest checkpoint failed on rank 0"]),
    ):
        (tmp_path / meeting).mkdir()
        said = play(open_on_all, folder, tmp_path / meeting, 2)
        assert all(text.startswith(start) for text, start in zip(said, expected, strict=True)), said
        flip(folder / "step-00000010" / "state.json", 0)


def test_a_log_line_says_what_was_saved(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        save(tmp_path, 10)
    assert "saved" in caplog.text
    assert "step-00000010" in caplog.text
