"""What follows from the guards' verdicts: incidents, packs left out, the way back."""

import logging
import math
from collections.abc import Sequence
from typing import Any

from ..ranks import Ranks
from .batches import PackStream
from .checkpoints.checkpoint import Checkpoint, RunState
from .checkpoints.checkpoint_choice import open_newest
from .config import PretrainConfig
from .guards import Guards, Verdict
from .incidents import INCIDENTS_NAME, describe_packs, write_incident
from .skipping import SkippedPacks
from .step import StepResult

logger = logging.getLogger(__name__)


class Recovery:
    """Which packs the run shows, and what it does when steps go wrong; the same on every rank."""

    def __init__(
        self,
        config: PretrainConfig,
        ranks: Ranks,
        stream: PackStream,
        rna_types: Sequence[str],
        state: RunState,
    ) -> None:
        self._config = config
        self._ranks = ranks
        self._stream = stream
        self._rna_types = rna_types
        self._take_over(state)

    def number(self, place: int) -> int:
        """Number in the stream of the pack at this place among those the run shows."""
        return self._skipped.number(place)

    def state(self) -> dict[str, Any]:
        """The fields of `RunState` that are kept here."""
        return {"skipped_packs": self._skipped.as_lists(), "guards": self._guards.state()}

    def judge(self, step: int, result: StepResult, grad_norm: float) -> Verdict:
        """What to make of a step; rank 0 writes down one that was not fine."""
        verdict = self._guards.judge(
            step, loss=result.loss, grad_norm=grad_norm, applied=result.applied
        )
        if verdict == "unusable":
            logger.warning(
                "step %d skipped: its %s is not finite (loss %s, gradient norm %s)",
                step,
                "gradient" if math.isfinite(result.loss) else "loss",
                result.loss,
                grad_norm,
            )
        if verdict != "fine":
            self._write_incident(verdict, step, result, grad_norm)
        return verdict

    def explain_end(self) -> str | None:
        """Why the run must not help itself any further, if so."""
        guards = self._config.guards
        look = (
            f"Look at the packs in {self._config.out / INCIDENTS_NAME} (pipeline/packs.py show "
            "NUMBER), leave some out with batches.skip_packs=, or lower optim.peak_lr in a new run"
        )
        if self._guards.has_too_many_unusable:
            return (
                f"more than guards.max_unusable_steps={guards.max_unusable_steps} of the last "
                f"{guards.window_steps} steps had a loss or gradient that is not finite. The "
                f"weights of before them are saved. {look}"
            )
        if self._guards.has_too_many_rollbacks:
            return (
                f"the run spiked again after guards.max_rollbacks={guards.max_rollbacks} "
                f"roll-backs; the newest checkpoint is from before the spike. {look}"
            )
        return None

    def roll_back(self, step: int) -> Checkpoint | None:
        """The checkpoint from before the spike to go on from, if any; a collective call.

        The packs of the spike's steps are never shown again.
        """
        first = self._guards.first_suspect
        assert first is not None
        folder = self._config.out / "checkpoints"
        checkpoint = open_newest(folder, self._ranks, at_most=first)
        packs_per_step = self._config.batches.packs_per_step
        unwanted = self.number(first * packs_per_step), self.number((step + 1) * packs_per_step - 1)
        what = f"loss or gradient norm spiked at steps {first} to {step}"
        if checkpoint is None:
            logger.warning("%s; no checkpoint is from before it: going on", what)
            self._guards.forget_suspects()
            return None
        target = checkpoint.state.step
        logger.warning("%s: back to step %d, leaving out packs %d to %d", what, target, *unwanted)
        rollbacks = self._guards.rollbacks + 1
        self._take_over(checkpoint.state)
        self._guards.rollbacks = rollbacks
        self._skipped = self._skipped.add(unwanted[0], unwanted[1] + 1)
        return checkpoint

    def _take_over(self, state: RunState) -> None:
        skipped = SkippedPacks.from_lists(state.skipped_packs)
        batches = self._config.batches
        # Asked for after that checkpoint was made, perhaps: then it does not know of them.
        asked = SkippedPacks.parse(batches.skip_packs)
        next_number = skipped.number(state.step * batches.packs_per_step)
        self._skipped = skipped.join(asked, next_number=next_number)
        self._guards = Guards(self._config.guards, state.guards)

    def _write_incident(
        self, kind: Verdict, step: int, result: StepResult, grad_norm: float
    ) -> None:
        if not self._ranks.is_rank_zero:
            return
        first = step if kind == "unusable" else self._guards.first_suspect
        assert first is not None
        packs_per_step = self._config.batches.packs_per_step
        places = range(first * packs_per_step, (step + 1) * packs_per_step)
        write_incident(
            self._config.out,
            kind=kind,
            step=step,
            loss=result.loss,
            grad_norm=grad_norm,
            pack_losses=result.pack_losses,
            packs=describe_packs(self._stream, self._rna_types, map(self.number, places)),
        )
