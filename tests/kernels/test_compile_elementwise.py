import csv

import pytest

pytest.importorskip("triton")
from support.compilation import RESERVED_SHARED_BYTES, SHARED_BYTES_PER_SM
from support.compile_budget import Row, compile_rows, row_key
from support.elementwise_budget import BUDGET, elementwise_cases
from support.triton_device import IS_INTERPRETED

pytestmark = pytest.mark.skipif(
    IS_INTERPRETED, reason="under TRITON_INTERPRET=1 kernels are Python: they cannot be compiled"
)

TOLERANCE = 0.1
MIN_WARPS_PER_SM = 16
"""Two programs of 8 warps, as the backward of the norms is launched."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return compile_rows(elementwise_cases(), num_processes=2)


def test_no_register_spills(rows):
    assert [row_key(row) for row in rows if int(row["stack"])] == []


def test_enough_warps_are_resident(rows):
    for row in rows:
        limit = SHARED_BYTES_PER_SM[row["arch"]] - RESERVED_SHARED_BYTES
        assert int(row["shared_bytes"]) <= limit, row
        warps = int(row["config"].split("warps=")[1])
        assert int(row["programs_per_sm"]) * warps >= MIN_WARPS_PER_SM, row


def test_every_kernel_loads_in_words_of_128_bits(rows):
    for row in rows:
        # Half a head of 24 is 24 bytes in bf16.
        name = "loads_64" if "bf16 head_dim=24" in row["config"] else "loads_128"
        assert int(row[name]) > 0, row


def test_figures_are_those_of_the_committed_table(rows):
    with BUDGET.open(newline="") as file:
        budget = {row_key(row): row for row in csv.DictReader(file)}
    if rows[0]["triton"] not in {row["triton"] for row in budget.values()}:
        pytest.skip(f"{BUDGET.name} has no rows of triton {rows[0]['triton']}")
    cure = "run benchmarks/compile_budget_elementwise.py and read the difference"
    assert set(budget) == {row_key(row) for row in rows}, cure
    for row in rows:
        for name in ("registers", "shared_bytes", "programs_per_sm", "loads_128", "loads_64"):
            expected, actual = int(budget[row_key(row)][name]), int(row[name])
            assert abs(actual - expected) <= TOLERANCE * expected, f"{name} of {row}; {cure}"
