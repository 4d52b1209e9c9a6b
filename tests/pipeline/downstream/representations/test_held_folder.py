"""A scratch folder goes with its run; what a killed one left goes with the next."""

import multiprocessing
import os
import signal

import pytest

from openrinalmo.pipeline.downstream.representations.held_folder import hold_folder


def write_half(folder):
    """What a run writes that is stopped."""
    (folder / "rows.npy").write_text("half")
    raise KeyboardInterrupt


def fill_and_wait(parent, name, ready):
    with hold_folder(parent, name) as folder:
        (folder / "rows.npy").write_text("half")
        ready.set()
        signal.pause()


def hold_at_once(parent):
    with hold_folder(parent, "a"):
        pass


@pytest.fixture
def start(tmp_path):
    """Start a process that holds a folder."""
    context = multiprocessing.get_context("fork")
    started = []

    def run(name):
        ready = context.Event()
        process = context.Process(target=fill_and_wait, args=(tmp_path / "held", name, ready))
        process.start()
        started.append(process)
        assert ready.wait(30)
        return process

    yield run
    for process in started:
        process.kill()
        process.join()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_it_goes_at_the_end_and_stays_after_an_error(tmp_path):
    parent = tmp_path / "held"
    with hold_folder(parent, "a") as folder:
        assert folder == parent / "a"
        (folder / "rows.npy").write_text("whole")
    assert not parent.exists()
    with pytest.raises(KeyboardInterrupt), hold_folder(parent, "a") as folder:
        write_half(folder)
    with hold_folder(parent, "a") as folder:
        assert (folder / "rows.npy").read_text() == "half"
    assert not parent.exists()


def test_what_a_killed_process_left_is_taken_up_or_removed(tmp_path, start):
    parent = tmp_path / "held"
    kill(start("a"))
    with hold_folder(parent, "a") as folder:
        assert (folder / "rows.npy").read_text() == "half"
    kill(start("a"))
    with hold_folder(parent, "b"):
        assert [path.name for path in parent.iterdir()] == ["b"]
    assert not parent.exists()


def test_what_a_run_will_ask_for_is_kept(tmp_path, start):
    parent = tmp_path / "held"
    kill(start("a"))
    with hold_folder(parent, "b", keep={"a", "b"}), hold_folder(parent, "a") as folder:
        assert (folder / "rows.npy").read_text() == "half"
    assert not parent.exists()


def test_what_a_living_process_holds_is_left_alone(tmp_path, start):
    parent = tmp_path / "held"
    start("a")
    with hold_folder(parent, "b"), hold_folder(parent, "c"):
        assert sorted(path.name for path in parent.iterdir()) == ["a", "b", "c"]
    assert [path.name for path in parent.iterdir()] == ["a"]


def test_the_same_folder_is_waited_for(tmp_path, start):
    parent = tmp_path / "held"
    holder = start("a")
    waiting = multiprocessing.get_context("fork").Process(target=hold_at_once, args=(parent,))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    kill(holder)
    waiting.join(30)
    assert waiting.exitcode == 0
    assert not parent.exists()
