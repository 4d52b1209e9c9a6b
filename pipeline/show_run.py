"""Print what became of a run: `python pipeline/show_run.py runs/tiny --data runs/data`."""

import argparse
import sys
from pathlib import Path

try:
    from openrinalmo.pipeline.pretraining.summary import summarise_run
except ModuleNotFoundError as error:
    sys.exit(f"show_run.py: {error}. Run `make install`, then use .venv/bin/python")


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder it was trained on")
    arguments = parser.parse_args()
    try:
        sys.stdout.write(summarise_run(arguments.run, arguments.data))
    except (ValueError, OSError) as error:
        sys.exit(f"show_run.py: {error}")


if __name__ == "__main__":
    main()
