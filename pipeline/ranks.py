"""This process among its peers: rank, world size, device, their collectives, logging on rank 0.

`deepspeed`, `torchrun` and bare `srun` all start the same script; each tells it who it is in the
environment, in words of its own.
"""

import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

_NEEDED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OTHER_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Which process this is; the same numbers whichever launcher started it."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device
    local_world_size: int = 1
    """Processes of the run on this machine."""
    num_nodes: int = 1
    """Machines of the run."""

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0


def read_ranks() -> Ranks:
    """Rank, world size and device from the launcher's environment; alone where there is none.

    What DeepSpeed and PyTorch read from the environment is completed, so that all launchers look
    alike to them.
    """
    os.environ.update(complete_environment(os.environ))
    local_rank = _read_number(os.environ, "LOCAL_RANK")
    return Ranks(
        rank=_read_number(os.environ, "RANK"),
        local_rank=local_rank,
        world_size=_read_number(os.environ, "WORLD_SIZE"),
        device=_find_device(local_rank),
        local_world_size=_read_number(os.environ, "LOCAL_WORLD_SIZE"),
        num_nodes=_read_number(os.environ, "GROUP_WORLD_SIZE"),
    )


def complete_environment(found: Mapping[str, str]) -> dict[str, str]:
    """The variables torchrun would set, from what any launcher did; `ValueError` if some lack."""
    if any(name in found for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")):
        if missing := [name for name in _NEEDED if not found.get(name)]:
            there = [name for name in _NEEDED if found.get(name)]
            raise ValueError(
                f"the environment has {', '.join(there)} but not {', '.join(missing)}: start with "
                "deepspeed, torchrun or srun, which set all of them, or unset them to run alone"
            )
        ours = {name: found[name] for name in _NEEDED}
        world = _read_number(found, "WORLD_SIZE")
        local = _first_number(found, ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"), default=world)
        nodes = _first_number(found, ("GROUP_WORLD_SIZE", "CROSS_SIZE"), default=-(-world // local))
    elif "SLURM_STEP_ID" in found and "SLURM_PROCID" in found:
        # The batch script itself has SLURM_PROCID too, but only srun makes a step.
        ours, local, nodes = _read_slurm(found)
    else:
        for name in _OTHER_LAUNCHERS:
            if int(found.get(name, "1")) > 1:
                raise ValueError(
                    f"{name} is {found[name]}, but RANK is not set: every process would run alone. "
                    "Start with deepspeed, torchrun or srun"
                )
        ours = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        ours["MASTER_ADDR"] = found.get("MASTER_ADDR", "127.0.0.1")
        ours["MASTER_PORT"] = found.get("MASTER_PORT", str(find_free_port()))
        local = nodes = 1
    rank, world = _read_number(ours, "RANK"), _read_number(ours, "WORLD_SIZE")
    if not 0 <= rank < world:
        raise ValueError(f"RANK is {rank}, which is none of the {world} ranks WORLD_SIZE speaks of")
    # LOCAL_SIZE is DeepSpeed's word for LOCAL_WORLD_SIZE, GROUP_WORLD_SIZE torchrun's for nodes.
    sizes = {"LOCAL_WORLD_SIZE": local, "LOCAL_SIZE": local, "GROUP_WORLD_SIZE": nodes}
    return ours | {name: str(size) for name, size in sizes.items()}


def first_host(nodelist: str) -> str:
    """First host of a Slurm node list: `gpu[007-009,12]-ib,cpu1` starts with `gpu007-ib`."""
    if not re.fullmatch(r"(?:[^\s\[\],]|\[[0-9,-]+\]|,(?=.))+", nodelist):
        raise ValueError(f"SLURM_STEP_NODELIST={nodelist!r} is no node list: set MASTER_ADDR")
    first = re.split(r",(?![^\[]*\])", nodelist)[0]
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", first)


def start_process_group(ranks: Ranks, *, timeout: timedelta) -> None:
    """Join the other ranks, ahead of DeepSpeed, which takes over the group it finds.

    A collective call. Where some ranks lack after `timeout`, this raises and says how many.
    """
    on_gpu = ranks.device.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        timeout=timeout,
        rank=ranks.rank,
        world_size=ranks.world_size,
        # Binding the device makes groups by splitting; a rank alone has nobody to split from.
        device_id=ranks.device if on_gpu and ranks.world_size > 1 else None,
    )


def limit_waits(timeout: timedelta) -> None:
    """Let no collective of any group made so far wait longer than `timeout` for a peer.

    DeepSpeed makes groups of its own, and those have PyTorch's timeouts (10 minutes for NCCL, 30
    for gloo) whatever the first group was given: call this after the engine is built.
    """
    groups = dist.distributed_c10d._world.pg_map
    for group in groups:
        dist.distributed_c10d._set_pg_timeout(timeout, group)


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether a collective failed because another rank is gone, not by a fault of this one."""
    # gloo raises bare RuntimeErrors.
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "timed out")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)


def share_cores(local_world_size: int) -> None:
    """Split this machine's cores among its CPU ranks, unless OMP_NUM_THREADS says otherwise.

    Launchers do not, and two ranks with all cores each run at half the speed of one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_world_size))


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Sum of every rank's `values`, on every rank; a collective call."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(values)
    return values


def wait_for_all() -> None:
    """Return once every rank has come here; a collective call."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def set_up_logging(ranks: Ranks) -> None:
    """Facts of rank 0 to standard error; of the other ranks only warnings."""
    logging.basicConfig(
        level=logging.INFO if ranks.is_rank_zero else logging.WARNING,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )


def _read_slurm(found: Mapping[str, str]) -> tuple[dict[str, str], int, int]:
    """Who this task of an `srun` step is, its node's number of tasks, and the number of nodes."""
    world = _first_number(found, ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))
    nodes = _first_number(found, ("SLURM_STEP_NUM_NODES", "SLURM_NNODES"), default=1)
    ours = {
        "RANK": str(_read_number(found, "SLURM_PROCID")),
        "LOCAL_RANK": str(_read_number(found, "SLURM_LOCALID")),
        "WORLD_SIZE": str(world),
    }
    if "MASTER_ADDR" in found:
        ours["MASTER_ADDR"] = found["MASTER_ADDR"]
    elif nodes == 1:
        ours["MASTER_ADDR"] = "127.0.0.1"
    elif "SLURM_STEP_NODELIST" in found:
        ours["MASTER_ADDR"] = first_host(found["SLURM_STEP_NODELIST"])
    else:
        raise ValueError("SLURM_STEP_NODELIST is not set: start with srun, or set MASTER_ADDR")
    if "MASTER_PORT" in found:
        ours["MASTER_PORT"] = found["MASTER_PORT"]
    else:
        # Below what Linux hands out by itself (32768), and another one for each step of each job.
        step = _read_number(found, "SLURM_JOB_ID") * 31 + _read_number(found, "SLURM_STEP_ID")
        ours["MASTER_PORT"] = str(15_000 + step % 15_000)
    node = _first_number(found, ("SLURM_NODEID",), default=0)
    per_node = _expand_counts(
        found.get("SLURM_STEP_TASKS_PER_NODE", f"{-(-world // nodes)}(x{nodes})")
    )
    if sum(per_node) != world or node >= len(per_node):
        raise ValueError(
            f"SLURM_STEP_TASKS_PER_NODE makes {sum(per_node)} tasks on {len(per_node)} nodes, but "
            f"this is node {node} of a step of {world}: do not set SLURM_* variables yourself"
        )
    return ours, per_node[node], nodes


def _expand_counts(text: str) -> list[int]:
    """Tasks of each node from Slurm's `4(x2),3`."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(
                f"SLURM_STEP_TASKS_PER_NODE={text!r} is none of Slurm's: expected 4(x2),3"
            )
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _find_device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    # `srun --gpus-per-task=1` shows every task its own GPU only.
    index = 0 if visible == 1 and "CUDA_VISIBLE_DEVICES" in os.environ else local_rank
    if index >= visible:
        raise ValueError(
            f"local rank {local_rank} has no GPU of its own: {visible} visible on this machine. "
            "Start as many ranks a machine as it has GPUs"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def _first_number(
    found: Mapping[str, str], names: tuple[str, ...], default: int | None = None
) -> int:
    for name in names:
        if name in found:
            return _read_number(found, name)
    if default is None:
        raise ValueError(f"{' or '.join(names)} is not set: start with deepspeed, torchrun or srun")
    return default


def _read_number(found: Mapping[str, str], name: str) -> int:
    text = found.get(name, "")
    if not text.isdecimal():
        raise ValueError(f"{name}={text!r} in the environment is no number: launchers set it")
    return int(text)


def find_free_port() -> int:
    """A port nobody listens at right now on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
