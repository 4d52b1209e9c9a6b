import pytest

pytest.importorskip("triton")
from support.compilation import RESERVED_SHARED_BYTES, SHARED_BYTES_PER_SM
from support.compile_budget import (
    BUDGET,
    Row,
    attention_cases,
    compile_rows,
    read_budget,
    row_key,
)
from support.triton_device import IS_INTERPRETED

pytestmark = pytest.mark.skipif(
    IS_INTERPRETED, reason="under TRITON_INTERPRET=1 kernels are Python: they cannot be compiled"
)

TOLERANCE = 0.1
MIN_WARPS_PER_SM = 8
"""Two for each of an SM's four schedulers, so that one can work while the other waits."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return compile_rows(attention_cases(), num_processes=2)


def named(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [row_key(row) for row in rows]


def number_in(row: Row, name: str) -> int:
    return int(row["config"].split(f"{name}=")[1].split()[0])


def test_no_register_spills(rows):
    assert named([row for row in rows if int(row["stack"])]) == []


def test_programs_fit_and_keep_every_scheduler_busy(rows):
    for row in rows:
        limit = SHARED_BYTES_PER_SM[row["arch"]] - RESERVED_SHARED_BYTES
        assert int(row["shared_bytes"]) <= limit, row
        warps = int(row["programs_per_sm"]) * number_in(row, "warps")
        assert warps >= MIN_WARPS_PER_SM, row


def test_products_run_on_the_tensor_cores_of_their_architecture(rows):
    for row in rows:
        found = (int(row["wgmma"]) > 0, int(row["mma"]) > 0)
        if row["config"].startswith("fp32"):
            assert found == (False, False), f"fp32 must not be rounded to tf32: {row}"
        else:
            assert found == (row["arch"] == "sm_90", row["arch"] == "sm_80"), row


def test_tiles_are_loaded_in_the_widest_words_their_rows_allow(rows):
    for row in rows:
        # Half a head of 24 is 24 bytes, or 48 in fp32: only the latter is in words of 16.
        is_odd = number_in(row, "head_dim") == 24 and not row["config"].startswith("fp32")
        assert int(row["loads_64" if is_odd else "loads_128"]) > 0, row


def test_figures_are_those_of_the_committed_table(rows):
    budget = {row_key(row): row for row in read_budget() if row["triton"] == rows[0]["triton"]}
    if not budget:
        pytest.skip(f"{BUDGET.name} has no rows of triton {rows[0]['triton']}")
    cure = "run benchmarks/compile_budget.py and read the difference"
    assert set(budget) == set(named(rows)), cure
    for row in rows:
        for name in ("registers", "shared_bytes", "programs_per_sm", "wgmma", "mma", "loads_128"):
            expected, actual = int(budget[row_key(row)][name]), int(row[name])
            assert abs(actual - expected) <= TOLERANCE * expected, f"{name} of {row}; {cure}"
