"""Watching a run: each checkpoint once, in TensorBoard, through deletions, kills and roll-backs."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from openrinalmo.pipeline.downstream.task_report import read_task_report
from openrinalmo.pipeline.downstream.watching import (
    EVENTS,
    WatchConfig,
    WatchedRun,
    name_scalars,
    watch_run,
)
from support.task_reports import build_map_report, build_report, build_score

CONFIG = WatchConfig(tasks=("toy",))


class FakeRun:
    """A run whose checkpoints are letters, and an evaluation that scores them."""

    def __init__(self, folder, checkpoints, *, is_finished=True):
        folder.mkdir(exist_ok=True)
        self.folder, self.checkpoints, self.is_finished = folder, checkpoints, is_finished
        self.evaluated = []
        self.gone = set()

    def build(self):
        return WatchedRun(
            folder=self.folder,
            list_checkpoints=lambda: dict(self.checkpoints),
            export=self.export,
            is_finished=lambda: self.is_finished,
        )

    def export(self, step, path):
        if step in self.gone:
            del self.checkpoints[step]
            raise FileNotFoundError("gone")
        path.write_text(self.checkpoints[step])

    def evaluate(self, checkpoint, names, preset, data, out):
        self.evaluated.append((checkpoint.parent.name, checkpoint.read_text(), tuple(names)))
        out.mkdir(parents=True, exist_ok=True)
        value = ord(checkpoint.read_text()) / 1000
        return [
            build_report(
                build_score(value, is_primary=True),
                build_score(0.05, system="random encoder", is_primary=True),
                task=name,
            )
            for name in names
        ]


def read_events(run):
    events = EventAccumulator(str(run.folder / EVENTS))
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 6)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_every_checkpoint_once_oldest_first(tmp_path):
    run = FakeRun(tmp_path / "run", {200: "b", 100: "a"})
    assert watch_run(run.build(), run.evaluate, CONFIG).done == [100, 200]
    assert run.evaluated == [
        ("step-00000100", "a", ("toy",)),
        ("step-00000200", "b", ("toy",)),
    ]
    assert watch_run(run.build(), run.evaluate, CONFIG).done == []
    assert len(run.evaluated) == 2
    folder = run.folder / "watch" / "step-00000200"
    assert read_task_report(folder / "toy.json").scores[0].value == 0.098
    assert (folder / "scorecard.html").exists()
    assert not (folder / "model.safetensors").exists()
    assert not list(run.folder.rglob("*.partial"))
    assert read_events(run) == {
        "downstream/toy/F1/pretrained": [(100, 0.097), (200, 0.098)],
        "downstream/toy/F1/random_encoder": [(100, 0.05), (200, 0.05)],
        "downstream/toy/F1/gap": [(100, 0.047), (200, 0.048)],
    }


def test_the_runs_own_event_files_are_left_alone(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})
    own = run.folder / "tensorboard" / "events.out.tfevents.1.host"
    own.parent.mkdir()
    own.touch()
    watch_run(run.build(), run.evaluate, CONFIG)
    assert [path for path in own.parent.iterdir() if path.is_file()] == [own]
    assert own.stat().st_size == 0


def test_waits_for_more_until_the_run_is_finished(tmp_path):
    run = FakeRun(tmp_path / "run", {}, is_finished=False)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 1:
            run.checkpoints[100] = "a"
        elif len(waited) == 3:
            run.checkpoints[200] = "b"
            run.is_finished = True

    config = WatchConfig(tasks=("toy",), every_seconds=7.0)
    assert watch_run(run.build(), run.evaluate, config, wait=wait).done == [100, 200]
    assert waited == [7.0] * 3


def test_once_does_not_wait(tmp_path):
    def refuse(seconds):
        pytest.fail("waited")

    run = FakeRun(tmp_path / "run", {100: "a"}, is_finished=False)
    assert watch_run(run.build(), run.evaluate, CONFIG, once=True, wait=refuse).done == [100]


def test_a_checkpoint_deleted_meanwhile(tmp_path, caplog):
    run = FakeRun(tmp_path / "run", {100: "a", 200: "b"})
    run.gone.add(100)
    assert watch_run(run.build(), run.evaluate, CONFIG).done == [200]
    assert "step 100: it was deleted meanwhile" in caplog.text
    assert not (run.folder / "watch" / "step-00000100").exists()


def test_a_damaged_checkpoint_is_passed_over_a_full_disk_is_not(tmp_path, caplog):
    run = FakeRun(tmp_path / "run", {100: "a", 200: "b"})
    export, error = run.export, ValueError("damaged")

    def export_badly(step, path):
        if step == 100:
            raise error
        export(step, path)

    run.export = export_badly
    assert watch_run(run.build(), run.evaluate, CONFIG).done == [200]
    assert "step 100: it cannot be read (damaged)" in caplog.text
    error = OSError("no space left")
    with pytest.raises(OSError, match="no space"):
        watch_run(run.build(), run.evaluate, CONFIG)


@pytest.mark.parametrize("place", ["evaluate", "write_scorecard", "_write_events", "_write_mark"])
def test_a_kill_anywhere(tmp_path, monkeypatch, place):
    run = FakeRun(tmp_path / "run", {100: "a"})

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == "evaluate":
            patch.setattr(run, place, die)
        else:
            patch.setattr(f"openrinalmo.pipeline.downstream.watching.{place}", die)
        with pytest.raises(KeyboardInterrupt):
            watch_run(run.build(), run.evaluate, CONFIG)
    assert watch_run(run.build(), run.evaluate, CONFIG).done == [100]
    points = read_events(run)["downstream/toy/F1/pretrained"]
    assert set(points) == {(100, 0.097)}
    assert not (run.folder / "watch" / "step-00000100" / "model.safetensors").exists()


def test_replaced_weights_are_evaluated_again(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a", 200: "b"})
    watch_run(run.build(), run.evaluate, CONFIG)
    run.checkpoints[200] = "c"
    assert watch_run(run.build(), run.evaluate, CONFIG).done == [200]
    report = read_task_report(run.folder / "watch" / "step-00000200" / "toy.json")
    assert report.scores[0].value == 0.099
    assert read_events(run)["downstream/toy/F1/pretrained"] == [(100, 0.097), (200, 0.099)]


def test_reports_of_replaced_weights_are_forgotten(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})
    watch_run(run.build(), run.evaluate, WatchConfig(tasks=("toy", "other")))
    run.checkpoints[100] = "c"
    watch_run(run.build(), run.evaluate, CONFIG)
    folder = run.folder / "watch" / "step-00000100"
    assert not (folder / "other.json").exists()
    facts = json.loads((folder / "scorecard.json").read_text())
    assert [task["task"] for task in facts["tasks"]] == ["toy"]


def test_a_new_task_alone_is_added(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})
    watch_run(run.build(), run.evaluate, CONFIG)
    both = WatchConfig(tasks=("toy", "other"))
    assert watch_run(run.build(), run.evaluate, both).done == [100]
    assert run.evaluated[-1] == ("step-00000100", "a", ("other",))
    facts = json.loads((run.folder / "watch" / "step-00000100" / "scorecard.json").read_text())
    assert [task["task"] for task in facts["tasks"]] == ["toy", "other"]
    assert watch_run(run.build(), run.evaluate, both).done == []
    assert watch_run(
        run.build(), run.evaluate, WatchConfig(tasks=("toy",), preset="full")
    ).done == [100]


@pytest.mark.parametrize("error", [ValueError("NaN: the fit diverged"), RuntimeError("no memory")])
def test_one_failing_evaluation_stops_no_other(tmp_path, caplog, error):
    run = FakeRun(tmp_path / "run", {100: "a", 200: "b", 300: "c"})

    def evaluate(checkpoint, names, preset, data, out):
        reports = run.evaluate(checkpoint, names, preset, data, out)
        if checkpoint.parent.name == "step-00000200":
            raise error
        return reports

    assert watch_run(run.build(), evaluate, CONFIG) == ([100, 300], [200])
    assert "passing over step 200: its evaluation failed" in caplog.text
    assert str(error) in caplog.text
    assert not list(run.folder.rglob("model.safetensors"))
    assert not (run.folder / "watch" / "step-00000200").exists()
    # The next watch tries it again, and evaluates nothing else.
    assert watch_run(run.build(), run.evaluate, CONFIG) == ([200], [])


def test_one_failing_task_stops_no_other(tmp_path, caplog):
    run = FakeRun(tmp_path / "run", {100: "a"})
    config = WatchConfig(tasks=("broken", "toy"))

    def evaluate(checkpoint, names, preset, data, out):
        if names == ["broken"]:
            raise FileNotFoundError("no data")
        return run.evaluate(checkpoint, names, preset, data, out)

    assert watch_run(run.build(), evaluate, config) == ([], [100])
    assert "step 100: broken failed" in caplog.text
    assert (run.folder / "watch" / "step-00000100" / "toy.json").exists()
    assert watch_run(run.build(), run.evaluate, config) == ([100], [])
    assert [names for *_, names in run.evaluated] == [("toy",), ("broken",)]


def test_what_only_one_checkpoint_can_use_goes_with_it(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})

    def evaluate(checkpoint, names, preset, data, out):
        (out / "toy" / "heads").mkdir(parents=True)
        (out / "toy" / "fits" / "1f" / "finished").mkdir(parents=True)
        (out / "toy" / "fits" / "1f" / "finished" / "tensors.safetensors").touch()
        for system in ("pretrained", "random"):
            (out / "toy" / "heads" / f"{system}.123.safetensors").touch()
            (out / "toy" / f"{system}.fit").mkdir()
        return run.evaluate(checkpoint, names, preset, data, out)

    watch_run(run.build(), evaluate, CONFIG)
    left = sorted(path.name for path in (run.folder / "watch" / "work" / "toy").rglob("*.*"))
    assert left == ["random.123.safetensors", "random.fit"]


def test_weights_are_gone_however_an_evaluation_ends(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})

    def die(checkpoint, names, preset, data, out):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch_run(run.build(), die, CONFIG)
    assert not list(run.folder.rglob("model.safetensors"))


def test_a_second_watcher_and_a_missing_run_are_refused(tmp_path):
    run = FakeRun(tmp_path / "run", {100: "a"})

    def watch_too(checkpoint, names, preset, data, out):
        with pytest.raises(ValueError, match="another process watches"):
            watch_run(run.build(), run.evaluate, CONFIG)
        return []

    watch_run(run.build(), watch_too, CONFIG)
    (tmp_path / "file").touch()
    missing = WatchedRun(
        folder=tmp_path / "file", list_checkpoints=dict, export=print, is_finished=bool
    )
    with pytest.raises(FileNotFoundError, match="no run at"):
        watch_run(missing, run.evaluate, CONFIG)


@pytest.mark.parametrize("wrong", [{"tasks": ()}, {"tasks": ("a",), "every_seconds": 0.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"watch\."):
        WatchConfig(**wrong)


def test_names_of_scalars():
    report = build_report(
        build_score(0.5, part="x y", metric="F1 strict", is_primary=True),
        build_score(0.6, part="z", metric="F1 strict", is_primary=True),
        build_score(float("nan"), system="one-hot", part="z", metric="F1 strict", is_primary=True),
        build_score(0.9, metric="AUC"),
    )
    assert name_scalars([report]) == {
        "downstream/toy/F1_strict/pretrained/x_y": 0.5,
        "downstream/toy/F1_strict/pretrained/z": 0.6,
    }
    tags = name_scalars([build_map_report()])
    assert tags["downstream/embeddings/accuracy/k-mer"] == 0.84
    assert tags["downstream/embeddings/accuracy/gap"] == pytest.approx(0.36)
