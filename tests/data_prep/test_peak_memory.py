"""Memory of children and grandchildren counts, whichever session they are in."""

import subprocess
import sys

import pytest

from openrinalmo.data_prep.peak_memory import PROC, measure_peak_memory

pytestmark = pytest.mark.skipif(not (PROC / "self" / "status").exists(), reason="needs /proc")

HOLD = "block = bytearray(b'x') * (100 << 20); import time; time.sleep(0.7)"


def test_children_and_grandchildren_are_added_up():
    nested = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HOLD!r}]); {HOLD}"
    with measure_peak_memory() as base:
        pass
    with measure_peak_memory() as peak:
        process = subprocess.Popen([sys.executable, "-c", nested], start_new_session=True)
        process.wait()
    assert peak.anonymous_bytes is not None
    assert base.anonymous_bytes is not None
    assert peak.anonymous_bytes - base.anonymous_bytes > 190 << 20


def test_without_proc_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr("openrinalmo.data_prep.peak_memory.PROC", tmp_path)
    with measure_peak_memory() as peak:
        pass
    assert (peak.rss_bytes, peak.anonymous_bytes) == (None, None)


def test_an_error_inside_comes_through():
    with pytest.raises(ZeroDivisionError), measure_peak_memory():
        _ = 1 / 0
