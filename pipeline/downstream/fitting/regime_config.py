"""Settings of a fit: what trains, how long, on what batches, at what rate."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from .lora import LoraConfig
from .unfreezing import UnfreezingConfig

Regime = Literal["frozen", "linear", "lora", "full"]
"""`frozen` trains the head alone; `linear` does too, and says that the head is one linear map;
`lora` trains adapters beside it; `full` the encoder's weights, unfrozen as `unfreezing` says."""

_WITHOUT_INFLUENCE = ("save_every_steps", "save_every_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegimeConfig:
    """How a task is fitted; what is published for a task is in its preset."""

    regime: Regime = "frozen"
    epochs: int = 10
    """Passes over the training examples."""
    max_steps: int = 0
    """Optimizer updates after which the fit ends even if epochs are left; 0 is no limit."""
    batch_sequences: int = 1
    """Examples of one update; published: 1 structure, 64 (ribosome load, families); 0: no limit."""
    batch_tokens: int = 0
    """Tokens, with `<cls>` and `<eos>`, at which an update's batch is full earlier; 0: no limit."""
    max_tokens_per_pack: int = 8192
    """Tokens that go through encoder and head at once; a larger batch accumulates gradients."""
    optimizer: Literal["adam", "adamw"] = "adam"
    peak_lr: float = 5e-4
    """Published: 5e-4 structure, 1e-4 ribosome load, 1e-5 splice sites, 8e-6 families."""
    weight_decay: float = 0.0
    """Of `adamw`; published: 1e-6 splice sites, 0.01 families."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    final_lr_ratio: float = 0.1
    """`linear` falls to this share of `peak_lr` and stays there."""
    decay_steps: int = 0
    """Updates until there; 0 is the length of the fit. Published: 7000 structure, 5000 ribosome
    load."""
    max_grad_norm: float = 0.0
    """Gradients are scaled down to this norm; 0 leaves them, as published."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What the encoder computes in; auto is bf16 on a GPU. Head and stored weights are fp32."""
    choose: Literal["last", "best-validation"] = "last"
    """Which weights are kept; published: the last."""
    validate_every_epochs: int = 1
    """Epochs between validations; the last step is always validated."""
    seed: int = 0
    """Decides the order of examples, dropout, and what adapters begin as."""
    save_every_steps: int = 0
    """Updates between saved states; 0 goes by time alone."""
    save_every_seconds: float = 300.0
    """Seconds after which a state is saved in any case."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    unfreezing: UnfreezingConfig = field(default_factory=UnfreezingConfig)

    def __post_init__(self) -> None:
        for name in ("epochs", "max_tokens_per_pack", "validate_every_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"regime.{name} must be positive, got {getattr(self, name)}")
        for name in (
            *("max_steps", "batch_sequences", "batch_tokens", "decay_steps", "save_every_steps"),
            *("weight_decay", "max_grad_norm", "seed", "save_every_seconds"),
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"regime.{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.peak_lr < math.inf:
            raise ValueError(f"regime.peak_lr must be positive, got {self.peak_lr}")
        if not 0 < self.final_lr_ratio <= 1:
            raise ValueError(f"regime.final_lr_ratio must be in (0, 1], got {self.final_lr_ratio}")
        if not self.batch_sequences and not self.batch_tokens:
            raise ValueError("regime.batch_sequences and regime.batch_tokens are both 0: limit one")
        if self.weight_decay and self.optimizer == "adam":
            raise ValueError(
                f"regime.weight_decay {self.weight_decay} needs regime.optimizer=adamw: "
                "adam has none"
            )

    @property
    def trains_encoder(self) -> bool:
        """Whether anything but the head trains."""
        return self.regime in ("lora", "full")

    @property
    def reads_frozen(self) -> bool:
        """Whether the head trains alone at first, or throughout: it reads rows computed once."""
        return not self.trains_encoder or (
            self.regime == "full" and self.unfreezing.schedule != "all"
        )

    def list_idle(self) -> list[str]:
        """Settings that are not the defaults and that nothing of this fit reads."""
        usual = RegimeConfig()
        has_no_stages = self.regime == "full" and self.unfreezing.schedule == "all"
        is_idle = {
            "lora": self.regime != "lora" and self.lora != usual.lora,
            "unfreezing": self.regime != "full" and self.unfreezing != usual.unfreezing,
            "unfreezing.every_epochs": has_no_stages
            and self.unfreezing.every_epochs != usual.unfreezing.every_epochs,
            "unfreezing.lr_ratio": has_no_stages
            and self.unfreezing.lr_ratio != usual.unfreezing.lr_ratio,
            "precision": not self.trains_encoder and self.precision != usual.precision,
            "final_lr_ratio": self.lr_schedule == "constant"
            and self.final_lr_ratio != usual.final_lr_ratio,
            "validate_every_epochs": self.choose == "last"
            and self.validate_every_epochs != usual.validate_every_epochs,
        }
        return [name for name, idle in is_idle.items() if idle]

    def compute_lr_share(self, step: int, num_steps: int) -> float:
        """Learning rate of update `step`, from 0, as a share of `peak_lr`."""
        if self.lr_schedule == "constant":
            return 1.0
        done = min(step / (self.decay_steps or num_steps), 1.0)
        return 1.0 + (self.final_lr_ratio - 1.0) * done

    def choose_dtype(self, device: torch.device) -> torch.dtype:
        """What the encoder computes in on `device`."""
        is_half = self.precision == "bf16" or (self.precision == "auto" and device.type == "cuda")
        return torch.bfloat16 if is_half else torch.float32


def describe_regime(config: RegimeConfig) -> dict[str, Any]:
    """All settings that decide what is fitted, as JSON values."""
    settings = asdict(config)
    return {name: value for name, value in settings.items() if name not in _WITHOUT_INFLUENCE}


def build_regime(described: Mapping[str, Any]) -> RegimeConfig:
    """The settings again, with the usual ones for how often a state is saved."""
    groups = {
        "lora": LoraConfig(**described["lora"]),
        "unfreezing": UnfreezingConfig(**described["unfreezing"]),
    }
    return RegimeConfig(**{**described, **groups})
