"""Where a run's time and arithmetic go: phases of the wall clock, speed, model FLOP use."""

import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from ...model.encoder import EncoderConfig
from .planning.flops import flops_per_pack
from .planning.hardware import Gpu


class Clock:
    """Seconds of each phase, since this process started and since the last report.

    Phases do not nest; time in none of them is `other` (start-up, logging).
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._total: defaultdict[str, float] = defaultdict(float)
        self._recent: defaultdict[str, float] = defaultdict(float)
        self._stepped_at: dict[int, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the body's time under `name`."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self._total[name] += seconds
            self._recent[name] += seconds

    def mark(self, step: int) -> None:
        """Remember how much time the steps had taken when `step` was saved."""
        self._stepped_at[step] = self._total["step"]

    def undo_since(self, step: int) -> None:
        """Book the steps made since `step` was saved as `undone`: a roll-back lost them."""
        undone = self._total["step"] - self._stepped_at.get(step, 0.0)
        self._total["step"] -= undone
        self._total["undone"] += undone

    def take_recent(self) -> Mapping[str, float]:
        """Seconds of each phase since this was last asked."""
        recent, self._recent = self._recent, defaultdict(float)
        return recent

    def shares(self) -> dict[str, float]:
        """Share of each phase in the wall clock since the process started; they sum to 1.

        That of `step` is the goodput: the time that went into steps which were kept.
        """
        wall = max(time.monotonic() - self._start, 1e-9)
        known = {name: seconds / wall for name, seconds in self._total.items()}
        return {**known, "other": max(0.0, 1 - sum(known.values()))}


class Meter:
    """Real tokens and FLOPs over all ranks since the last report."""

    def __init__(
        self,
        model: EncoderConfig,
        gpu: Gpu | None,
        *,
        world_size: int,
        recompute_every_blocks: int,
    ) -> None:
        self._model = model
        self._peak = gpu.peak_flops * world_size if gpu else 0.0
        self._recompute_every_blocks = recompute_every_blocks
        self._work: Counter[str] = Counter()

    def add(self, *, tokens: int, squares: int, predicted: int) -> None:
        """Add a step: its tokens, the sum of its squared lengths, its predicted tokens."""
        self._work.update(tokens=tokens, squares=squares, predicted=predicted)

    def take_speed(self, seconds: float) -> dict[str, float]:
        """Tokens a second and, on a GPU whose peak is known, the shares of it that were used.

        `mfu` counts what the published model needs on these lengths, `hfu` what was executed:
        aligned widths and recomputed blocks too.
        """
        work, self._work = self._work, Counter()
        seconds = max(seconds, 1e-9)
        speed = {"tokens_per_second": work["tokens"] / seconds}
        if self._peak:
            counts = (self._model, work["tokens"], work["squares"], work["predicted"])
            executed = flops_per_pack(
                *counts, aligned=True, recompute_every_blocks=self._recompute_every_blocks
            )
            speed["mfu"] = flops_per_pack(*counts) / seconds / self._peak
            speed["hfu"] = executed / seconds / self._peak
        return speed


def read_peak_memory_gib(device: torch.device) -> float:
    """Most memory used since the last call on a GPU, since the start on a CPU; this rank's."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
