"""This process among its peers: rank, world size, device, and logging on rank 0 only."""

import logging
import os
import socket
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Which process this is; the same numbers every launcher puts in the environment."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0


def read_ranks() -> Ranks:
    """Rank, world size and device from the launcher's environment; alone where there is none."""
    if "RANK" not in os.environ:
        alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_SIZE": 1}
        os.environ.update({name: str(value) for name, value in alone.items()})
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(_free_port()))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    return Ranks(
        rank=int(os.environ["RANK"]),
        local_rank=local_rank,
        world_size=int(os.environ["WORLD_SIZE"]),
        device=device,
    )


def share_cores(world_size: int) -> None:
    """Split this machine's cores among its CPU ranks, unless OMP_NUM_THREADS says otherwise.

    Launchers do not, and two ranks with all cores each run at half the speed of one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        local_size = int(
            os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("LOCAL_SIZE", world_size))
        )
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(1, local_size)))


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
