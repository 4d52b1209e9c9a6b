import pytest

from openrinalmo.data_prep.clusters.available_memory import read_available_bytes


@pytest.fixture
def machine(tmp_path):
    """Write files as a kernel shows them: 8 GiB are free."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n")
    write("proc/self/cgroup", "0::/\n")
    return write


def read(tmp_path):
    return read_available_bytes(tmp_path / "cgroup", tmp_path / "proc") / 2**30


def test_the_machine_alone(tmp_path, machine):
    assert read(tmp_path) == 8


def test_the_tightest_group_above_counts(tmp_path, machine):
    machine("proc/self/cgroup", "0::/slice/job\n")
    machine("cgroup/slice/memory.max", f"{6 * 2**30}\n")
    machine("cgroup/slice/memory.current", f"{3 * 2**30}\n")
    machine("cgroup/slice/memory.stat", f"anon 5\ninactive_file {2**30}\n")
    machine("cgroup/slice/job/memory.max", "max\n")
    machine("cgroup/slice/job/memory.current", "0\n")
    assert read(tmp_path) == 4


def test_the_older_kind_of_groups(tmp_path, machine):
    machine("proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n0::/\n")
    machine("cgroup/memory/job/memory.limit_in_bytes", f"{2 * 2**30}\n")
    machine("cgroup/memory/job/memory.usage_in_bytes", f"{2**30}\n")
    assert read(tmp_path) == 1


def test_no_limit_at_all(tmp_path, machine):
    machine("proc/self/cgroup", "4:memory:/\n")
    machine("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    machine("cgroup/memory/memory.usage_in_bytes", "1\n")
    assert read(tmp_path) == 8
