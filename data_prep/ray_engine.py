"""The engine on Ray Data: ordered, bounded in memory by Ray's own back-pressure.

A task whose worker dies is run again, as often as it takes: Ray Data sets no limit.

Rows of the datasets hold one pickled value. What a function raises is a value too, so that the
first error in the order of the items ends the run with the words that it has locally.
"""

import hashlib
import logging
import os
import pickle
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use to its makers
# A thread of an interrupted dataset that outlives `ray.shutdown` would connect again by itself.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
import ray
import ray.data
from ray.data.context import DataContext
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .engine import Item, Part, Result
from .shards import count_bytes

logger = logging.getLogger(__name__)

REFUSALS = (ValueError, RuntimeError, OSError)
"""What a run ends with one line for."""
BLOCK_BYTES = 8 << 20  # what a task hands over at once
WORKER_BYTES = 200 << 20  # a process that has imported Arrow
CONNECT_SECONDS, LOOK_SECONDS = 10, 120


class _End(Enum):
    """Stands behind the last part of an item."""

    END = 0


class _Failure(NamedTuple):
    error: Exception


class RayEngine:
    """Work as tasks of Ray Data on the cluster that this process is connected to."""

    def __init__(self, largest_memory_bytes: int) -> None:
        self.largest_memory_bytes = largest_memory_bytes

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        memory_bytes: int = 0,
    ) -> Iterator[Result]:
        """Run one task for each item, as many at a time on a node as its memory has room for."""
        return self._run(partial(_call, function), items, memory_bytes)

    def flat_map(
        self,
        expand: Callable[[Item], Iterable[Part]],
        function: Callable[[Part], Result],
        items: Sequence[Item],
    ) -> Iterator[Iterator[Result]]:
        """Run one task for each item; results come while it runs.

        The function does not get tasks of its own: handing the raw letters over takes longer than
        filtering them (twice the time of the step on two nodes).
        """
        values = self._run(partial(_call_on_parts, expand, function), items, 0)
        for _ in items:
            yield iter(values.__next__, _End.END)

    def _run(
        self, call: Callable[..., Iterator[dict[str, bytes]]], items: Sequence[Any], memory: int
    ) -> Iterator[Any]:
        """Yield the values that the calls yield, in order; raise the first failure."""
        if not items:
            return
        memory = min(WORKER_BYTES + memory, self.largest_memory_bytes)  # more would wait for ever
        context = DataContext.get_current().copy()
        context.execution_options.preserve_order = True
        context.target_max_block_size = BLOCK_BYTES
        context.enable_progress_bars = False
        rows = list(map(_pack, items))
        with _explained():
            with DataContext.current(context):
                data = ray.data.from_items(rows, override_num_blocks=len(rows))
            found = iter(data.flat_map(call, num_cpus=1, memory=memory).iter_rows())
            # Closed, or the threads of a dataset that is not read to its end would go on.
            with closing(cast(Generator[dict[str, Any], None, None], found)):
                for row in found:
                    value = pickle.loads(row["value"])
                    if isinstance(value, _Failure):
                        raise value.error
                    yield value


def _pack(value: object) -> dict[str, bytes]:
    return {"value": pickle.dumps(value, pickle.HIGHEST_PROTOCOL)}


def _call(function: Callable[[Any], Any], row: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    try:
        yield _pack(function(pickle.loads(row["value"])))
    except REFUSALS as error:
        yield _pack(_Failure(error))


def _call_on_parts(
    expand: Callable[[Any], Iterable[Any]],
    function: Callable[[Any], Any],
    row: dict[str, bytes],
) -> Iterator[dict[str, bytes]]:
    try:
        for part in expand(pickle.loads(row["value"])):
            yield _pack(function(part))
    except REFUSALS as error:
        yield _pack(_Failure(error))
    yield _pack(_End.END)


@contextmanager
def connect(address: str, *, shared: Path, inputs: Sequence[Path]) -> Iterator[RayEngine]:
    """Connect to a cluster whose every node can do the work; disconnect at the end.

    Each node with CPUs has to see the folder `shared` and the inputs under the same names, and
    hold the same versions of what decides the products' bytes.
    """
    _refuse_silent_port(address)
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        with _explained():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
            )
    except ConnectionError as error:
        raise RuntimeError(
            f"--address {address}: no Ray cluster answers here ({error}); start one with "
            "`ray start --head`, or take --address local"
        ) from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_stop)  # Ray has put its own in place
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise RuntimeError(f"--address {address}: none of the cluster's nodes has a CPU")
        with _explained():
            _check_nodes(nodes, shared, inputs)
        cpus = sum(node["Resources"]["CPU"] for node in nodes)
        logger.info("Ray %s: %d nodes with %d CPUs", ray.__version__, len(nodes), cpus)
        yield RayEngine(int(max(node["Resources"]["memory"] for node in nodes)))
    finally:
        ray.shutdown()


def _refuse_silent_port(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RuntimeError(
            f"--address {address}: nothing answers there ({error}); give the address that "
            "`ray start --head` printed, or auto on a machine of the cluster"
        ) from error


@contextmanager
def _explained() -> Iterator[None]:
    """Say in one line what Ray itself failed at."""
    try:
        yield
    except RayError as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise RuntimeError(
            f"Ray: {type(error).__name__}: {said[-1].strip()}; run again to go on from here"
        ) from error


def _check_nodes(nodes: list[dict[str, Any]], shared: Path, inputs: Sequence[Path]) -> None:
    """Refuse nodes that do not see what this process sees, or would make other bytes."""
    probe, token = shared / ".ray-probe", secrets.token_hex(8)
    probe.write_text(token)
    here = _describe_library()
    sizes = {path: count_bytes(path) for path in inputs}
    look = ray.remote(num_cpus=0)(_look)
    try:
        answers = [
            look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(probe, token, sizes, here)
            for node in nodes
        ]
        faults = ray.get(answers, timeout=LOOK_SECONDS)
    finally:
        probe.unlink()
    for node, fault in zip(nodes, faults, strict=True):
        if fault:
            raise RuntimeError(f"node {node['NodeManagerAddress']} of the Ray cluster {fault}")


def _look(probe: Path, token: str, sizes: dict[Path, int], library: dict[str, str]) -> str | None:
    """Say what is wrong with the node that this runs on."""
    if not probe.is_file() or probe.read_text() != token:
        return (
            f"does not see {probe.parent}: --out must lie on a file system that every node "
            "has under the same name"
        )
    for path, size in sizes.items():
        if not path.exists() or count_bytes(path) != size:
            return f"does not see the same {path}: inputs must lie where every node has them"
    for name, found in _describe_library().items():
        if found != library[name]:
            return (
                f"has {name} {found}, this process {library[name]}: install the same version, "
                "or the products would differ"
            )
    return None


def _describe_library() -> dict[str, str]:
    """Return the versions of what decides the products' bytes."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    return {
        "Python": ".".join(map(str, sys.version_info[:2])),
        "openrinalmo.data_prep": code.hexdigest()[:12],
        **{name: version(name) for name in ("numpy", "pyarrow", "xxhash")},
    }
