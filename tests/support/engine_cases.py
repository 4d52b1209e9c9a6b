"""Cases for `engine_worker.py`: what small engines train on, and how ranks are started."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openrinalmo.ds_configs import FOLDER
from openrinalmo.model import alphabet
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.engine_settings import read_engine_settings
from openrinalmo.pipeline.pretraining.optim import OptimConfig, build_optimizer
from openrinalmo.pipeline.ranks import find_free_port
from support.packs import pack as join

TESTS = Path(__file__).resolve().parents[1]
# Of no multiple of two ranks: 30 rows a head width of 10, feed-forward 80 stored as 128.
MODEL: dict[str, Any] = {
    "embed_dim": 30,
    "num_blocks": 3,
    "num_heads": 3,
    "attention_dropout": 0.0,
    "residual_dropout": 0.0,
}
DROPOUT = {"attention_dropout": 0.1, "residual_dropout": 0.1}
OPTIM = {"peak_lr": 1e-2, "max_grad_norm": 0.5, "weight_decay": 0.1}


class Pack(NamedTuple):
    """What the engine reads of a pack, and its labels."""

    number: int
    ids_T: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    predicted_rows_M: Tensor
    labels_M: Tensor


def make_pack(number: int) -> Pack:
    """Random sequences of odd lengths, one past 256 in every third pack; a seventh is predicted."""
    gen = torch.Generator().manual_seed(number)
    lengths = torch.randint(5, 60, (3 + number % 3,), generator=gen).tolist()
    lengths += [301] if number % 3 == 0 else []
    letters = torch.tensor(alphabet.NUCLEOTIDES)
    true = [letters[torch.randint(4, (n,), generator=gen)].to(torch.uint8) for n in lengths]
    ids_T, cu_seqlens, max_seqlen = join(*true)
    rows_M = torch.randperm(len(ids_T), generator=gen)[: len(ids_T) // 7].sort().values
    labels_M = ids_T[rows_M].clone()
    ids_T[rows_M] = alphabet.MASK
    return Pack(number, ids_T, cu_seqlens, max_seqlen, rows_M, labels_M)


def case(
    name: str, settings: dict[str, Any], steps: Sequence[dict[str, Any]], **changes: Any
) -> dict[str, Any]:
    """A case: an engine of these DeepSpeed settings, and what it is to do."""
    return {
        "name": name,
        "settings": settings,
        "steps": list(steps),
        "model": {**MODEL, **changes.get("model", {})},
        "optim": {**OPTIM, **changes.get("optim", {})},
        "execution": changes.get("execution", {}),
        "packs_per_step": changes.get("packs_per_step", 3),
        "seed": changes.get("seed", 5),
        "rotary": changes.get("rotary", False),
        "evaluate": 99,
    }


def step(number: int, *, packs_per_step: int = 3, **changes: Any) -> dict[str, Any]:
    """Step `number` on packs of its own."""
    first = number * packs_per_step
    return {"packs": list(range(first, first + packs_per_step)), "lr": 0.01, **changes}


def read_settings(name: str, *, bf16: bool) -> dict[str, Any]:
    """Settings as they ship, but for their precision."""
    settings = read_engine_settings(FOLDER / f"{name}.json")
    if not bf16:
        settings.pop("data_types", None)
    return settings | {"bf16": {"enabled": bf16}}


def zero(stage: int, *, bf16: bool = False, **more: Any) -> dict[str, Any]:
    """The least settings for a stage."""
    return {"zero_optimization": {"stage": stage, **more}, "bf16": {"enabled": bf16}}


def train_plain(case: dict[str, Any]) -> dict[str, Any]:
    """The case on whole weights, in plain PyTorch and fp32; what is skipped is left out."""
    torch.manual_seed(case["seed"])
    model = MaskedLM(EncoderConfig(**case["model"]))
    config = OptimConfig(**case["optim"])
    optimizer = build_optimizer(model.parameters(), config, torch.device("cpu"))
    result: dict[str, Any] = {"losses": [], "norms": []}
    for item in case["steps"]:
        loss, norm = backward_plain(model, item["packs"], config.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = item["lr"]
        optimizer.step()
        result["losses"].append(loss)
        result["norms"].append(norm)
    return result | {"final": dict(model.named_parameters())}


def backward_plain(
    model: MaskedLM, numbers: Sequence[int], max_grad_norm: float
) -> tuple[float, float]:
    """Loss and gradient norm of a batch; the clipped gradient is left on the parameters."""
    packs = [make_pack(number) for number in numbers]
    masked = sum(len(pack.labels_M) for pack in packs)
    model.zero_grad()
    total = 0.0
    for pack in packs:
        output = model(pack.ids_T, pack.cu_seqlens, pack.max_seqlen)
        loss = masked_lm_loss_sum(output.logits_TV[pack.predicted_rows_M], pack.labels_M) / masked
        loss.backward()
        total += loss.item()
    return total, torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm).item()


def run_cases(
    folder: Path, cases: Sequence[dict[str, Any]], *, num_ranks: int
) -> dict[str, dict[str, Any]]:
    """Results by case name, from so many processes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(list(cases)))
    python_path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    common = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # ninja
        "PYTHONPATH": python_path.rstrip(os.pathsep),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_SIZE": str(num_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
    }
    processes = []
    for rank in range(num_ranks):
        environment = common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        log = (folder / f"rank-{rank}.log").open("w")
        command = [sys.executable, str(TESTS / "support" / "engine_worker.py"), str(folder)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        )
    try:
        codes = [process.wait(timeout=800) for process in processes]
    finally:
        for process in processes:
            process.kill()
    logs = "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("rank-*.log")))
    assert codes == [0] * num_ranks, logs
    return {
        item["name"]: torch.load(folder / f"{item['name']}.pt", weights_only=True) for item in cases
    }
