"""How much memory this process and its children hold at most while something runs."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
INTERVAL_SECONDS = 0.1


@dataclass(kw_only=True, slots=True)
class PeakMemory:
    """Largest sums over this process and all it started; None where nothing could be measured."""

    rss_bytes: int | None = None
    """Resident memory, mapped files included: the system takes those pages back when it must."""
    anonymous_bytes: int | None = None
    """Resident memory that no file stands behind: what a machine must have."""

    def add(self, rss_bytes: int, anonymous_bytes: int) -> None:
        """Take one look into account."""
        self.rss_bytes = max(self.rss_bytes or 0, rss_bytes)
        self.anonymous_bytes = max(self.anonymous_bytes or 0, anonymous_bytes)


@contextmanager
def measure_peak_memory() -> Iterator[PeakMemory]:
    """Look ten times a second, and at both ends; what is shorter than that may be missed.

    A process's own record (`VmHWM`, `getrusage`) is not used: it spans its whole life, so that a
    small step after a large one would show the large one's, and children's are not added up.
    """
    peak = PeakMemory()
    if not (PROC / "self" / "status").exists():  # not Linux: nothing is known, and None says so
        yield peak
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL_SECONDS):
            peak.add(*_sum_memory())

    peak.add(*_sum_memory())
    watcher = threading.Thread(target=watch, daemon=True, name="peak-memory")
    watcher.start()
    try:
        yield peak
    finally:
        peak.add(*_sum_memory())
        done.set()
        watcher.join()


def _sum_memory() -> tuple[int, int]:
    """Return resident and anonymous bytes of this process and its descendants now."""
    rss = anonymous = 0
    for process in _iter_processes(PROC / "self"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            fields = dict(
                line.split(":", 1) for line in (process / "status").read_text().splitlines()
            )
            rss += _parse_kib(fields.get("VmRSS"))
            anonymous += _parse_kib(fields.get("RssAnon")) + _parse_kib(fields.get("RssShmem"))
    return rss, anonymous


def _iter_processes(process: Path) -> Iterator[Path]:
    yield process
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in (process / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _iter_processes(PROC / child)


def _parse_kib(value: str | None) -> int:
    """Return bytes; a process that is just ending has no such line."""
    return int(value.split()[0]) * 1024 if value else 0
