"""pipeline/pretrain.py with a fault planted: `faulty_pretrain.py fault=FAULT …`, the rest as there.

FAULT is one of
  nan@STEP[,STEP…]         the loss of those steps is not a number
  gradient@STEP            the loss is finite, its gradient is not
  spike@PACK[-PACK]        the loss of those packs, by number, is a hundred times what it is
  hang@STEP:RANK           that rank never finishes loading the step's packs
  kill@STEP:RANK           that rank kills itself with SIGKILL while loading the step's packs
  term@STEP:RANK           that rank is sent SIGTERM while loading the step's packs
Steps are counted in this process.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from openrinalmo.pipeline import pretrain
from openrinalmo.pipeline.pretraining import loader, step


class _PoisonGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0] * torch.inf


def _wrap(owner: Any, name: str, change: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: change(original, *args, **kwargs))


def plant(fault: str) -> None:
    kind, _, where = fault.partition("@")
    if kind in ("nan", "gradient"):
        steps = {int(number) for number in where.split(",")}
        done = [-1]

        def count(run_step: Callable, *args: Any, **kwargs: Any) -> Any:
            done[0] += 1
            return run_step(*args, **kwargs)

        def poison(loss_sum: Callable, *args: Any) -> torch.Tensor:
            loss = loss_sum(*args)
            if done[0] not in steps:
                return loss
            return loss * torch.nan if kind == "nan" else _PoisonGradient.apply(loss)

        from openrinalmo.pipeline.pretraining import train

        _wrap(train, "run_step", count)
        _wrap(step, "masked_lm_loss_sum", poison)
    elif kind == "spike":
        first, _, last = where.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        current: list[int] = [0]

        def remember(predict: Callable, engine: Any, pack: Any) -> torch.Tensor:
            current[0] = pack.number
            return predict(engine, pack)

        def enlarge(loss_sum: Callable, *args: Any) -> torch.Tensor:
            return loss_sum(*args) * (100 if current[0] in numbers else 1)

        _wrap(step.Engine, "predict", remember)
        _wrap(step, "masked_lm_loss_sum", enlarge)
    elif kind in ("hang", "kill", "term"):
        at, _, rank = where.partition(":")
        calls = [-1]

        def fail(load: Callable, *args: Any) -> Any:
            calls[0] += 1
            if calls[0] == int(at) and int(os.environ["RANK"]) == int(rank):
                if kind == "hang":
                    time.sleep(3600)
                os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGTERM)
            return load(*args)

        _wrap(loader.PackLoader, "load", fail)
    else:
        sys.exit(f"unknown fault {fault}")


if __name__ == "__main__":
    (asked,) = [argument for argument in sys.argv if argument.startswith("fault=")]
    sys.argv.remove(asked)
    plant(asked.removeprefix("fault="))
    pretrain.main()
