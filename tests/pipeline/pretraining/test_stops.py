import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from openrinalmo.pipeline.pretraining.stops import EXIT_STALLED, stop_on_signals
from openrinalmo.pipeline.ranks import Ranks


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_becomes_a_request(name):
    before = signal.getsignal(getattr(signal, name))
    with stop_on_signals() as request:
        assert not request
        os.kill(os.getpid(), getattr(signal, name))
        assert request
        assert request.name == name
    assert signal.getsignal(getattr(signal, name)) is before


def test_a_second_ctrl_c_interrupts():
    with stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


STUCK = """
import sys, time, logging
from pathlib import Path
import torch
from openrinalmo.pipeline.pretraining.stops import StallWatch
from openrinalmo.pipeline.ranks import Ranks
logging.basicConfig(stream=sys.stderr)
ranks = Ranks(rank=0, local_rank=0, world_size=3, device=torch.device("cpu"))
with StallWatch(Path(sys.argv[1]), ranks, seconds=1.0) as watch:
    for step in range(20):
        watch.beat(step, "step")
        time.sleep(0.1)  # moving, for longer than the limit
    watch.beat(20, "step")
    time.sleep(60)
"""


def test_a_rank_that_stands_still_names_the_one_behind_and_ends(tmp_path):
    beats = tmp_path / "heartbeats"
    beats.mkdir()
    for rank, (step, phase) in {1: (20, "step"), 2: (20, "data")}.items():
        beat = {"step": step, "phase": phase, "host": "node7", "pid": 42}
        (beats / f"rank-{rank:05d}.json").write_text(json.dumps(beat))
    done = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert done.returncode == EXIT_STALLED
    assert "rank 0 has not moved for 1 s, in step of step 20" in done.stderr
    assert "Most ranks are in step of step 20, but rank 2 (node7, pid 42) in data of step 20" in (
        done.stderr
    )
    assert "line" in (beats / "rank-00000.trace").read_text()


def test_no_limit_starts_no_thread_and_writes_nothing(tmp_path):
    from openrinalmo.pipeline.pretraining.stops import StallWatch

    before = threading.active_count()
    ranks = Ranks(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))
    with StallWatch(tmp_path, ranks, seconds=0) as watch:
        watch.beat(1, "step")
        assert threading.active_count() == before
    assert not list(tmp_path.iterdir())
