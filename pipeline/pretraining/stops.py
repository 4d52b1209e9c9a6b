"""Requests to stop (Slurm's pre-emption, Ctrl-C) and ranks that no longer move."""

import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..ranks import Ranks

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EXIT_STALLED = 75
"""EX_TEMPFAIL: a scheduler may try again; the newest checkpoint is whole."""


class StopRequest:
    """Whether this process was asked to stop; the loop tells the other ranks."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM, SIGUSR1 and the first Ctrl-C into a request; a second Ctrl-C interrupts."""
    request = StopRequest()

    def receive(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request:
            raise KeyboardInterrupt
        request._receive(number, frame)

    former = {number: signal.signal(number, receive) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class StallWatch:
    """A thread that ends the process when its rank has not moved for `seconds`.

    Collectives wait for ever for a rank that hangs, so every rank watches itself. Each leaves its
    last step and phase in `heartbeats/`, a small file it rewrites at most ten times within
    `seconds`; the ranks that are stuck read the others' to name the one that is behind.
    """

    def __init__(self, folder: Path, ranks: Ranks, *, seconds: float) -> None:
        self._folder = folder / "heartbeats"
        self._ranks = ranks
        self._seconds = seconds
        self._at: tuple[int, str] = (0, "start")
        self._moved = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)

    def __enter__(self) -> "StallWatch":
        if self._seconds:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def beat(self, step: int, phase: str) -> None:
        """Note that this rank has come to `phase` of `step`."""
        self._at = (step, phase)
        self._moved = time.monotonic()

    def _watch(self) -> None:
        while not self._closing.wait(self._seconds / 10):
            self._write()
            if time.monotonic() - self._moved > self._seconds:
                self._report()
                sys.stderr.flush()
                os._exit(EXIT_STALLED)

    def _write(self) -> None:
        step, phase = self._at
        beat = {"step": step, "phase": phase, "host": socket.gethostname(), "pid": os.getpid()}
        path = self._path(self._ranks.rank)
        scratch = path.with_suffix(".partial")
        scratch.write_text(json.dumps(beat))
        scratch.replace(path)

    def _report(self) -> None:
        step, phase = self._at
        trace = self._folder / f"rank-{self._ranks.rank:05d}.trace"
        with trace.open("w") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        beats = [self._read(rank) for rank in range(self._ranks.world_size)]
        logger.error(
            "rank %d has not moved for %.0f s, in %s of step %d; where it stands is in %s. %s. "
            "The newest checkpoint is whole: start again with --resume",
            self._ranks.rank,
            self._seconds,
            phase,
            step,
            trace,
            _describe(beats),
        )

    def _path(self, rank: int) -> Path:
        return self._folder / f"rank-{rank:05d}.json"

    def _read(self, rank: int) -> dict[str, Any]:
        try:
            return {"rank": rank, **json.loads(self._path(rank).read_text())}
        except (OSError, json.JSONDecodeError):
            return {"rank": rank, "step": -1, "phase": "never seen", "host": "?", "pid": 0}


def _describe(beats: list[dict[str, Any]]) -> str:
    """The ranks that stand elsewhere than most: the one the others wait for is among them."""
    places = [(beat["step"], beat["phase"]) for beat in beats]
    usual = max(set(places), key=places.count)
    odd = [
        f"rank {beat['rank']} ({beat['host']}, pid {beat['pid']}) in {beat['phase']} of step "
        f"{beat['step']}"
        for beat, place in zip(beats, places, strict=True)
        if place != usual
    ]
    if not odd:
        return f"All {len(beats)} ranks are in {usual[1]} of step {usual[0]}"
    shown = ", ".join(odd[:8]) + (f" and {len(odd) - 8} more" if len(odd) > 8 else "")
    return f"Most ranks are in {usual[1]} of step {usual[0]}, but {shown}"
