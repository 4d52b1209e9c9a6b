"""A Ray cluster of two nodes on this machine: a process each for scheduling, one CPU, 80 MB."""

import importlib.util
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

OBJECT_STORE_BYTES = 80 << 20


requires_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'ray[data]'"
)


@contextmanager
def run_cluster(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start the cluster and yield its address; nothing of it is left at the end."""
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")  # as the engine has it, read when Ray is imported
    patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))  # else Ray writes one to ~/.ray
    from ray.cluster_utils import Cluster  # only where a test needs it

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield str(cluster.address)
    finally:
        cluster.shutdown()
