"""The engine, ZeRO stages 1 to 3: the only file that imports deepspeed.

Shape suffixes: M predicted tokens, V vocabulary.
"""

import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...model.encoder import EncoderConfig
from ...model.masked_lm import MaskedLM
from ..ranks import Ranks, wait_for_all
from .batches import PackedBatch
from .engine_execution import ExecutionConfig, apply_execution
from .engine_init import find_shapes, iter_initial_weights
from .engine_layout import find_slices
from .engine_settings import check_engine_settings, uses_bf16, zero_stage
from .muon import MOMENTUM, Muon, build_muon, group_matrices, is_matrix
from .optim import OptimConfig, build_optimizer

WEIGHT = "weight"
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")


class Engine:
    """Forward, backward and update of a model whose state is spread over the ranks."""

    def __init__(
        self,
        model_config: EncoderConfig,
        optim: OptimConfig,
        settings: dict[str, Any],
        *,
        execution: ExecutionConfig,
        packs_per_step: int,
        ranks: Ranks,
        seed: int,
    ) -> None:
        check_engine_settings(settings, "engine")
        self.ranks = ranks
        self.stage = zero_stage(settings)
        self.micro_steps = math.ceil(packs_per_step / ranks.world_size)
        self.shapes = find_shapes(model_config)
        self.num_parameters = sum(math.prod(shape) for shape in self.shapes.values())
        config = {
            **settings,
            "train_micro_batch_size_per_gpu": 1,  # one pack
            "gradient_accumulation_steps": self.micro_steps,
            "gradient_clipping": optim.max_grad_norm,
            "zero_allow_untested_optimizer": True,  # our Muon, a subclass of AdamW
            "zero_force_ds_cpu_optimizer": False,  # PyTorch's AdamW has a fused CPU kernel too
        }
        deepspeed = _import_deepspeed(ranks.device)
        if not torch.distributed.is_initialized():
            deepspeed.init_distributed(verbose=False)
        self.model = self._build_model(deepspeed, model_config, config)
        dtype = torch.bfloat16 if uses_bf16(settings) else torch.float32
        chosen = self.model.encoder.choose_backend(ranks.device, dtype)
        compiled = apply_execution(self.model, execution, stage=self.stage)
        self.backend = "; ".join(filter(None, (chosen, compiled)))
        if optim.name == "muon":
            optimizer = build_muon(self.model.named_parameters(), self.shapes, optim, ranks.device)
        else:
            optimizer = build_optimizer(self.model.parameters(), optim, ranks.device)
        self._engine, *_ = deepspeed.initialize(
            model=self.model, optimizer=optimizer, config=config
        )
        self._zero = self._engine.optimizer
        self._slices = find_slices(self.model, self._zero, stage=self.stage, ranks=ranks)
        self._has_muon = isinstance(optimizer, Muon)
        if isinstance(optimizer, Muon):
            optimizer.matrices = group_matrices(self._slices, self.shapes)
        initial = iter_initial_weights(model_config, seed)
        self._restore(((name, {WEIGHT: value}) for name, value in initial), updates=0)
        if ranks.device.type == "cpu":
            _unlink_shared_buffers(ranks)

    def predict(self, batch: PackedBatch) -> Tensor:
        """Logits of the pack's predicted tokens, (M, V), on the rank's device."""
        output = self._engine(
            batch.ids_T,
            batch.cu_seqlens,
            batch.max_seqlen,
            predicted_rows_M=batch.predicted_rows_M,
        )
        return output.logits_TV

    def predict_all(self, ids_T: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Logits of every token of a pack, (T, V); a collective call."""
        return self._engine(ids_T, cu_seqlens, max_seqlen).logits_TV

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off."""
        self._engine.train(mode)

    def backward(self, loss: Tensor) -> None:
        """Add `loss`'s gradient, summed over ranks, to the step's.

        DeepSpeed divides by the micro-steps and by the ranks; a caller who weights its losses by
        the global count gets exactly the sum, so both are undone here.
        """
        self._engine.backward(loss * (self.micro_steps * self.ranks.world_size))

    def finish_micro_step(self) -> None:
        """Tell the engine that a micro-step ended that is not the last of its step."""
        assert not self._engine.is_gradient_accumulation_boundary()
        self._engine.step()

    def finish_step(self, *, skip: bool = False) -> bool:
        """End the last micro-step of a step and update the weights; True if they were.

        They are not where `skip`, the same on every rank, or where the gradient of any rank is not
        finite. Then weights, moments and the number of updates stay, and the gradient is dropped.
        """
        assert self._engine.is_gradient_accumulation_boundary()
        with self._invalid_norm() if skip else nullcontext():
            self._engine.step()
        was_updated = bool(self._engine.was_step_applied())
        if not was_updated and self.stage < 3:
            # With offloading DeepSpeed keeps what it summed in fp32, and would go on from there.
            for group in self._zero.averaged_gradients:
                self._zero.averaged_gradients[group] = None
        return was_updated

    @contextmanager
    def _invalid_norm(self) -> Iterator[None]:
        """Let the gradient norm be what DeepSpeed drops a step for: it masks NaN as -1."""
        norm = torch.tensor(-1.0, device=self.ranks.device)
        name, value = (
            ("_get_norm_groups", [norm]) if self.stage == 3 else ("scaled_global_norm", norm)
        )
        setattr(self._zero, name, lambda: value)
        try:
            yield
        finally:
            delattr(self._zero, name)

    def set_lr(self, lr: float) -> None:
        """Learning rate of the next update; Muon's moves in proportion."""
        for group in self._zero.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_ratio", 1.0)

    @property
    def grad_norm(self) -> float:
        """Global gradient norm of the last step before clipping; infinite if it was skipped."""
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else math.nan

    def iter_partitions(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """This rank's flat fp32 slice of every parameter and its moments, by kind.

        Slices of all ranks, one after the other, are the whole flat tensor; a slice may be empty.
        They are views: the next update changes them.
        """
        for name, part in self._slices.items():
            state = self._zero.optimizer.state[part.flat]
            kinds = {kind: part.of(state[kind]) for kind in self._moments(name)}
            yield name, {WEIGHT: part.of(part.flat), **kinds}

    def restore(self, full: Iterable[tuple[str, Mapping[str, Tensor]]], *, updates: int) -> None:
        """Take over whole weights and moments, by parameter name and kind; a collective call.

        `updates` is how many the optimizer had made; it drives AdamW's bias correction. To be
        called between steps, at any time of a run.
        """
        self._restore(full, updates=updates, needs_moments=True)

    def _restore(
        self,
        full: Iterable[tuple[str, Mapping[str, Tensor]]],
        *,
        updates: int,
        needs_moments: bool = False,
    ) -> None:
        missing = set(self._slices)
        for name, values in full:
            part, moments = self._slices[name], self._moments(name)
            if needs_moments and values.keys() != {WEIGHT, *moments}:
                raise ValueError(
                    f"{name} comes with {', '.join(sorted(values))}, but this optimizer keeps "
                    f"{', '.join((WEIGHT, *moments))}: give the optim.name it was trained with"
                )
            state = self._zero.optimizer.state[part.flat]
            if moments != (MOMENTUM,):
                state["step"] = torch.full((), float(updates), device=part.flat.device)
            part.copy_from(values[WEIGHT], part.flat)
            for kind in moments:
                if kind not in state:  # DeepSpeed makes them at the first update
                    state[kind] = torch.zeros_like(part.flat)
                if kind in values:
                    part.copy_from(values[kind], state[kind])
            missing.discard(name)
        if missing:
            raise ValueError(f"no values for {', '.join(sorted(missing))}")
        self._show_weights_to_forward()

    @torch.no_grad()
    def _show_weights_to_forward(self) -> None:
        """Copy the fp32 weights to those that forward uses, in the order of DeepSpeed's update."""
        zero = self._zero
        if self.stage < 3:
            zero.update_lp_params()
            return
        zero._partition_all_parameters()
        for group in range(len(zero.fp16_groups)):
            zero._reassign_or_swap_out_partitioned_parameters(group)
        if zero.persistent_parameters:
            zero.persistent_parameters[0].all_gather(zero.persistent_parameters)

    def close(self) -> None:
        """Free weights and moments; the engine is of no use afterwards.

        Dropping the last reference does not: at stage 3 hooks inside autograd keep it alive.
        """
        self._engine.destroy()
        self._slices.clear()
        vars(self._zero).clear()
        for parameter in self.model.parameters():
            vars(parameter).clear()
            parameter.grad = None
            parameter.data = torch.empty(0)

    def _moments(self, name: str) -> tuple[str, ...]:
        is_muon = self._has_muon and is_matrix(name, self.shapes[name])
        return (MOMENTUM,) if is_muon else ADAM_MOMENTS

    def _build_model(
        self, deepspeed: Any, model_config: EncoderConfig, config: dict[str, Any]
    ) -> MaskedLM:
        """The model on this rank's device, at stage 3 in slices from the start; weights are unset.

        Where a slice is set apart, `nn.init` and assignments in constructors of outer modules would
        do nothing and say nothing; so no weight's value comes from here.
        """
        if self.stage < 3:
            with torch.device("meta"):
                model = MaskedLM(model_config)
            return model.to_empty(device=self.ranks.device)
        with (
            torch.random.fork_rng(devices=[]),
            deepspeed.zero.Init(config_dict_or_path=config),
        ):
            model = MaskedLM(model_config)
        deepspeed.utils.set_z3_leaf_modules(model, ["EncoderBlock"])
        return model


def _unlink_shared_buffers(ranks: Ranks) -> None:
    """Remove the names of DeepSpeed's shared-memory buffers, 69 MB a rank: it never does.

    Every rank has mapped them by now; the memory itself lives until the last of them ends.
    """
    wait_for_all()
    address = "_".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    name = f"deepspeed_allreduce_buffer_{os.getuid()}_{address}_{ranks.rank}"
    Path("/dev/shm", name).unlink(missing_ok=True)


def _import_deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for this device; it reads its accelerator and log level at import."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    if device.type == "cpu":
        _find_compiler()
    # A promise of torch to DeepSpeed, printed by every rank at every new collective.
    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)
    try:
        import deepspeed
    except ImportError as error:
        raise ImportError("pretraining needs DeepSpeed: run `make install`") from error
    return deepspeed


def _find_compiler() -> None:
    """On a CPU, DeepSpeed compiles its collectives at first use: say so before it fails."""
    # An environment that was not activated has its ninja beside its python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tool in (os.environ.get("CXX", "g++"), "ninja"):
        if shutil.which(tool) is None:
            raise FileNotFoundError(
                f"no {tool} on PATH: DeepSpeed needs it once, to compile its collectives for CPU "
                "ranks. Install a C++ compiler (Debian: `apt-get install g++`), ninja with "
                "`pip install ninja`"
            )
