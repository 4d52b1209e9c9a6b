"""What one system scored on one held-out family: kept in a file, so a fold is done or absent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .scoring import PairCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceResult:
    """One tested RNA."""

    id: str
    length_nt: int
    predicted: str
    """Predicted structure in dot-bracket."""
    strict: PairCounts
    relaxed: PairCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldResult:
    """One system on one held-out family."""

    key: str
    """Hash of all that the numbers depend on; a result with another key is not reused."""
    system: str
    family: str
    sequences: tuple[SequenceResult, ...]
    threshold: float | None = None
    """Tuned on validation RNAs of other families; None for a system without one."""
    validation_f1: float | None = None
    """Mean relaxed F1 of the validation RNAs at that threshold."""
    num_train: int = 0
    num_validation: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    """Mean loss of the first and of the last tenth of the fit."""
    fit_seconds: float = 0.0
    test_seconds: float = 0.0


def build_key(facts: Mapping[str, Any]) -> str:
    """16 hex digits that change with any of `facts`."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_fold_result(result: FoldResult, folder: Path) -> Path:
    """Write a result; it appears whole or not at all."""
    path = _path_of(folder, result.system, result.family, result.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    scratch.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)
    return path


def load_fold_result(folder: Path, system: str, family: str, key: str) -> FoldResult | None:
    """The result with this key, or None where it has not been computed."""
    path = _path_of(folder, system, family, key)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        sequences = tuple(_build_sequence_result(one) for one in stored.pop("sequences"))
        return FoldResult(**stored, sequences=sequences)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no fold result ({error}); delete it and run again") from error


def _build_sequence_result(stored: dict[str, Any]) -> SequenceResult:
    strict, relaxed = (PairCounts(**stored.pop(name)) for name in ("strict", "relaxed"))
    return SequenceResult(**stored, strict=strict, relaxed=relaxed)


def _path_of(folder: Path, system: str, family: str, key: str) -> Path:
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in family)
    return folder / f"{system}.{readable}.{key}.json"
