"""One rank that trains a small model by the engine as cases tell it: `engine_worker.py FOLDER`.

Rank 0 writes FOLDER/NAME.pt for every case of FOLDER/cases.json.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import masked_lm_loss_sum
from openrinalmo.pipeline.pretraining.batches import PackedBatch
from openrinalmo.pipeline.pretraining.engine import Engine, ExecutionConfig
from openrinalmo.pipeline.pretraining.optim import OptimConfig
from openrinalmo.pipeline.ranks import Ranks, read_ranks
from support.engine_cases import Pack, make_pack


def main(folder: Path) -> None:
    ranks = read_ranks()
    for case in json.loads((folder / "cases.json").read_text()):
        result = run_case(case, ranks)
        if ranks.is_rank_zero:
            torch.save(result, folder / f"{case['name']}.pt")
        dist.barrier()


def run_case(case: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    engine = Engine(
        EncoderConfig(**case["model"]),
        OptimConfig(**case["optim"]),
        case["settings"],
        execution=ExecutionConfig(**case["execution"]),
        packs_per_step=case["packs_per_step"],
        ranks=ranks,
        seed=case["seed"],
    )
    result: dict[str, Any] = {"initial": gather(engine), "shapes": engine.shapes}
    if case["rotary"]:
        watch_rotary(engine, result)
    engine.train()
    for step in case["steps"]:
        if "restore" in step:
            with torch.no_grad():  # leaves weights gathered that are then out of date
                engine.predict(as_batch(make_pack(case["evaluate"])))
            stored = torch.load(step["restore"], weights_only=True)[step["state"]]
            engine.restore(stored.items(), updates=step["updates"])
            result["restored"] = gather(engine)
            continue
        for key, value in train_step(engine, step, case["packs_per_step"]).items():
            result.setdefault(key, []).append(value)
    engine.train(False)
    with torch.no_grad():
        result["logits"] = engine.predict(as_batch(make_pack(case["evaluate"]))).float()
    return result | {"final": gather(engine)}


def train_step(engine: Engine, step: dict[str, Any], packs_per_step: int) -> dict[str, float]:
    """One optimizer step as the loop makes it: loss, norm, whether it was applied."""
    ranks = engine.ranks
    packs = [make_pack(number) for number in step["packs"]]
    assert len(packs) == packs_per_step
    masked = sum(len(pack.labels_M) for pack in packs)
    loss = torch.zeros(())
    engine.set_lr(step["lr"])
    applied = False
    for i in range(engine.micro_steps):
        index = i * ranks.world_size + ranks.rank
        is_real = index < len(packs)
        pack = packs[index if is_real else 0]
        torch.manual_seed(pack.number)
        pack_loss = masked_lm_loss_sum(engine.predict(as_batch(pack)), pack.labels_M) * is_real
        if step.get("nan") == index:
            pack_loss = pack_loss * float("nan")
        engine.backward(pack_loss / masked)
        loss += pack_loss.detach() / masked
        if i < engine.micro_steps - 1:
            engine.finish_micro_step()
        else:
            applied = engine.finish_step(skip=step.get("skip", False))
    dist.all_reduce(loss)
    return {"losses": float(loss), "norms": engine.grad_norm, "applied": applied}


def as_batch(pack: Pack) -> PackedBatch:
    return cast(PackedBatch, SimpleNamespace(**pack._asdict()))


def gather(engine: Engine) -> dict[str, dict[str, Tensor]]:
    """Every parameter's whole tensors by kind: the ranks' slices, joined in their order."""
    own = {
        name: {kind: part.clone() for kind, part in kinds.items()}
        for name, kinds in engine.iter_partitions()
    }
    slices: list[Any] = [None] * engine.ranks.world_size
    dist.all_gather_object(slices, own)
    return {
        name: {
            kind: torch.cat([part[name][kind] for part in slices]).view(shape) for kind in own[name]
        }
        for name, shape in engine.shapes.items()
    }


def watch_rotary(engine: Engine, result: dict[str, Any]) -> None:
    """Note the tables that the last block is given."""

    def note(_: Any, inputs: tuple[Any, ...]) -> None:
        result["rotary"] = [table.clone() for table in inputs[1]]
        result["block_dtype"] = str(inputs[0].dtype)

    engine.model.encoder.blocks[-1].register_forward_pre_hook(note)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
