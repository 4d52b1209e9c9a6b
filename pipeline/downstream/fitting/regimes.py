"""Fit a head, and as much of the encoder as the regime says, on any task: one loop for all."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .fit_batches import BatchPlan, Step, split_packs
from .fit_state import FitLog, FitState
from .regime_config import RegimeConfig, describe_regime
from .task_model import ParamGroup, TaskModel, begin_epoch, build_param_groups

ComputeLoss = Callable[[TaskModel, Sequence[int]], Tensor]


def fit(
    model: TaskModel,
    train: Sequence[int],
    lengths: Mapping[int, int],
    compute_loss: ComputeLoss,
    config: RegimeConfig,
    *,
    folder: Path,
    key: str,
    device: torch.device,
    validate: Callable[[TaskModel], float] | None = None,
) -> FitLog:
    """Fit `model` in place on the examples `train`; deterministic, resumable, any task.

    `compute_loss(model, indices)` is the mean loss over the examples `indices`, a pack of at most
    `max_tokens_per_pack` tokens (a longer example is a pack of its own). `lengths` are nucleotides
    by index. `validate` returns a number, higher is better; it sees the model in `eval` mode
    without gradients. State is kept under `folder/key`: a killed fit goes on from there, and a
    finished one is read back without training, so `key` must change with all that decides the
    numbers and is not in `config` (data, encoder, task). No global random state is used or changed.
    """
    if not train:
        raise ValueError("no example to fit on: the training set is empty")
    if config.choose == "best-validation" and validate is None:
        raise ValueError("regime.choose=best-validation takes a validation set, there is none")
    plan = BatchPlan(
        train=train,
        lengths=lengths,
        max_sequences=config.batch_sequences,
        max_tokens=config.batch_tokens,
        epochs=config.epochs,
        seed=config.seed,
    )
    num_steps = plan.count_steps()
    num_steps = min(num_steps, config.max_steps or num_steps)
    last_epoch = next(plan.iter_steps(num_steps - 1)).epoch
    groups = build_param_groups(model, config, last_epoch=last_epoch)
    state = FitState(
        folder / key,
        _identify(model, plan, config),
        head=model.head,
        parameters={name: one for group in groups for name, one in group.parameters.items()},
        optimizer=_build_optimizer(groups, config),
    )
    state.resume()
    if not state.is_finished:
        steps = itertools.islice(plan.iter_steps(state.step), num_steps - state.step)
        epoch = -1
        # Bars of processes that fit side by side would write over one another.
        quiet = True if parent_process() else None
        for step in tqdm(
            steps, total=num_steps, initial=state.step, desc="fitting", unit="step", disable=quiet
        ):
            if step.epoch != epoch:
                epoch = step.epoch
                begin_epoch(model, groups, epoch)
                model.train()
            _set_lr(state.optimizer, config, step.number, num_steps)
            with _seeded(config.seed, step.number, device):
                state.add_loss(_update(model, state.optimizer, step, lengths, compute_loss, config))
            if validate is not None and _is_validated(step, config, num_steps):
                model.eval()  # until the next epoch begins: no other step follows
                with torch.no_grad():
                    value = validate(model)
                state.add_validation(value, keeps_best=config.choose == "best-validation")
            if state.is_due(steps=config.save_every_steps, seconds=config.save_every_seconds):
                state.save()
        state.finish()
    begin_epoch(model, groups, last_epoch)
    model.eval()
    return state.build_log()


def _update(
    model: TaskModel,
    optimizer: torch.optim.Optimizer,
    step: Step,
    lengths: Mapping[int, int],
    compute_loss: ComputeLoss,
    config: RegimeConfig,
) -> Tensor:
    """One update; returns the mean loss of the batch, which does not depend on its packs."""
    losses = []
    for pack in split_packs(step.batch, lengths, max_tokens=config.max_tokens_per_pack):
        loss = compute_loss(model, pack) * (len(pack) / len(step.batch))
        loss.backward()
        losses.append(loss.detach().float())
    if config.max_grad_norm:
        trained = [one for group in optimizer.param_groups for one in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    return torch.stack(losses).sum()


def _set_lr(
    optimizer: torch.optim.Optimizer, config: RegimeConfig, step: int, num_steps: int
) -> None:
    """A pure function of the step: nothing of a schedule needs saving."""
    for group in optimizer.param_groups:
        share = config.compute_lr_share(step, num_steps)
        group["lr"] = config.peak_lr * share * group["lr_ratio"]


def _is_validated(step: Step, config: RegimeConfig, num_steps: int) -> bool:
    """At the end of some epochs, and of the fit."""
    is_due = step.ends_epoch and (step.epoch + 1) % config.validate_every_epochs == 0
    return is_due or step.number == num_steps - 1


def _build_optimizer(groups: Sequence[ParamGroup], config: RegimeConfig) -> torch.optim.Optimizer:
    """All groups at once: one that does not train yet has no gradients, and is passed over."""
    settings = [
        {"params": list(group.parameters.values()), "lr_ratio": group.lr_ratio} for group in groups
    ]
    if config.optimizer == "adam":
        return torch.optim.Adam(settings, lr=config.peak_lr)
    return torch.optim.AdamW(settings, lr=config.peak_lr, weight_decay=config.weight_decay)


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Draws of a step, dropout and kernels' seeds, are a function of (seed, step) alone."""
    drawn = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint32)[0])
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.default_generator.manual_seed(drawn)
        if is_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(drawn)
        yield


def _identify(model: TaskModel, plan: BatchPlan, config: RegimeConfig) -> str:
    """Hash of all that decides the fit, as far as this loop can see it."""
    examples = [(index, plan.lengths[index]) for index in plan.train]
    facts = [describe_regime(config), examples]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(model.head.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
