"""What a run reports: a JSONL row and TensorBoard scalars an event, pictures, a progress bar."""

import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .json_rows import append_row, read_rows

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
        if not is_rank_zero:
            return
        self._folder = folder
        self._path = folder / LOG_NAME
        _drop_rows_after(self._path, first_step)
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)
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

    def advance(self) -> None:
        """Move the progress bar on by a step."""
        if self._is_rank_zero:
            self._bar.update()

    def go_back(self, step: int) -> None:
        """Forget every row after `step`: a roll-back makes them again."""
        if not self._is_rank_zero:
            return
        _drop_rows_after(self._path, step)
        self._writer.close()
        self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)
        self._bar.n = step
        self._bar.refresh()

    def log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Record values of a step: scalars, or groups of scalars one level deep."""
        if not self._is_rank_zero:
            return
        append_row(self._path, {"kind": kind, "step": step, **values})
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
                    "step %d loss %.4f lr %.2e grad_norm %.2f %.1fk tokens/s%s",
                    step,
                    *(values[name] for name in ("loss", "lr", "grad_norm")),
                    values["tokens_per_second"] / 1e3,
                    f" mfu {values['mfu']:.2f}" if "mfu" in values else "",
                )

    def log_images(self, kind: str, step: int, images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Record pictures, (height, width, 3)."""
        if self._is_rank_zero:
            for name, image in images.items():
                self._writer.add_image(f"{kind}/{name}", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush everything to disk."""
        if self._is_rank_zero:
            self._terminal.close()
            self._writer.close()


def _drop_rows_after(path: Path, step: int) -> None:
    """Forget rows past the checkpoint a run goes on from: it makes them again."""
    if path.exists():
        scratch = path.with_name(path.name + ".partial")
        scratch.unlink(missing_ok=True)
        scratch.touch()
        for row in read_rows(path):
            if row["step"] <= step:
                append_row(scratch, row)
        scratch.replace(path)
