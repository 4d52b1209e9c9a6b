"""Judge a checkpoint: `python pipeline/eval_families.py --checkpoint RUN --tasks all`."""

import argparse
import logging
import sys
from pathlib import Path

try:
    from openrinalmo.model.weights import load_masked_lm
    from openrinalmo.pipeline.downstream.all_tasks import (
        FAMILIES,
        TASKS,
        Request,
        check_names,
        collect_reports,
        evaluate_task,
        list_all,
    )
    from openrinalmo.pipeline.downstream.reports.scorecard_files import (
        format_summary,
        write_scorecard,
    )
    from openrinalmo.pipeline.ranks import read_ranks, set_up_logging
except ModuleNotFoundError as error:
    sys.exit(f"eval_families.py: {error}. Run `make install`, then use .venv/bin/python")

logger = logging.getLogger("openrinalmo")

ALL = "all"
OPTION_TASKS = {
    "folds": (FAMILIES,),
    "test": ("out-of-family",),
    "assays": ("mutation-effects",),
    "heads": (FAMILIES, "intra-family", "out-of-family"),
}
"""Tasks that read an option; given for none of those that are named it would do nothing."""


def main() -> None:
    """Parse, evaluate task by task, print the summary and where everything lies."""
    arguments = _parse_arguments()
    ranks = read_ranks()
    set_up_logging(ranks)
    if not ranks.is_rank_zero:
        return
    reports, files, done, refused = [], [], [], {}
    try:
        names = _choose_tasks(arguments)
        request = _build_request(arguments)
        for name in names:
            try:
                evaluate_task(name, request)
            except ValueError as error:
                if arguments.tasks != ALL:
                    raise
                logger.warning("%s is passed over: %s", name, error)
                refused[name] = error
                continue
            done.append(name)
            reports = collect_reports(request.out, request.checkpoint.sha256)
            files = write_scorecard(reports, request.out)  # also of a run that is stopped later
    except (ValueError, OSError) as error:
        logger.debug("refused", exc_info=True)
        sys.exit(f"eval_families.py: {error}")
    if done:
        places = "\n".join(f"  {path}" for path in [*files, *(request.out / one for one in done)])
        sys.stdout.write(f"\n{format_summary(reports)}\n\nWritten to\n{places}\n")
    if FAMILIES in done:
        text = request.out / FAMILIES / "families.txt"
        sys.stdout.write(f"\n{text.read_text(encoding='utf-8')}")
    if refused:
        reasons = "".join(f"\n  {name}: {error}" for name, error in refused.items())
        sys.exit(f"eval_families.py: not evaluated:{reasons}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    add = parser.add_argument
    add("--checkpoint", type=Path, help="a run's folder or a weights file")
    add(
        "--tasks",
        default=FAMILIES,
        metavar="A,B",
        help=f"`all`, or of {', '.join(TASKS)} (default: {FAMILIES})",
    )
    add("--data", type=Path, help="folder of benchmarks, or a structure file; default: the sample")
    add("--out", type=Path, help="default: runs/scorecards/<checkpoint>")
    add("--preset", choices=("quick", "budget", "full"), default="quick")
    add("--folds", default="", metavar="A,B", help="families: hold out only these")
    add("--test", action="append", default=[], metavar="NAME=PATH", help="out-of-family: your set")
    add("--assays", type=Path, help="mutation-effects: a table of measured variants")
    add("--heads", type=Path, help="structure tasks: fitted heads to use instead of new fits")
    add("--local_rank", type=int, help="set by launchers; not used")
    add("settings", nargs="*", metavar="path=value", help="of the one task that is named")
    return parser.parse_intermixed_args()


def _choose_tasks(arguments: argparse.Namespace) -> list[str]:
    """Return the named tasks; settings, whose paths are a task's own, go with one task only."""
    if arguments.checkpoint is None:
        raise ValueError("no --checkpoint; make one with `make pretrain`, or give a weights file")
    names = [name for name in arguments.tasks.split(",") if name]
    if names == [ALL]:
        names = list_all(arguments.data)
    check_names(names)
    for option, tasks in OPTION_TASKS.items():
        if vars(arguments)[option] and not set(tasks) & set(names):
            raise ValueError(
                f"--{option} is of {' and '.join(tasks)}, not of {', '.join(names)}: name its "
                f"task in --tasks, or leave --{option} out"
            )
    if arguments.settings and len(names) > 1:
        raise ValueError(
            f"settings {' '.join(arguments.settings)} are of one task, but {len(names)} are named; "
            "run the task that they are for by itself, into the same --out"
        )
    return names


def _build_request(arguments: argparse.Namespace) -> Request:
    loaded = load_masked_lm(arguments.checkpoint)
    tests = {}
    for given in arguments.test:
        name, found, path = given.partition("=")
        if not (name and found and path):
            raise ValueError(f"--test {given!r} must be NAME=PATH")
        if name in tests:
            raise ValueError(
                f"--test {given!r} repeats the name {name}, which is {tests[name]}; give each set "
                "its own"
            )
        tests[name] = Path(path)
    return Request(
        loaded=loaded,
        preset=arguments.preset,
        data=arguments.data,
        out=arguments.out or Path("runs", "scorecards", loaded.metadata["sha256"][:8]),
        settings=tuple(arguments.settings),
        folds=tuple(family for family in arguments.folds.split(",") if family),
        tests=tests,
        assays=arguments.assays,
        heads=arguments.heads,
    )


if __name__ == "__main__":
    main()
