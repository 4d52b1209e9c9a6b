"""Which steps a run cannot use, and what is a spike: how often it may help itself.

Every rank sees the same global numbers and so comes to the same verdict: nothing is collective.
"""

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["fine", "unusable", "spike"]

_NORMAL_CONSISTENT = 1.4826
"""Median absolute deviation to standard deviation, for normal values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardsConfig:
    """When a run helps itself, and when it stops and asks."""

    max_unusable_steps: int = 5
    """Steps with a non-finite loss or gradient that are skipped within `window_steps`; one more
    ends the run."""
    window_steps: int = 128
    """Steps the detectors look back on."""
    spike_deviations: float = 10.0
    """A loss so many robust standard deviations above the window's median is out of line; 0 turns
    spike detection off."""
    spike_grad_norm_ratio: float = 20.0
    """A gradient norm so many times the window's median is out of line."""
    spike_patience_steps: int = 3
    """Steps in a row that must be out of line to make a spike."""
    max_rollbacks: int = 3
    """Times a run goes back to its newest checkpoint; one more spike ends it."""
    stall_seconds: float = 1800.0
    """A rank that has not moved for so long reports where everyone is and ends the run; 0 waits
    for ever."""

    def __post_init__(self) -> None:
        for name in ("max_unusable_steps", "max_rollbacks", "spike_deviations", "stall_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"guards.{name} must not be negative, got {getattr(self, name)}")
        if self.window_steps < 8 or self.spike_patience_steps < 1:
            raise ValueError(
                "guards.window_steps must be 8 or more and guards.spike_patience_steps positive, "
                f"got {self.window_steps} and {self.spike_patience_steps}"
            )
        if self.spike_grad_norm_ratio <= 1:
            raise ValueError(
                f"guards.spike_grad_norm_ratio must be above 1, got {self.spike_grad_norm_ratio}"
            )


class Guards:
    """Judges every step by its global loss and gradient norm.

    A spike is `spike_patience_steps` in a row out of line with the window's median and median
    absolute deviation. Values out of line do not enter the window, so that a spike cannot become
    the new normal. The state is part of every checkpoint: a resumed run decides what the
    uninterrupted one would have decided.
    """

    def __init__(self, config: GuardsConfig, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._config = config
        self._window = deque(map(tuple, state.get("window", ())), maxlen=config.window_steps)
        self._suspects: list[int] = list(state.get("suspects", ()))
        self._unusable: list[int] = list(state.get("unusable", ()))
        self.rollbacks: int = state.get("rollbacks", 0)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; JSON."""
        return {
            "window": [list(pair) for pair in self._window],
            "suspects": self._suspects,
            "unusable": self._unusable,
            "rollbacks": self.rollbacks,
        }

    @property
    def first_suspect(self) -> int | None:
        """The step at which the present streak out of line began."""
        return self._suspects[0] if self._suspects else None

    def judge(self, step: int, *, loss: float, grad_norm: float, applied: bool) -> Verdict:
        """What to make of a step: `unusable` if it was not applied, `spike` to roll back."""
        if not applied:
            horizon = step - self._config.window_steps
            self._unusable = [*(bad for bad in self._unusable if bad > horizon), step]
            return "unusable"
        if not self._is_out_of_line(loss, grad_norm):
            self._suspects = []
            self._window.append((loss, grad_norm))
            return "fine"
        self._suspects.append(step)
        return "spike" if len(self._suspects) >= self._config.spike_patience_steps else "fine"

    def forget_suspects(self) -> None:
        """Begin a new streak: nothing can be done about the present one."""
        self._suspects = []

    @property
    def has_too_many_unusable(self) -> bool:
        """Whether more steps of the window were unusable than the config allows."""
        return len(self._unusable) > self._config.max_unusable_steps

    @property
    def has_too_many_rollbacks(self) -> bool:
        """Whether the run went back more often than the config allows."""
        return self.rollbacks > self._config.max_rollbacks

    def _is_out_of_line(self, loss: float, grad_norm: float) -> bool:
        if not self._config.spike_deviations or len(self._window) < self._config.window_steps // 2:
            return False
        losses, norms = zip(*self._window, strict=True)
        median = statistics.median(losses)
        deviation = _NORMAL_CONSISTENT * statistics.median(abs(x - median) for x in losses)
        # A window without any noise must not make the smallest rise a spike.
        deviation = max(deviation, 1e-3 * abs(median))
        return (
            loss > median + self._config.spike_deviations * deviation
            or grad_norm > self._config.spike_grad_norm_ratio * statistics.median(norms)
        )
