"""What a run reports: one JSONL row and TensorBoard scalars an event, and a progress bar."""

import json
import logging
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

logger = logging.getLogger(__name__)

LOG_NAME = "log.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """How often a run reports."""

    log_every: int = 20
    """Steps between rows of the log."""
    validate_every: int = 1_000
    """Steps between passes over the validation split; also at the end. 0 for the end only."""
    validation_packs: int = 64
    """Packs of a validation pass; always the same ones."""

    def __post_init__(self) -> None:
        if self.log_every < 1 or self.validation_packs < 1 or self.validate_every < 0:
            raise ValueError(
                "tracking.log_every and tracking.validation_packs must be positive and "
                f"tracking.validate_every not negative, got {self.log_every}, "
                f"{self.validation_packs}, {self.validate_every}"
            )


class Tracker:
    """Writes a run's numbers on rank 0; does nothing on the others."""

    def __init__(self, folder: Path, *, first_step: int, steps: int, is_rank_zero: bool) -> None:
        self._is_rank_zero = is_rank_zero
        self._tokens, self._since = 0, time.monotonic()
        if not is_rank_zero:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOG_NAME
        _drop_rows_from(self._path, first_step)
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._terminal = ExitStack()
        self._terminal.enter_context(logging_redirect_tqdm())
        self._bar = self._terminal.enter_context(
            tqdm(
                initial=first_step,
                total=steps,
                unit="step",
                desc=folder.name,
                disable=not sys.stderr.isatty(),
                dynamic_ncols=True,
            )
        )

    def count_tokens(self, tokens: int) -> None:
        """Add a step's real tokens, over all ranks, to what the next speed is measured from."""
        self._tokens += tokens
        if self._is_rank_zero:
            self._bar.update()

    def take_tokens_per_second(self) -> float:
        """Real tokens a second since this was last asked; time not spent training is in it."""
        now = time.monotonic()
        speed = self._tokens / max(now - self._since, 1e-9)
        self._tokens, self._since = 0, now
        return speed

    def restart_clock(self) -> None:
        """Leave what happened since the last log out of the next speed."""
        self._tokens, self._since = 0, time.monotonic()

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Record values of a step: scalars, or groups of scalars one level deep."""
        if not self._is_rank_zero:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            scalars = value if isinstance(value, dict) else {"": value}
            for key, scalar in scalars.items():
                if isinstance(scalar, int | float):
                    self._writer.add_scalar(f"{kind}/{name}{'/' if key else ''}{key}", scalar, step)
        if kind == "train":
            self._bar.set_postfix(
                loss=f"{values['loss']:.4f}", tokens_s=f"{values['tokens_per_second']:.0f}"
            )
            if self._bar.disable:
                logger.info(
                    "step %d loss %.4f lr %.2e grad_norm %.2f %.1fk tokens/s",
                    step,
                    *(values[name] for name in ("loss", "lr", "grad_norm")),
                    values["tokens_per_second"] / 1e3,
                )

    def close(self) -> None:
        """Flush everything to disk."""
        if self._is_rank_zero:
            self._terminal.close()
            self._writer.close()


def _drop_rows_from(path: Path, first_step: int) -> None:
    """Forget rows past the checkpoint a run resumes from: it makes them again."""
    if not path.exists():
        return
    # A row without its newline is one the process died in.
    rows = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    scratch = path.with_name(path.name + ".partial")
    scratch.write_text("".join(line for line in rows if json.loads(line)["step"] <= first_step))
    scratch.replace(path)
