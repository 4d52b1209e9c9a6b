"""The signature of a base-pair task: all that has to be equal for two tables to be comparable."""

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..scores.signature import build_signature as join_facts
from ..scores.signature import (
    describe_decoder,
    describe_programs,
    describe_scorer,
    hash_settings,
)
from ..structure_folds.fold_results import build_key
from ..structure_folds.folds import StructureTask
from ..structure_folds.plans import VERSION_OF_NUMBERS, choose_precision
from ..structure_folds.structure_config import LABELS
from .scorecard import Scorecard

SUFFIXES: dict[StructureTask, str] = {
    "families": "fam",
    "intra-family": "intra",
    "out-of-family": "out",
}
"""What the signature calls a task."""


def build_signature(card: Scorecard) -> str:
    """Facts in one line; `config` hashes every setting that may decide a number."""
    config = card.config
    fits = list_fits(card)
    limits = f"{config.fit.max_fit_sequences or 'all'},<={config.fit.max_fit_length_nt}nt"
    schedules = "+".join(dict.fromkeys(map(_describe_schedule, fits))) or "none"
    heads = sorted({result.head for result in card.results if result.head})
    folders = {LABELS[one.system]: one.program for one in card.results if not one.rule}
    facts = {
        "benchmark": _clean(f"{card.benchmark.name}-{SUFFIXES[card.benchmark.task]}"),
        "data": card.benchmark.sha256[:8],
        "folds": _clean("+".join(card.families))
        if card.benchmark.is_partial
        else len(card.families),
        "test": f"{config.max_test_per_part or 'all'}/part,<={config.max_length_nt}nt",
        "preset": config.preset,
        "fit": f"{schedules},{limits}",
        **({"heads": build_key({"heads": heads})[:8]} if heads else {}),
        **describe_decoder(
            config.decoder,
            threshold=f"val-relaxed-f1,{config.fit.max_validation_sequences or 'all'}",
            energy=next((one.program for one in card.results if one.rule), ""),
        ),
        "regime": config.regime.regime,
        "precision": choose_precision(config),
        **describe_programs(folders),
        **describe_scorer(config.bootstrap),
        "seed": config.seed,
        "numbers": VERSION_OF_NUMBERS,
        "config": hash_settings(list_settings(card)),
        "ckpt": card.checkpoint["sha256"][:8],
        "v": version("openrinalmo"),
    }
    return join_facts(facts)


def list_settings(card: Scorecard) -> dict[str, Any]:
    """Settings with the fits as they were: a head that was loaded has its own."""
    settings = asdict(card.config)
    if fits := list_fits(card):
        numbered = {str(number): fit for number, fit in enumerate(fits, 1)}
        settings["regime"] = numbered if len(fits) > 1 else fits[0]
    return settings


def list_fits(card: Scorecard) -> list[dict[str, Any]]:
    """Settings of the fits, each once; empty where no row is fitted."""
    stored = dict.fromkeys(result.settings for result in card.results if result.settings)
    return [json.loads(one) for one in stored]


def _describe_schedule(fit: dict[str, Any]) -> str:
    """How many updates, on how many RNAs or tokens each, from which rate on."""
    length = f"{fit['max_steps']}" if fit["max_steps"] else f"{fit['epochs']}epochs"
    limits = (("", fit["batch_sequences"]), ("tokens", fit["batch_tokens"]))
    batch = "/".join(f"{limit}{unit}" for unit, limit in limits if limit)
    return f"{length}x{batch}@{fit['peak_lr']:g}"


def _clean(name: str) -> str:
    """A name of a user's without the mark that separates a signature's facts."""
    return name.replace("|", "/")
