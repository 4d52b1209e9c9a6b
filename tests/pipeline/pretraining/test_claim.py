import subprocess
import sys

import pytest
import torch

from openrinalmo.pipeline.pretraining.claim import claim_folder
from openrinalmo.pipeline.ranks import Ranks

RANK_ZERO = Ranks(rank=0, local_rank=0, world_size=2, device=torch.device("cpu"))
RANK_ONE = Ranks(rank=1, local_rank=1, world_size=2, device=torch.device("cpu"))

HOLD = """
import sys, time, torch
from pathlib import Path
from openrinalmo.pipeline.pretraining.claim import claim_folder
from openrinalmo.pipeline.ranks import Ranks
ranks = Ranks(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))
with claim_folder(Path(sys.argv[1]), ranks):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_in_one_folder_is_refused_until_the_first_is_dead(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                ValueError, match=rf"another run writes to out=.*process {holder.pid} on"
            ),
            claim_folder(tmp_path, RANK_ZERO),
        ):
            pass
        holder.kill()
        holder.wait()
        with claim_folder(tmp_path, RANK_ZERO):
            pass


def test_other_ranks_do_not_lock(tmp_path):
    with claim_folder(tmp_path, RANK_ZERO), claim_folder(tmp_path, RANK_ONE):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ValueError, match=r"out=.*file/run cannot be written \(Not a directory\)"),
        claim_folder(tmp_path / "file" / "run", RANK_ZERO),
    ):
        pass
