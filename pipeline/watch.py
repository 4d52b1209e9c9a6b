"""Evaluate a run's checkpoints as they appear: `python pipeline/watch.py RUN --tasks A,B`."""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

try:
    from openrinalmo.pipeline.downstream.all_tasks import check_data, check_names, evaluate_tasks
    from openrinalmo.pipeline.downstream.watching import WATCH, WatchConfig, WatchedRun, watch_run
    from openrinalmo.pipeline.pretraining.run_exports import (
        export_step,
        has_all_steps,
        list_digests,
    )
    from openrinalmo.pipeline.ranks import read_ranks, set_up_logging
except ModuleNotFoundError as error:
    sys.exit(f"watch.py: {error}. Run `make install`, then use .venv/bin/python")

logger = logging.getLogger("openrinalmo")


def main() -> None:
    """Parse, watch, say where the reports lie."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument(
        "--tasks",
        required=True,
        metavar="A,B",
        help="names, as `eval_families.py --tasks` takes them",
    )
    parser.add_argument("--preset", choices=("quick", "budget", "full"), default="quick")
    parser.add_argument("--data", type=Path, help="the tasks' data; default: the sample")
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--once", action="store_true", help="end with the checkpoints there are")
    arguments = parser.parse_args()
    run: Path = arguments.run
    set_up_logging(read_ranks())
    try:
        config = WatchConfig(
            tasks=tuple(task for task in arguments.tasks.split(",") if task),
            preset=arguments.preset,
            data=arguments.data,
            every_seconds=arguments.every,
        )
        watched = WatchedRun(
            folder=run,
            list_checkpoints=partial(list_digests, run),
            export=partial(export_step, run),
            is_finished=partial(has_all_steps, run),
        )
        check_names(config.tasks)
        check_data(config.tasks, config.data)
        outcome = watch_run(watched, evaluate_tasks, config, once=arguments.once)
    except (ValueError, OSError) as error:
        logger.debug("refused", exc_info=True)
        sys.exit(f"watch.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write(f"{len(outcome.done)} checkpoints evaluated; reports in {run / WATCH}\n")
    if outcome.failed:
        steps = ", ".join(map(str, outcome.failed))
        sys.exit(f"watch.py: the evaluation of step {steps} failed; the log says why")


if __name__ == "__main__":
    main()
