"""Compile every shipped tiling for every architecture and rewrite benchmarks/compile_budget.csv.

Needs no GPU. Run it after a change of kernels or tilings, and read the difference.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.compile_budget import (  # pyright: ignore[reportMissingImports]
    attention_cases,
    compile_rows,
    write_budget,
)


def main() -> None:
    """Rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    rows = compile_rows(attention_cases(), num_processes=arguments.processes)
    write_budget(rows)
    sys.stdout.write(f"{len(rows)} rows\n")


if __name__ == "__main__":
    main()
