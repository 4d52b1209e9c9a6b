"""Which engine is taken, and what is said where Ray is not there; runs without Ray."""

import socket
import subprocess
import sys

import pytest

from openrinalmo.data_prep import prepare as entry
from openrinalmo.data_prep.arguments import parse_arguments
from openrinalmo.data_prep.engine import LOCAL_ENGINE, EngineConfig, open_engine
from support.ray_cluster import requires_ray


def test_local_engine_is_lazy_and_in_order():
    seen = []

    def expand(number):
        seen.append(number)
        return range(number)

    inner = LOCAL_ENGINE.flat_map(expand, str, [2, 0, 3])
    assert list(next(inner)) == ["0", "1"]
    assert seen == [2]
    assert list(map(list, inner)) == [[], ["0", "1", "2"]]
    assert list(LOCAL_ENGINE.map(str, [3, 1])) == ["3", "1"]


def test_local_run_does_not_import_ray(tmp_path):
    code = (
        "import sys; from openrinalmo.data_prep.arguments import parse_arguments; "
        "from openrinalmo.data_prep.engine import open_engine; "
        "from openrinalmo.data_prep import prepare, publish, stages; "
        "c = parse_arguments(['--out', sys.argv[1]]); "
        "open_engine(c.engine, shared=c.out, inputs=c.inputs); "
        "sys.exit('ray' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


def test_flags(tmp_path):
    parsed = parse_arguments(["--out", str(tmp_path), "--engine=ray", "--address=head:6379"])
    assert parsed.engine == EngineConfig(name="ray", address="head:6379")
    assert parse_arguments(["--out", str(tmp_path)]).engine == EngineConfig()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "dask"}, "engine.name must be local or ray, got 'dask'"),
        ({"address": "auto"}, "engine.address 'auto' is Ray's: add --engine ray"),
        ({"name": "ray", "address": "head"}, "must be auto, local or host:port, got 'head'"),
        ({"name": "ray", "address": "ray://h:1"}, "must be auto, local or host:port"),
        ({"name": "ray", "address": ":6379"}, "must be auto, local or host:port"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        EngineConfig(**settings)


def test_without_ray_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "ray\[data\]"'):
        open_engine(EngineConfig(name="ray"), shared=tmp_path, inputs=[])


@requires_ray
def test_an_address_where_nothing_listens(tmp_path):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [entry.__file__, "--out", tmp_path, "--engine=ray", f"--address={address}"]
        done = subprocess.run(
            [sys.executable, *map(str, command)], check=False, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --address {address}: nothing answers there (")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "manifest.json").exists()
