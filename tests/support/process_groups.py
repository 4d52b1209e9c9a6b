"""What test processes do in a process group; here, since a spawned process imports it by name."""

import os
import time
from datetime import timedelta
from multiprocessing.queues import Queue

import torch
import torch.distributed as dist

from openrinalmo.pipeline.ranks import Ranks, limit_waits, start_process_group


def start_and_sum(rank: int, port: int, results: Queue) -> None:
    """The sum of ranks 1 and 2, as each process sees it."""
    _start(rank, port)
    value = torch.tensor([rank + 1.0])
    dist.all_reduce(value)
    results.put(value.item())
    time.sleep(30)  # rank 0 holds the store that the other may still read


def wait_for_an_absent_peer(rank: int, port: int, results: Queue) -> None:
    """Rank 0 reports how its wait for rank 1 ended, which is alive and never comes."""
    _start(rank, port)
    group = dist.new_group([0, 1])  # as DeepSpeed makes its own: with PyTorch's 30 minutes
    limit_waits(timedelta(seconds=2))
    dist.all_reduce(torch.ones(1), group=group)
    if rank == 1:
        results.put("absent")
        time.sleep(120)
    try:
        dist.all_reduce(torch.ones(1), group=group)
    except RuntimeError as error:
        results.put(str(error))


def _start(rank: int, port: int) -> None:
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    ranks = Ranks(rank=rank, local_rank=rank, world_size=2, device=torch.device("cpu"))
    start_process_group(ranks, timeout=timedelta(minutes=2))
