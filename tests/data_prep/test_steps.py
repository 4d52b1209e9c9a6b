import json
import signal

import pytest

from openrinalmo.data_prep.steps import exclusive, run_step, unwind_on_signals


def build_with(number):
    def build(folder):
        (folder / "product").write_text(str(number))
        return {"made": number}

    return build


def refuse(folder):
    raise AssertionError("a step that is done must not run")


def test_a_done_step_is_read_not_run(tmp_path):
    first = run_step(tmp_path / "a", {"x": 1}, build_with(1))
    assert run_step(tmp_path / "a", {"x": 1}, refuse) == first == {"made": 1}


def test_a_changed_fingerprint_runs_again_and_says_what_changed(tmp_path, caplog):
    caplog.set_level("INFO")
    run_step(tmp_path / "a", {"x": 1, "y": [1]}, build_with(1))
    assert run_step(tmp_path / "a", {"x": 2, "y": [1]}, build_with(2)) == {"made": 2}
    assert (tmp_path / "a" / "product").read_text() == "2"
    assert "running again, changed: x" in caplog.text


def test_a_failed_step_leaves_the_old_product_and_is_not_done(tmp_path):
    run_step(tmp_path / "a", {"x": 1}, build_with(1))

    def fail(folder):
        (folder / "product").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path / "a", {"x": 2}, fail)
    assert (tmp_path / "a" / "product").read_text() == "1"
    assert run_step(tmp_path / "a", {"x": 2}, build_with(3)) == {"made": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "change", [lambda t: t.replace('"made": 1', '"made": 2'), lambda t: t[:40]]
)
def test_a_step_that_is_not_as_it_was_written_runs_again(tmp_path, caplog, change):
    run_step(tmp_path / "a", {"x": 1}, build_with(1))
    path = tmp_path / "a" / "step.json"
    path.write_text(change(path.read_text()))
    assert run_step(tmp_path / "a", {"x": 1}, build_with(3)) == {"made": 3}
    assert f"{path} " in caplog.text
    assert "the step runs again" in caplog.text


def test_records_fingerprint_report_and_time(tmp_path):
    run_step(tmp_path / "a", {"x": 1}, build_with(1))
    step = json.loads((tmp_path / "a" / "step.json").read_text())
    assert step["fingerprint"]["x"] == 1
    assert step["report"] == {"made": 1}
    assert step["seconds"] >= 0
    assert step["cpu_seconds"] >= 0


def test_a_second_run_of_the_same_folder_is_refused(tmp_path):
    with (
        exclusive(tmp_path),
        pytest.raises(RuntimeError, match="another run is preparing"),
        exclusive(tmp_path),
    ):
        pass
    with exclusive(tmp_path):
        pass


def test_a_hangup_ends_a_run_unless_it_is_ignored_as_under_nohup():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        unwind_on_signals("stopped")
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(SystemExit, match="stopped"):
            signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        unwind_on_signals("stopped")
        with pytest.raises(SystemExit, match="stopped"):
            signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
