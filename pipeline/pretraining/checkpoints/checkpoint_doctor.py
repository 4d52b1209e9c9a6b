"""The checkpoint doctor: what a run's checkpoints are, whether they are whole, and other cuts.

Everything streams: memory for one tensor, and nothing is unpickled.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ....model.tensor_file import write_tensors
from ....model.weights import EXPORT_NAME
from .checkpoint import Checkpoint, rank_file_name, sync_folder, write_state
from .checkpoint_choice import find_checkpoints, read_latest, write_latest


def _ignore(_: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRow:
    """One checkpoint as `list` shows it."""

    step: int
    saved_at: str
    num_ranks: int
    num_bytes: int
    fault: str
    """Empty where it is whole, judged by its state and every file's size."""
    is_latest: bool
    is_exported: bool

    def __str__(self) -> str:
        marks = [
            mark
            for mark, is_set in (("latest", self.is_latest), ("export", self.is_exported))
            if is_set
        ]
        status = self.fault or "whole"
        return (
            f"{self.step:>10,} {self.saved_at:<20} {self.num_ranks:>5} "
            f"{self.num_bytes / 1e6:>10,.1f} MB  {' '.join(marks):<13}  {status}"
        )


def find_folder(run: Path) -> Path:
    """The checkpoints' folder of a run, which may be given itself."""
    for folder in (run / "checkpoints", run):
        if find_checkpoints(folder):
            return folder
    raise FileNotFoundError(
        f"no checkpoints in {run} or {run / 'checkpoints'}: give a run's folder (its out=)"
    )


def find_checkpoint(run: Path, step: str) -> Path:
    """The folder of a run's checkpoint by its step, or `latest`."""
    folder = find_folder(run)
    found = find_checkpoints(folder)
    number = read_latest(folder)[0] if step == "latest" else int(step) if step.isdigit() else None
    if number not in found:
        raise ValueError(
            f"{folder} has no checkpoint {step}: give latest or one of {', '.join(map(str, found))}"
        )
    return found[number]


def list_checkpoints(run: Path) -> list[CheckpointRow]:
    """Every checkpoint, the oldest first; reads no tensors."""
    folder = find_folder(run)
    latest, _ = read_latest(folder)
    exported = _read_exported_step(folder.parent / EXPORT_NAME)
    return [
        _describe(path, step, is_latest=step == latest, is_exported=step == exported)
        for step, path in find_checkpoints(folder).items()
    ]


def find_faults(run: Path, on_bytes: Callable[[int], object] = _ignore) -> list[str]:
    """Read every byte of every checkpoint; says what is damaged or missing. Empty is good."""
    folder = find_folder(run)
    faults = [fault for fault in (read_latest(folder)[1],) if fault]
    for path in find_checkpoints(folder).values():
        try:
            faults += Checkpoint(path).find_faults(on_bytes)
        except ValueError as error:
            faults.append(str(error))
    return faults


def use_checkpoint(run: Path, step: str) -> Path:
    """Let `latest` name this checkpoint, once its bytes are verified."""
    path = find_checkpoint(run, step)
    opened = Checkpoint(path)
    opened.verify()
    write_latest(find_folder(run), opened.state.step)
    return path


def reshape_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    num_ranks: int,
    on_tensor: Callable[[], object] = lambda: None,
) -> None:
    """Write the same checkpoint as files of another number of ranks into the new folder `out`."""
    if num_ranks < 1:
        raise ValueError(f"RANKS must be 1 or more, got {num_ranks}")
    if out.exists():
        raise ValueError(f"{out} exists already: give the name of a new folder")
    scratch = out.with_name(out.name + ".partial")
    scratch.mkdir(parents=True)
    files = {}
    for rank in range(num_ranks):
        ranges = {
            (name, kind): _cut(math.prod(entry.shape), rank, num_ranks)
            for name, entry in checkpoint.parameters.items()
            for kind in entry.kinds
        }
        shapes = {f"{kind}.{name}": (end - first,) for (name, kind), (first, end) in ranges.items()}

        def slices(
            ranges: dict[tuple[str, str], tuple[int, int]] = ranges,
        ) -> Iterator[tuple[str, Tensor]]:
            for (name, kind), (first, end) in ranges.items():
                on_tensor()
                yield f"{kind}.{name}", checkpoint.read_range(name, kind, first, end)

        file_name = rank_file_name(rank, num_ranks)
        files[file_name] = write_tensors(scratch / file_name, shapes, slices())
    write_state(scratch, checkpoint.state, checkpoint.parameters, files, checkpoint.saved_at)
    scratch.rename(out)
    sync_folder(out.parent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far two checkpoints are apart in one kind of tensor."""

    kind: str
    largest: float
    """Largest absolute difference of two values; nan where one is nan and the other is not."""
    name: str
    """Parameter in which it is."""
    num_differing: int
    num_values: int

    def __str__(self) -> str:
        share = f"{self.num_differing:,} of {self.num_values:,} values differ"
        where = f", most by {self.largest:.3g} in {self.name}" if self.num_differing else ""
        return f"{self.kind}: {share}{where}"


def compare_checkpoints(
    first: Checkpoint, second: Checkpoint, on_tensor: Callable[[], object] = lambda: None
) -> list[Difference]:
    """The differences by kind of tensor; bits are compared, so nan equals nan."""
    if first.parameters != second.parameters:
        raise ValueError(
            f"{first.folder} and {second.folder} hold different parameters or kinds of moments"
        )
    result: dict[str, Difference] = {}
    for name, entry in first.parameters.items():
        for kind in entry.kinds:
            on_tensor()
            a, b = first.read(name, kind), second.read(name, kind)
            differs = a.view(torch.int32) != b.view(torch.int32)
            gaps = (a - b).abs()[differs]
            largest = float(gaps.max()) if len(gaps) else 0.0
            so_far = result.get(
                kind, Difference(kind=kind, largest=0.0, name="", num_differing=0, num_values=0)
            )
            is_larger = len(gaps) > 0 and (largest >= so_far.largest or math.isnan(largest))
            result[kind] = Difference(
                kind=kind,
                largest=largest if is_larger else so_far.largest,
                name=name if is_larger else so_far.name,
                num_differing=so_far.num_differing + len(gaps),
                num_values=so_far.num_values + a.numel(),
            )
    return list(result.values())


def _describe(path: Path, step: int, *, is_latest: bool, is_exported: bool) -> CheckpointRow:
    fault, opened = "", None
    try:
        opened = Checkpoint(path)
        fault = "; ".join(opened.find_missing())
    except ValueError as error:
        fault = str(error)
    files = list(path.glob("rank-*.safetensors"))
    return CheckpointRow(
        step=step,
        saved_at=opened.saved_at.removesuffix("+00:00") if opened else "-",
        num_ranks=len(opened.files) if opened else len(files),
        num_bytes=opened.num_bytes if opened else sum(file.stat().st_size for file in files),
        fault=fault,
        is_latest=is_latest,
        is_exported=is_exported,
    )


def _read_exported_step(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            step = (file.metadata() or {}).get("step", "")
    except SafetensorError:
        return None
    return int(step) if step.isdigit() else None


def _cut(size: int, rank: int, num_ranks: int) -> tuple[int, int]:
    """As ZeRO-3 cuts: equal slices rounded up, so the last ones are short or empty."""
    width = math.ceil(size / num_ranks)
    return min(size, rank * width), min(size, (rank + 1) * width)
