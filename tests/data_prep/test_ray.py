"""The steps on a Ray cluster of two nodes against the same steps in this process, byte for byte."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openrinalmo.data_prep import prepare as entry
from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.config import DataConfig
from openrinalmo.data_prep.dedup import DedupConfig
from openrinalmo.data_prep.engine import LOCAL_ENGINE, EngineConfig, open_engine
from openrinalmo.data_prep.inputs.formats import iter_blocks
from openrinalmo.data_prep.prepare import prepare_data
from openrinalmo.data_prep.records import build_records
from openrinalmo.data_prep.shards import hash_file
from openrinalmo.data_prep.unique import build_unique
from support.mmseqs import requires_mmseqs
from support.ray_cluster import requires_ray, run_cluster
from support.sequences import draw_sequence, format_fasta

pytestmark = [
    requires_ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of its own settings
]
SETTINGS = ["--threads=1", "--max-shard-nt=20000", "--reverse-complement"]


@pytest.fixture(scope="module")
def cluster():
    """Return the address of a running cluster."""
    with pytest.MonkeyPatch.context() as patch, run_cluster(patch) as address:
        yield address


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """FASTA, plain and packed, FASTQ and Parquet, with copies and antisense copies in others."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = random.Random(5)
    drawn = [draw_sequence(rng, rng.choice([10, 16, 60, 100, 300])) for _ in range(400)]
    antisense = [s[::-1].translate(str.maketrans("ACGU", "UGCA")) for s in drawn]
    rows = [(f"r{n} rna_type={rng.choice(['tRNA', 'rRNA'])}", s) for n, s in enumerate(drawn)]
    plain, packed = folder / "plain.fa", folder / "packed.fa.gz"
    plain.write_text(format_fasta(rows))
    packed.write_bytes(gzip.compress(format_fasta([*rows[::3], ("x", "ACGUN" * 9)]).encode()))
    fastq, table = folder / "reads.fastq", folder / "table.parquet"
    fastq.write_text("".join(f"@q\n{s}\n+\n{'I' * len(s)}\n" for s in antisense[::2]))
    columns = {"sequence": drawn[5:200:2], "id": [f"p{n}" for n in range(5, 200, 2)]}
    pq.write_table(pa.table(columns), table, row_group_size=20)
    return [plain, packed, fastq, table]


def read_products(out):
    """Hash all that is the same in every run: not the reports, which hold times."""
    paths = [
        out / "manifest.json",
        *(out / "shards").iterdir(),
        *(out / "steps" / "records").glob("*.arrow"),
        *(out / "steps").glob("*/*.npy"),
        out / "steps" / "unique" / "merged.arrow",
    ]
    return {str(path.relative_to(out)): hash_file(path) for path in sorted(paths)}


def prepare(out, inputs, *arguments):
    return prepare_data(
        parse_arguments([*map(str, inputs), "--out", str(out), *SETTINGS, *arguments])
    )


def connect(cluster, **paths):
    return open_engine(EngineConfig(name="ray", address=cluster), **paths)


@pytest.fixture(scope="module")
def local(tmp_path_factory, inputs):
    """Return the folder that a local run makes of the inputs."""
    out = tmp_path_factory.mktemp("local") / "out"
    prepare(out, inputs)
    return out


@requires_mmseqs
def test_makes_the_same_bytes(tmp_path, monkeypatch, cluster, inputs, local):
    monkeypatch.chdir(tmp_path)  # relative paths, which workers in other folders do not know
    relative = [Path(os.path.relpath(path, tmp_path)) for path in inputs]
    prepare(Path("out"), relative, "--engine=ray", f"--address={cluster}")
    expected = read_products(local)
    assert read_products(tmp_path / "out") == expected
    assert sum(name.startswith("shards/") for name in expected) >= 3
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob(".ray-probe"))


@requires_mmseqs
def test_what_a_local_run_made_is_done(tmp_path, caplog, cluster, inputs, local):
    out = tmp_path / "out"
    shutil.copytree(local, out)
    shutil.rmtree(out / "steps" / "unique")
    caplog.set_level("INFO")
    prepare(out, inputs, "--engine=ray", f"--address={cluster}")
    said = caplog.text
    assert said.count("done before") == 4, said
    assert "unique: not done yet" in said
    assert read_products(out) == read_products(local)


def read_small_blocks(path, on_read):
    """Read blocks of 100 bytes, on whichever machine this runs."""
    from openrinalmo.data_prep.inputs import fasta

    fasta.BLOCK_BYTES = 100
    yield from iter_blocks(path, on_read)


@pytest.fixture
def small_blocks(monkeypatch):
    """Send the reader above to workers by its code: they cannot import this file."""
    import ray.cloudpickle

    from openrinalmo.data_prep.inputs import fasta

    monkeypatch.setattr(fasta, "BLOCK_BYTES", 100)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield read_small_blocks
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def build_both(steps, inputs, engine, **settings):
    """Run the first two steps; return their reports and files."""
    reports = {}
    (steps / "records").mkdir(parents=True)
    (steps / "unique").mkdir()
    config = DataConfig(inputs=tuple(inputs), out=steps)
    reports["records"] = build_records(steps / "records", config, engine=engine, **settings)
    (steps / "records" / "step.json").write_text(json.dumps({"report": reports["records"]}))
    dedup = DedupConfig(reverse_complement=True)
    rna_types = reports["records"]["rna_types"]
    reports["unique"] = build_unique(
        steps / "unique", steps, dedup, rna_types=rna_types, engine=engine
    )
    files = {path.name: hash_file(path) for path in sorted(steps.glob("*/*.[an][rp]*"))}
    return json.dumps(reports), files


def test_many_blocks_batches_and_parts(tmp_path, monkeypatch, cluster, inputs, small_blocks):
    monkeypatch.setattr("openrinalmo.data_prep.records.BATCH_RECORDS", 50)
    monkeypatch.setattr("openrinalmo.data_prep.dedup.PART_RECORDS", 100)
    expected = build_both(tmp_path / "local", inputs, LOCAL_ENGINE, read_blocks=small_blocks)
    assert set(expected[1]) == {"records.arrow", "merged.arrow", "unique.npy"}
    with connect(cluster, shared=tmp_path, inputs=inputs) as engine:
        found = build_both(tmp_path / "ray", inputs, engine, read_blocks=small_blocks)
    assert found == expected


def test_inputs_larger_than_the_object_stores(tmp_path, cluster):
    rng = random.Random(6)
    letters = [draw_sequence(rng, 2500) for _ in range(100)]
    paths = [tmp_path / f"{number}.fa" for number in range(8)]
    for path in paths:  # 25 MB each, for stores of 80 MB
        path.write_text(
            "".join(f">{n}\n{letters[n % 100]}{letters[n // 100]}\n" for n in range(5000))
        )
    config = DataConfig(inputs=tuple(paths), out=tmp_path)
    reports = []
    with connect(cluster, shared=tmp_path, inputs=paths) as engine:
        for name, chosen in (("local", LOCAL_ENGINE), ("ray", engine)):
            (tmp_path / name).mkdir()
            reports.append(build_records(tmp_path / name, config, engine=chosen))
    assert reports[0] == reports[1]


def kill_once(flag, path):
    """Be the worker that dies in the middle of the second input, once."""
    for number, block in enumerate(iter_blocks(path)):
        if path.name == "packed.fa.gz" and number == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield block


def count_letters(block):
    return block.first_number, block.letters.tobytes()


def test_a_worker_that_dies_changes_nothing(tmp_path, cluster, inputs, small_blocks):
    del small_blocks  # its code is what goes to the workers
    from openrinalmo.data_prep.inputs import fasta

    blocks = [[count_letters(block) for block in iter_blocks(path)] for path in inputs]
    flag = tmp_path / "died"

    def read(path):
        fasta.BLOCK_BYTES = 100
        return kill_once(flag, path)

    with connect(cluster, shared=tmp_path, inputs=inputs) as engine:
        found = list(map(list, engine.flat_map(read, count_letters, inputs)))
    assert flag.exists()
    assert found == blocks


@requires_mmseqs
def test_a_killed_run_goes_on_with_either_engine(tmp_path, cluster, inputs, local):
    out = tmp_path / "out"
    command = [sys.executable, entry.__file__, *inputs, "--out", out, *SETTINGS]
    ray_command = [*map(str, command), "--engine=ray", f"--address={cluster}"]
    run = subprocess.Popen(ray_command, stderr=subprocess.PIPE, text=True)
    assert run.stderr
    for line in run.stderr:
        if line.startswith("unique: not done"):
            run.kill()
            break
    run.communicate()
    assert not (out / "manifest.json").exists()
    prepare(out, inputs)
    assert read_products(out) == read_products(local)
    assert not list(out.rglob("*.partial"))


def test_a_bad_input_says_what_it_says_locally(tmp_path, cluster, inputs):
    bad = tmp_path / "bad.fa.gz"
    bad.write_bytes(gzip.compress(b">a\nACGU\n" * 5000)[:-20])
    said = []
    for engine in ([], ["--engine=ray", f"--address={cluster}"]):
        with pytest.raises(ValueError, match="bad.fa.gz, record") as error:
            prepare(tmp_path / "out", [inputs[0], bad], *engine)
        said.append(str(error.value))
        assert not (tmp_path / "out" / "manifest.json").exists()
    assert said[0] == said[1]


def refuse_odd(number):
    if number % 2:
        raise OSError(28, "No space left on device", f"file {number}")
    return number


def test_the_first_error_in_order_is_raised(tmp_path, cluster, small_blocks):
    del small_blocks
    with (
        connect(cluster, shared=tmp_path, inputs=[]) as engine,
        pytest.raises(OSError, match="file 3") as error,
    ):
        list(engine.map(refuse_odd, [0, 2, 3, 5, 4]))
    assert error.value.errno == 28


def test_nodes_that_do_not_see_the_same_files_are_refused(tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(tmp_path)
    here = Path("/proc/self/cwd")  # a folder that every process sees, each another
    fasta = Path("in.fa")
    fasta.write_text(">a\nACGU\n")
    unseen = r"node .* does not see /proc/self/cwd: --out must lie on a file system that every"
    with pytest.raises(RuntimeError, match=unseen), connect(cluster, shared=here, inputs=[]):
        pass
    unseen = r"does not see the same /proc/self/cwd/in.fa: inputs must lie where"
    paths = [here / fasta]
    with pytest.raises(RuntimeError, match=unseen), connect(cluster, shared=tmp_path, inputs=paths):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / fasta]


def test_nodes_of_other_versions_are_refused(tmp_path, monkeypatch, cluster):
    from openrinalmo.data_prep import ray_engine

    monkeypatch.setattr(ray_engine, "version", lambda _: "9.9")
    with (
        pytest.raises(RuntimeError, match=r"has numpy .*, this process 9.9: install the same"),
        connect(cluster, shared=tmp_path, inputs=[]),
    ):
        pass
