"""Two scorecards side by side: `python pipeline/compare.py runs/a/scorecard runs/b/scorecard`."""

import argparse
import sys
from pathlib import Path

try:
    from openrinalmo.pipeline.downstream.all_tasks import SEQUENCE_TASKS
    from openrinalmo.pipeline.downstream.reports.comparison import compare_folders
    from openrinalmo.pipeline.downstream.reports.comparison_page import (
        format_text,
        write_comparison,
    )
except ModuleNotFoundError as error:
    sys.exit(f"compare.py: {error}. Run `make install`, then use .venv/bin/python")


def main() -> None:
    """Parse, compare, print the primary scores and where the page lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path, help="folder of a scorecard: A")
    parser.add_argument("second", type=Path, help="folder of another: B")
    parser.add_argument("--out", type=Path, help="folder of compare.html; default: B's")
    arguments = parser.parse_args()
    first, second = arguments.first, arguments.second
    try:
        tasks, notes = compare_folders(first, second, SEQUENCE_TASKS)
        names = (str(first), str(second))
        path = write_comparison(tasks, names, notes, arguments.out or second)
    except (ValueError, OSError) as error:
        sys.exit(f"compare.py: {error}")
    sys.stdout.write(f"A {first}\nB {second}\n\n{format_text(tasks, notes)}\n\n{path}\n")


if __name__ == "__main__":
    main()
