"""What one system scored on one part: kept in a file, so a fold is done or absent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..decoders.thresholds import DecodingRule
from ..scores.pair_curves import EDGES, PairHistogram
from ..scoring import PairCounts
from ..structure import DecoderConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceResult:
    """One tested RNA."""

    id: str
    length_nt: int
    predicted: str
    """Predicted structure as `dot_bracket.write_structure` has it."""
    strict: PairCounts
    relaxed: PairCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldResult:
    """One system on one held-out family or test set."""

    key: str
    """Hash of all that the numbers depend on; a result with another key is not reused."""
    system: str
    part: str
    """The fold's: a held-out family, or a test set."""
    sequences: tuple[SequenceResult, ...]
    regime: str = "none"
    """What trained; `none` where nothing is fitted."""
    settings: str = ""
    """JSON of the settings of the fit; of a head that was loaded, its own."""
    head: str = ""
    """sha256 of the file of a head that was given; empty where it was fitted here."""
    program: str = ""
    """Version of the program that folds, or whose energies the decoder weighs."""
    rule: DecodingRule | None = None
    """With the threshold that was tuned on validation RNAs; None for a system without one."""
    histogram: PairHistogram | None = field(default=None, compare=False)
    """Pair probabilities of the tested RNAs; None for a system without them."""
    num_train: int = 0
    num_validation: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    """Mean loss of the first and of the last tenth of the fit."""
    fit_seconds: float = 0.0
    tune_seconds: float = 0.0
    """Of a fit that folds share, each has its share of both."""
    test_seconds: float = 0.0

    @property
    def threshold(self) -> float | None:
        """The decoder's."""
        return self.rule and self.rule.decoder.threshold

    @property
    def validation_f1(self) -> float | None:
        """Mean relaxed F1 of the validation RNAs at that threshold."""
        return self.rule and self.rule.value


def build_key(facts: Mapping[str, Any]) -> str:
    """16 hex digits that change with any of `facts`."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_fold_result(result: FoldResult, folder: Path) -> Path:
    """Write a result; it appears whole or not at all."""
    path = _path_of(folder, result.system, result.part, result.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    text = json.dumps(asdict(result), indent=1, default=_list_array)
    scratch.write_text(text + "\n", encoding="utf-8")
    scratch.replace(path)
    return path


def load_fold_result(folder: Path, system: str, part: str, key: str) -> FoldResult | None:
    """The result with this key, or None where it has not been computed."""
    path = _path_of(folder, system, part, key)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        sequences = tuple(_build_sequence_result(one) for one in stored.pop("sequences"))
        rule, histogram = stored.pop("rule"), stored.pop("histogram")
        return FoldResult(
            **stored,
            sequences=sequences,
            rule=rule and build_rule(rule),
            histogram=histogram and _build_histogram(histogram),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no fold result ({error}); delete it and run again") from error


def build_rule(stored: Mapping[str, Any]) -> DecodingRule:
    """A decoding rule from the JSON of its fields."""
    lists = {name: tuple(stored[name]) for name in ("grid", "families")}
    return DecodingRule(**{**stored, **lists, "decoder": DecoderConfig(**stored["decoder"])})


def _list_array(value: object) -> list[float]:
    assert isinstance(value, np.ndarray), f"{value!r} is no JSON"
    return value.tolist()


def _build_histogram(stored: dict[str, Any]) -> PairHistogram:
    histogram = PairHistogram(**{name: np.array(values) for name, values in stored.items()})
    if len(histogram.num_pairs_K) != len(EDGES) - 1:
        raise ValueError(f"its histogram has {len(histogram.num_pairs_K)} bins")
    return histogram


def _build_sequence_result(stored: dict[str, Any]) -> SequenceResult:
    strict, relaxed = (PairCounts(**stored.pop(name)) for name in ("strict", "relaxed"))
    return SequenceResult(**stored, strict=strict, relaxed=relaxed)


def _path_of(folder: Path, system: str, part: str, key: str) -> Path:
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in part)
    return folder / f"{system}.{readable[:80]}.{key}.json"
