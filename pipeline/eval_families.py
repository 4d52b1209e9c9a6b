"""Score a checkpoint on held-out families: `python pipeline/eval_families.py --checkpoint RUN`."""

import argparse
import logging
import sys
from pathlib import Path

try:
    from openrinalmo.pipeline.downstream.embed import load_checkpoint
    from openrinalmo.pipeline.downstream.evaluate import evaluate_families, read_benchmark
    from openrinalmo.pipeline.downstream.report import write_report
    from openrinalmo.pipeline.downstream.scorecard import build_scorecard, format_text
    from openrinalmo.pipeline.downstream.tasks.families import PRESETS, build_families_config
    from openrinalmo.pipeline.overrides import apply_overrides
    from openrinalmo.pipeline.ranks import read_ranks, set_up_logging
except ModuleNotFoundError as error:
    sys.exit(f"eval_families.py: {error}. Run `make install`, then use .venv/bin/python")

logger = logging.getLogger("openrinalmo")


def main() -> None:
    """Parse, evaluate, print the table and where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a run's folder or a weights file")
    parser.add_argument("--data", type=Path, help="ArchiveII's folder or a structure file")
    parser.add_argument("--out", type=Path, help="default: runs/families/<benchmark>-<checkpoint>")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick")
    parser.add_argument("--folds", default="", metavar="A,B", help="hold out only these families")
    parser.add_argument("--local_rank", type=int, help="set by launchers; not used")
    parser.add_argument("settings", nargs="*", metavar="path=value")
    arguments = parser.parse_intermixed_args()

    ranks = read_ranks()
    set_up_logging(ranks)
    if not ranks.is_rank_zero:
        return
    try:
        if arguments.checkpoint is None:
            raise ValueError(
                "no --checkpoint; make one with `make pretrain`, or give a weights file"
            )
        config = apply_overrides(build_families_config(arguments.preset), arguments.settings)
        only = [family for family in arguments.folds.split(",") if family]
        benchmark = read_benchmark(arguments.data, config, only)
        checkpoint = load_checkpoint(arguments.checkpoint)
        name = f"{benchmark.name}-{checkpoint.sha256[:8]}"
        out = arguments.out or Path("runs", "families", name)
        results = evaluate_families(benchmark, checkpoint, config, out=out)
        card = build_scorecard(benchmark, checkpoint.metadata, config, results)
        files = write_report(card, out)
    except (ValueError, FileNotFoundError) as error:
        logger.debug("refused", exc_info=True)
        sys.exit(f"eval_families.py: {error}")
    places = "\n".join(f"  {path}" for path in files)
    sys.stdout.write(f"\n{format_text(card)}\n\nWritten to\n{places}\n")


if __name__ == "__main__":
    main()
