import json
import math

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from openrinalmo.pipeline.pretraining.json_rows import append_row, read_rows
from openrinalmo.pipeline.pretraining.tracking import LOG_NAME, Tracker


def read_scalars(folder, tag):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def track(folder, *, first_step=0, is_rank_zero=True):
    return Tracker(folder, first_step=first_step, steps=10, is_rank_zero=is_rank_zero)


def test_rows_are_strict_json_and_survive_a_process_that_died_in_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"loss": math.nan, "parts": [1.5, math.inf], "by": {"tRNA": -math.inf}})
    append_row(path, {"loss": 0.1})
    assert "NaN" not in path.read_text()
    with path.open("a") as file:
        file.write('{"loss": 0.')
    assert read_rows(path) == [
        {"loss": None, "parts": [1.5, None], "by": {"tRNA": None}},
        {"loss": 0.1},
    ]
    assert read_rows(tmp_path / "none") == []


def test_a_run_that_goes_on_or_back_forgets_what_it_makes_again(tmp_path):
    tracker = track(tmp_path)
    for step in range(1, 8):
        tracker.log("validation", step, {"loss": float(step)})
    tracker.close()
    tracker = track(tmp_path, first_step=5)
    tracker.log("validation", 6, {"loss": 60.0})
    tracker.log("validation", 7, {"loss": 70.0})
    tracker.go_back(6)
    tracker.log("validation", 7, {"loss": 700.0})
    tracker.close()
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0), (6, 60.0), (7, 700.0)]
    rows = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == expected
    assert read_scalars(tmp_path, "validation/loss") == expected


def test_groups_and_pictures_land_in_tensorboard(tmp_path):
    tracker = track(tmp_path)
    tracker.log("validation", 3, {"loss_per_rna_type": {"tRNA": 0.5}, "note": "not a number"})
    tracker.log_images("probes", 3, {"tRNA": np.zeros((4, 6, 3), np.uint8)})
    tracker.close()
    assert read_scalars(tmp_path, "validation/loss_per_rna_type/tRNA") == [(3, 0.5)]
    (image,) = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("probes/tRNA")
    assert (image.step, image.height, image.width) == (3, 4, 6)


def test_other_ranks_write_nothing(tmp_path):
    tracker = track(tmp_path, is_rank_zero=False)
    tracker.log("validation", 1, {"loss": 1.0})
    tracker.log_images("probes", 1, {"x": np.zeros((2, 2, 3), np.uint8)})
    tracker.advance()
    tracker.go_back(0)
    tracker.close()
    assert not list(tmp_path.iterdir())
