"""The checkpoint doctor: list, verify, convert: `python pipeline/checkpoint.py list RUN`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

try:
    from tqdm import tqdm

    from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint
    from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_doctor import (
        compare_checkpoints,
        find_checkpoint,
        find_faults,
        list_checkpoints,
        reshape_checkpoint,
        use_checkpoint,
    )
    from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_export import (
        consolidate_checkpoint,
        export_checkpoint,
    )
except ModuleNotFoundError as error:
    sys.exit(f"checkpoint.py: {error}. Run `make install`, then use .venv/bin/python")

Command = Callable[[argparse.Namespace], int]


def main() -> None:
    """Parse and run."""
    arguments = _build_parser().parse_args()
    try:
        sys.exit(arguments.run_command(arguments))
    except (ValueError, OSError) as error:
        sys.exit(f"checkpoint.py: {error}")


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run_command: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run_command=run_command)
        return command

    def add_with_step(name: str, run_command: Command, text: str) -> argparse.ArgumentParser:
        command = add(name, run_command, text)
        command.add_argument("run", type=Path, help="folder of a run")
        command.add_argument("step", help="step of a checkpoint, or latest")
        return command

    for name, run_command, text in (
        ("list", _list, "every checkpoint: step, date, files, size, and whether it is whole"),
        ("verify", _verify, "compare every byte with its hash; exit 1 naming what is damaged"),
    ):
        add(name, run_command, text).add_argument("run", type=Path, help="folder of a run")
    add_with_step("use", _use, "let a resume go on from this checkpoint")
    command = add_with_step("consolidate", _consolidate, "one fp32 file under our own names")
    command.add_argument("out", type=Path)
    command.add_argument("--moments", action="store_true", help="the optimizer's too")
    command = add_with_step("export", _export, "one fp32 file under the published names and widths")
    command.add_argument("out", type=Path)
    command = add_with_step("reshape", _reshape, "the same checkpoint, cut for other ranks")
    command.add_argument("ranks", type=int)
    command.add_argument("out", type=Path, help="folder to make")
    command = add("diff", _diff, "how far two checkpoints are apart")
    command.add_argument("first", type=Path, help="a step- folder")
    command.add_argument("second", type=Path, help="another")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    sys.stdout.write(f"{'step':>10} {'saved (UTC)':<20} {'files':>5} {'size':>13}\n")
    for row in list_checkpoints(arguments.run):
        sys.stdout.write(f"{row}\n")
    sys.stdout.write("whole: every file is there in its size; `verify` reads the bytes\n")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    total = sum(row.num_bytes for row in list_checkpoints(arguments.run))
    with tqdm(total=total, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        faults = find_faults(arguments.run, bar.update)
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    if not faults:
        sys.stdout.write(f"{total / 1e6:,.1f} MB verified, all as written\n")
    return int(bool(faults))


def _use(arguments: argparse.Namespace) -> int:
    path = use_checkpoint(arguments.run, arguments.step)
    sys.stdout.write(f"a resume goes on from {path}\n")
    return 0


def _consolidate(arguments: argparse.Namespace) -> int:
    checkpoint = _open(arguments)
    num_tensors = len(checkpoint.parameters)
    if arguments.moments:
        num_tensors = sum(len(entry.kinds) for entry in checkpoint.parameters.values())
    with _bar(num_tensors) as bar:
        consolidate_checkpoint(
            checkpoint,
            arguments.out,
            arguments.run.name,
            moments=arguments.moments,
            on_tensor=bar.update,
        )
    sys.stdout.write(f"{arguments.out}\n")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    with _bar(None) as bar:
        export_checkpoint(_open(arguments), arguments.out, arguments.run.name, bar.update)
    sys.stdout.write(f"{arguments.out}\n")
    return 0


def _reshape(arguments: argparse.Namespace) -> int:
    with _bar(None) as bar:
        reshape_checkpoint(
            _open(arguments), arguments.out, num_ranks=arguments.ranks, on_tensor=bar.update
        )
    sys.stdout.write(f"{arguments.out}\n")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    with _bar(None) as bar:
        differences = compare_checkpoints(
            Checkpoint(arguments.first), Checkpoint(arguments.second), bar.update
        )
    for difference in differences:
        sys.stdout.write(f"{difference}\n")
    return 0


def _open(arguments: argparse.Namespace) -> Checkpoint:
    """The checkpoint a command works on, verified first: a damaged one is not passed on."""
    checkpoint = Checkpoint(find_checkpoint(arguments.run, arguments.step))
    checkpoint.verify()
    return checkpoint


def _bar(total: int | None) -> tqdm:
    return tqdm(total=total, unit=" tensors", disable=None, leave=False)


if __name__ == "__main__":
    main()
