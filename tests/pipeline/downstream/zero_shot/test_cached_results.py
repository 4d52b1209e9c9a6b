"""Results in files: computed once, whole or absent, another for other facts."""

import math

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.zero_shot.cached_results import (
    load_or_compute,
    load_or_compute_array,
)


class Counted:
    def __init__(self, value):
        self.value = value
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.value


def test_numbers_are_computed_once_and_come_back_to_the_last_bit(tmp_path):
    compute = Counted([0.1 + 0.2, -1e-300, math.inf, {"a": 3}])
    first = load_or_compute(tmp_path, "a/b c", {"x": 1}, compute)
    assert load_or_compute(tmp_path, "a/b c", {"x": 1}, compute) == first == compute.value
    assert compute.calls == 1
    load_or_compute(tmp_path, "a/b c", {"x": 2}, compute)
    assert compute.calls == 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert all(name.startswith("a_b_c.") and name.endswith(".json") for name in names)


def test_arrays_keep_type_and_shape(tmp_path):
    compute = Counted(np.arange(6, dtype=np.float32).reshape(2, 3) / 3)
    load_or_compute_array(tmp_path, "x", {}, compute)
    again = load_or_compute_array(tmp_path, "x", {}, compute)
    assert compute.calls == 1
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, compute.value)


def test_nothing_is_left_of_a_computation_that_fails(tmp_path):
    def fail():
        raise RuntimeError("killed")

    for load in (load_or_compute, load_or_compute_array):
        with pytest.raises(RuntimeError, match="killed"):
            load(tmp_path / "folder", "x", {}, fail)
    assert not (tmp_path / "folder").exists()


def test_broken_files_are_named(tmp_path):
    load_or_compute(tmp_path, "numbers", {}, Counted([1]))
    load_or_compute_array(tmp_path, "array", {}, Counted(np.zeros(3)))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:1])
    with pytest.raises(ValueError, match=r"numbers.*is no result .*delete it"):
        load_or_compute(tmp_path, "numbers", {}, Counted([1]))
    with pytest.raises(ValueError, match=r"array.*is no array .*delete it"):
        load_or_compute_array(tmp_path, "array", {}, Counted(np.zeros(3)))
