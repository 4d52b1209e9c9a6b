"""Compile rotary, norms and gate for every architecture; rewrite compile_budget_elementwise.csv.

Needs no GPU. Run it after a change of these kernels, and read the difference.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.compile_budget import compile_rows
from support.elementwise_budget import BUDGET, elementwise_cases


def main() -> None:
    """Rewrite the table."""
    rows = compile_rows(elementwise_cases(), num_processes=1)
    with BUDGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.write(f"{len(rows)} rows\n")


if __name__ == "__main__":
    main()
