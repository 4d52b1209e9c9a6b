"""Fitted base-pair heads as files that say what they may be used for.

One safetensors file each: the weights, with what of the encoder was fitted beside them, and in its
header the fold, who was held out, the decoding rule and the hashes of encoder and data. A head of
another fold scores its own training RNAs, which looks like a great result; so every one that does
not fit is refused.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ....model.encoder import Encoder
from ....model.tensor_file import write_tensors
from ..decoders.thresholds import DecodingRule
from ..fitting.lora import inject_lora, merge_lora
from ..fitting.regime_config import Regime, RegimeConfig, build_regime
from ..fitting.snapshots import select_prefix
from .fold_results import build_rule
from .structure_fit import PairHead, build_pair_head, restore_trained

FORMAT = "openrinalmo base-pair head 2"
_HEAD, _ENCODER = "head.", "encoder."


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadFacts:
    """What a head is: all of it has to agree with the fold it is used on."""

    system: str
    """What its rows are from: `pretrained`, `random`, `one-hot`, `k-mer`."""
    encoder: str
    """sha256 of the weights, or what else the rows depend on."""
    regime: Regime
    """What was fitted; of rows without an encoder the head alone, in `lora` and `full` as well."""
    held_out: tuple[str, ...]
    """Families whose structures it has not seen; empty where test sets are no families."""
    fitted_families: tuple[str, ...]
    """Families of the RNAs that trained or tuned it."""
    fit_sha256: str
    """Hash of the RNAs that trained and tuned it, structures included."""
    data: str
    """Name and hash of the benchmark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitFacts:
    """What a head's fit was like."""

    settings: str
    """JSON of the settings of the fit."""
    num_train: int
    first_loss: float
    last_loss: float
    """Mean loss of the first and of the last tenth of the fit."""
    fit_seconds: float
    tune_seconds: float
    rule: DecodingRule

    @property
    def regime(self) -> RegimeConfig:
        """The settings of the fit."""
        return build_regime(json.loads(self.settings))


class SavedHead(NamedTuple):
    """A head in `eval` mode on the CPU, and what its file says."""

    head: PairHead
    facts: HeadFacts
    fit: FitFacts
    encoder: dict[str, Tensor]
    """What of the encoder was fitted beside it, by name: adapters, or weights; empty for none."""


def save_head(path: Path, saved: SavedHead) -> None:
    """Write a head; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"{_HEAD}{name}": value for name, value in saved.head.state_dict().items()}
    state |= {f"{_ENCODER}{name}": value for name, value in saved.encoder.items()}
    metadata = {
        "format": FORMAT,
        "facts": json.dumps(asdict(saved.facts)),
        "fit": json.dumps(asdict(saved.fit)),
        "embed_dim": str(saved.head.embed_dim),
    }
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    write_tensors(path, shapes, state.items(), metadata)


def load_head(path: Path) -> SavedHead:
    """Read a head; anything else is an error that names the file."""
    with _open(path) as file:
        facts, fit, embed_dim = _read_header(file.metadata() or {})
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        head = build_pair_head(embed_dim, fit.regime)
        head.load_state_dict(select_prefix(state, _HEAD))
        return SavedHead(head.eval(), facts, fit, select_prefix(state, _ENCODER))


def _read_facts(path: Path) -> tuple[HeadFacts, FitFacts]:
    with _open(path) as file:
        return _read_header(file.metadata() or {})[:2]


def rebuild_encoder(saved: SavedHead, encoder: Encoder) -> Encoder:
    """The encoder that `saved` was fitted with, adapters merged: a plain one, to be exported.

    `encoder` is that of the weights whose hash is `saved.facts.encoder`; it is copied.
    """
    encoder = copy.deepcopy(encoder)
    if saved.facts.regime == "lora":
        inject_lora(encoder, saved.fit.regime.lora, seed=saved.fit.regime.seed)
    restore_trained(encoder, saved.encoder)
    merge_lora(encoder)
    return encoder.requires_grad_(False).eval()


@contextmanager
def _open(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path} is no saved base-pair head ({error})") from error


def _read_header(metadata: Mapping[str, str]) -> tuple[HeadFacts, FitFacts, int]:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    facts, fit = json.loads(metadata["facts"]), json.loads(metadata["fit"])
    for name in ("held_out", "fitted_families"):
        facts[name] = tuple(facts[name])
    fit["rule"] = build_rule(fit["rule"])
    return HeadFacts(**facts), FitFacts(**fit), int(metadata["embed_dim"])


def find_head(where: Path, wanted: HeadFacts, settings: str) -> Path:
    """The head of a folder, or the file itself, that fits `wanted`; none is an error that says why.

    Of several the one whose fit has these `settings` is taken, as `FitFacts` has them; where none
    has, and theirs differ, it is an error that names them.
    Of a folder of many, the error speaks of the one that comes nearest: of the same held-out
    families and system, then with the fewest problems.
    """
    paths = [where] if where.is_file() else sorted(where.glob("*.safetensors"))
    refused: list[tuple[tuple[bool, bool, int], str]] = []
    found: dict[str, Path] = {}
    for path in paths:
        try:
            facts, fit = _read_facts(path)
        except ValueError as error:
            refused.append(((True, True, len(paths)), str(error)))
            continue
        problems = list_mismatches(facts, wanted)
        if not problems:
            found.setdefault(fit.settings, path)
            continue
        is_other = (facts.held_out != wanted.held_out, facts.system != wanted.system)
        refused.append(((*is_other, len(problems)), f"{path.name} {'; '.join(problems)}"))
    if len(found) > 1 and settings not in found:
        (first, one), (second, other), *_ = found.items()
        raise ValueError(
            f"{where} has heads of several fits for {_name(wanted.held_out)} held out, and none is "
            f"by this run's settings: {one.name} and {other.name} differ in "
            f"{_name_difference(first, second)}; give the settings of one, or the file"
        )
    if found:
        return found.get(settings) or next(iter(found.values()))
    if not refused:
        raise FileNotFoundError(f"no saved head in {where}: give the folder `heads` of a run")
    raise ValueError(
        f"none of {len(refused)} heads in {where} may be used for {wanted.system} with "
        f"{_name(wanted.held_out)} held out. {min(refused)[1]}. Leave --heads out to fit anew"
    )


def list_mismatches(facts: HeadFacts, wanted: HeadFacts) -> list[str]:
    """Why a head may not be used for a fold; empty if it may."""
    problems: list[str] = []
    seen = sorted(set(wanted.held_out) & set(facts.fitted_families))
    if seen:
        problems.append(
            f"was fitted on {_name(seen)} (held out: {_name(facts.held_out)}), so its score there "
            "would be that of a family it has seen"
        )
    if facts.system != wanted.system:
        problems.append(f"reads the rows of {facts.system}, not of {wanted.system}")
    elif facts.encoder != wanted.encoder:
        problems.append(
            f"was fitted on another encoder ({facts.encoder[:12]}, not {wanted.encoder[:12]})"
        )
    if facts.regime != wanted.regime:
        problems.append(
            f"was fitted with regime.regime={facts.regime}, which has to be given with it, not "
            f"{wanted.regime}"
        )
    if facts.fit_sha256 != wanted.fit_sha256 and not seen:
        problems.append(
            f"was fitted on other RNAs ({facts.data}, held out: {_name(facts.held_out)}): data, "
            "preset or seed are not this run's"
        )
    return problems


def _name_difference(settings: str, other: str) -> str:
    """The settings of two fits that are not the same, each with its values."""
    first, second = json.loads(settings), json.loads(other)
    names = [name for name in first if first[name] != second.get(name)]
    return ", ".join(f"{name} ({first[name]}, {second.get(name)})" for name in names)


def _name(families: Sequence[str]) -> str:
    return ", ".join(families) or "no family"
