"""What every launcher puts in the environment, read into the same numbers; waits that end."""

import multiprocessing
import os

import pytest
import torch

from openrinalmo.pipeline.ranks import (
    complete_environment,
    find_free_port,
    first_host,
    read_ranks,
)
from support import process_groups

MASTER = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
TORCHRUN = {
    **MASTER, "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2",
}  # fmt: skip
DEEPSPEED = {
    **MASTER, "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_SIZE": "4",
    "CROSS_RANK": "1", "CROSS_SIZE": "2",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}  # fmt: skip
EXPECTED = {
    "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "LOCAL_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
}  # fmt: skip


@pytest.mark.parametrize("found", [TORCHRUN, DEEPSPEED], ids=["torchrun", "deepspeed"])
def test_torchrun_and_deepspeed_give_the_same_numbers(found):
    assert complete_environment(found) == EXPECTED | MASTER


def test_a_bare_srun_step_is_understood_without_asking_slurm():
    completed = complete_environment(SRUN)
    assert completed == EXPECTED | {"MASTER_ADDR": "gpu07", "MASTER_PORT": "26041"}
    # Every task of the step must come to the same address and port.
    other = SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    assert complete_environment(other)["MASTER_PORT"] == "26041"
    assert complete_environment(SRUN | {"SLURM_STEP_ID": "1"})["MASTER_PORT"] != "26041"


def test_uneven_nodes_and_the_users_own_master_are_respected():
    uneven = {"SLURM_STEP_TASKS_PER_NODE": "3,5", "SLURM_NODEID": "1"}
    assert complete_environment(SRUN | uneven)["LOCAL_WORLD_SIZE"] == "5"
    assert complete_environment(SRUN | MASTER)["MASTER_ADDR"] == "10.0.0.1"
    assert complete_environment(SRUN | MASTER)["MASTER_PORT"] == "29500"


def test_torchrun_inside_srun_is_torchruns():
    assert complete_environment(SRUN | TORCHRUN) == EXPECTED | MASTER


def test_the_batch_script_itself_is_no_step_and_runs_alone():
    batch = {k: v for k, v in SRUN.items() if "STEP" not in k} | {"SLURM_PROCID": "0"}
    completed = complete_environment(batch)
    assert (completed["RANK"], completed["WORLD_SIZE"]) == ("0", "1")
    assert completed["MASTER_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("nodelist", "expected"),
    [
        ("gpu1", "gpu1"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[001-003]", "gpu001"),
        ("gpu[007,009-012]-ib,login[1-2]", "gpu007-ib"),
        ("rack[1-2]node[05-07]", "rack1node05"),
        ("a-b.cluster.org,x[1-2]", "a-b.cluster.org"),
    ],
)
def test_first_host(nodelist, expected):
    assert first_host(nodelist) == expected


@pytest.mark.parametrize("nodelist", ["", "gpu[1-2", "gpu]1[", "gpu 1"])
def test_what_is_no_node_list_is_refused(nodelist):
    with pytest.raises(ValueError, match="is no node list: set MASTER_ADDR"):
        first_host(nodelist)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"RANK": "1"}, "has RANK but not LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0", **MASTER}, "but not LOCAL_RANK"),
        ({k: v for k, v in TORCHRUN.items() if k != "MASTER_ADDR"}, "but not MASTER_ADDR"),
        (TORCHRUN | {"RANK": "8"}, "RANK is 8, which is none of the 8 ranks"),
        (TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment is no number"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4"}, "makes 4 tasks on 1 nodes"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4x2"}, "is none of Slurm's"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_LOCALID"}, "SLURM_LOCALID='' in the"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_STEP_NODELIST"}, "set MASTER_ADDR"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_SIZE is 4, but RANK is not set"),
    ],
)
def test_half_an_environment_is_refused_with_the_cure(found, message):
    with pytest.raises(ValueError, match="start|set|none|makes") as error:
        complete_environment(found)
    assert message in str(error.value)


def test_alone_without_a_launcher(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    ranks = read_ranks()
    assert (ranks.rank, ranks.local_rank, ranks.world_size) == (0, 0, 1)
    assert (ranks.local_world_size, ranks.num_nodes, ranks.is_rank_zero) == (1, 1, True)
    assert os.environ["LOCAL_SIZE"] == "1"  # DeepSpeed's
    assert read_ranks() == ranks


def test_ranks_past_the_visible_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "environ", TORCHRUN | {"LOCAL_RANK": "2"})
    with pytest.raises(ValueError, match="local rank 2 has no GPU of its own: 2 visible"):
        read_ranks()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    os.environ["CUDA_VISIBLE_DEVICES"] = "3"  # srun --gpus-per-task=1
    assert read_ranks().device == torch.device("cuda", 0)


def run_on_two_processes(target, *arguments) -> list:
    """What each of two processes put into the queue it was given."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=target, args=(r, *arguments, results)) for r in range(2)]
    for process in processes:
        process.start()
    try:
        return [results.get(timeout=120) for _ in processes]
    finally:
        for process in processes:
            process.kill()


def test_a_started_group_sums_over_its_ranks():
    assert run_on_two_processes(process_groups.start_and_sum, find_free_port()) == [3.0, 3.0]


def test_no_group_waits_for_ever_for_a_stalled_peer():
    port = find_free_port()
    found = run_on_two_processes(process_groups.wait_for_an_absent_peer, port)
    assert any("imed out" in message for message in found), found
